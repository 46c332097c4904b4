"""What a shrunk network computes, against the masked one, on networks of real shapes."""

from __future__ import annotations

import json
import re

import pytest
import torch
from torch import nn

from secateur.pruning import prune, structure
from secateur.pruning.structure import shrink
from tests.pruning.structure.judge import assert_equal_to_masked, whole_numbers
from tests.pruning.structure.nets import NETS, made


def numbers(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("criterion", ["magnitude", "random"])
def test_it_computes_what_the_masked_one_does(name: str, criterion: str) -> None:
    model, inputs = made(name)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    small = shrink(model, example_inputs=inputs, sparsity=0.5, criterion=criterion)
    report = structure.report(small)
    assert_equal_to_masked(small, model, inputs)
    after = model.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items()), "the model given has changed"
    assert report.parameters_before == numbers(model)
    assert report.parameters_after == numbers(small) < 0.65 * numbers(model)


@pytest.mark.parametrize("name", ["resnet", "mobilenet", "resnext", "vgg", "densenet"])
@pytest.mark.parametrize("sparsity", [0.25, 0.8])
def test_whole_numbers_come_out_to_the_bit(name: str, sparsity: float) -> None:
    model, inputs = made(name)
    whole_numbers(model)
    inputs = tuple(torch.randint_like(x, -2, 3) for x in inputs)
    small = shrink(model, example_inputs=inputs, sparsity=sparsity, round_to=2, criterion="random")
    assert numbers(small) < numbers(model)
    assert_equal_to_masked(small, model, inputs, exactly=True)


@pytest.mark.parametrize("name", NETS)
def test_a_fresh_skeleton_is_cut_to_match_a_state_dict(name: str) -> None:
    model, inputs = made(name)
    small = shrink(model, example_inputs=inputs, sparsity=0.5, criterion="random")
    kept = json.loads(json.dumps(structure.report(small).kept))
    fresh = structure.apply(NETS[name]()[0].eval(), kept)
    fresh.load_state_dict(small.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh(*inputs), small(*inputs))


@pytest.mark.parametrize("name", NETS)
def test_widths_are_multiples(name: str) -> None:
    model, inputs = made(name)
    small = shrink(model, example_inputs=inputs, sparsity=0.55, criterion="random")
    old = dict(model.named_parameters())
    cut = 0
    for key, parameter in small.named_parameters():
        for before, after in zip(old[key].shape, parameter.shape, strict=True):
            if after != before and parameter.ndim > 1:
                assert after % 8 == 0, key
                cut += 1
    assert cut


@pytest.mark.parametrize("name", ["resnet", "mobilenet", "resnext", "vit", "llama"])
def test_modules_say_how_wide_they_are(name: str) -> None:
    model, inputs = made(name)
    small = shrink(model, example_inputs=inputs, sparsity=0.5)
    for module in small.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            out, in_ = module.weight.shape[:2]
            groups = getattr(module, "groups", 1)
            said = re.findall(r"(?<![\w=])\d+(?![\w=])|_features=(\d+)", module.extra_repr())
            assert said
            wanted = (in_ * groups, out)
            if isinstance(module, nn.Conv2d):
                assert (module.in_channels, module.out_channels) == wanted
            else:
                assert (module.in_features, module.out_features) == wanted
        elif isinstance(module, nn.BatchNorm2d):
            assert module.num_features == len(module.weight) == len(module.running_mean)
        elif isinstance(module, nn.RMSNorm):
            assert module.normalized_shape == module.weight.shape
        elif isinstance(module, nn.MultiheadAttention):
            assert module.in_proj_weight.shape == (3 * module.num_heads * module.head_dim, 32)


@pytest.mark.parametrize("name", ["resnet", "vit", "bert", "llama"])
def test_it_can_be_exported_and_compiled(name: str) -> None:
    model, inputs = made(name)
    small = shrink(model, example_inputs=inputs, sparsity=0.5)
    with torch.no_grad():
        wanted = small(*inputs)
        exported = torch.export.export(small, inputs).module()
        torch.testing.assert_close(exported(*inputs), wanted)
        compiled = torch.compile(small, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(*inputs), wanted)


def test_it_trains() -> None:
    model, inputs = made("resnet")
    small = shrink(model, example_inputs=inputs, sparsity=0.5).train()
    small(*inputs).square().mean().backward()
    assert all(p.grad is not None and p.is_leaf for p in small.parameters())


def test_what_is_left_takes_n_to_m() -> None:
    model, inputs = made("llama")
    small = shrink(model, example_inputs=inputs, sparsity=0.5, round_to=8)
    masks = prune(small, pattern="2:4")
    assert masks.sparsity == 0.5
    assert masks["blocks.0.down.weight"].shape == (16, 24)


def test_in_place_is_the_same_and_the_parameters_of_kept_layers_stay() -> None:
    model, inputs = made("vit")
    copy = shrink(model, example_inputs=inputs, sparsity=0.5)
    head = model.head.weight
    same = shrink(model, example_inputs=inputs, sparsity=0.5, inplace=True)
    assert same is model
    assert model.head.weight is head
    assert str(structure.report(same)) == str(structure.report(copy))
    with torch.no_grad():
        assert torch.equal(model(*inputs), copy(*inputs))
