"""What the end-to-end tests share: a wide MLP, its training, and how its answers are judged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import secateur as sc

BATCH = 64


@dataclass(frozen=True)
class Data:
    """Features [n, k] floating and labels [n] int64, split once."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.train_y) / BATCH)


def split(x: Tensor, y: Tensor, train: int) -> Data:
    """Shuffle by a fixed seed; the first `train` rows are for training."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    return Data(x[:train], y[:train], x[train:], y[train:])


def build_mlp(features: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, 1024),
        nn.ReLU(),
        nn.Linear(1024, 1024),
        nn.ReLU(),
        nn.Linear(1024, classes),
    )


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Data,
    epochs: int,
    pruner: sc.GradualPruner | None = None,
) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(epochs):
        for batch in torch.randperm(len(data.train_y), generator=generator).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(data.train_x[batch]), data.train_y[batch]).backward()
            optimizer.step()
            if pruner is not None:
                pruner.step()


def train_pruned(model: nn.Module, data: Data, epochs: int, sparsity: float) -> None:
    """Prune along the cubic schedule in the first half of the epochs, heal in the second."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    half = epochs * data.steps_per_epoch // 2
    schedule = sc.schedules.cubic(0.0, sparsity, steps=range(0, half, 10))
    pruner = sc.GradualPruner(model, optimizer, schedule=schedule)
    train(model, optimizer, data, epochs, pruner)
    pruner.detach()


def correct(model: nn.Module, data: Data) -> int:
    with torch.no_grad():
        return int((model(data.test_x).argmax(1) == data.test_y).sum())


def largest_chance_difference(correct_dense: int, n: int) -> float:
    """How many more test rows a model that is no better may get right by chance alone.

    Three standard deviations of the difference of two binomials, as if the two models erred on
    independent rows. They see the same ones, which only makes the true deviation smaller. The
    rate is Laplace's (k + 1) / (n + 2), so that a perfect score does not claim certainty.
    """
    rate = (correct_dense + 1) / (n + 2)
    return 3 * math.sqrt(2 * n * rate * (1 - rate))


def forward_error_bound(model: nn.Sequential, x: Tensor) -> tuple[Tensor, Tensor]:
    """The fp64 answer and how far an fp32 evaluation in any summation order may be from it.

    Each Linear turns an input error e into |W| e and adds (k + 2) eps (|W| |a|) + eps |b|; ReLU
    has Lipschitz constant 1. Higham, Accuracy and Stability of Numerical Algorithms, ch. 3.
    """
    eps = torch.finfo(torch.float32).eps
    answer, error = x.double(), torch.zeros_like(x, dtype=torch.float64)
    for layer in model:
        if isinstance(layer, nn.Linear):
            weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
            size = (answer.abs() + error) @ weight.abs().T
            error = error @ weight.abs().T + (layer.in_features + 2) * eps * size
            error = error + eps * bias.abs()
            answer = answer @ weight.T + bias
        else:
            answer = layer(answer)
    return answer, error


def assert_within(actual: Tensor, answer: Tensor, error: Tensor) -> None:
    excess = ((actual.double() - answer).abs() - error).max().item()
    assert excess <= 0, f"an output is {excess} beyond its rounding error bound"
