"""Pruning while training, on made-up documents and an untrained model."""

import pytest
import torch
from torch import nn

from secateur.demo.data import Corpus
from secateur.demo.heal import heal
from secateur.demo.model import Classifier
from secateur.demo.settings import Settings, default_sparsity


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
def test_every_encoder_linear_is_pruned_and_the_dense_model_is_left(pattern: str) -> None:
    sparsity = default_sparsity(pattern)
    corpus = Corpus(
        [[101, 2000 + n, 102] for n in range(16)], [n % 2 for n in range(16)], ("a", "b")
    )
    dense = Classifier(2)
    dense.embedding.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
    settings = Settings(pattern=pattern, sparsity=sparsity, heal_steps=3)
    pruned, points = heal(dense, corpus, corpus, settings)
    linears = {n: m for n, m in pruned.layers.named_modules() if isinstance(m, nn.Linear)}
    assert len(linears) == 36
    for linear in linears.values():
        zeros = int((linear.weight == 0).sum())
        assert zeros == round(sparsity * linear.weight.numel())
    assert bool((pruned.head.weight != 0).all())
    assert points[-1].sparsity == sparsity
    assert points[-1].held_out is not None
    assert all(torch.equal(before[name], tensor) for name, tensor in dense.state_dict().items())
