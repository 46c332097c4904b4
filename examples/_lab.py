"""What examples/techniques.py measures with: the digits, two small networks, their training."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import secateur as sc

# The first layer sees 9 numbers and the last gives 10 classes: the two that everybody leaves.
IGNORE = ["stem.0", "head"]
BATCH = 64
RATE = 2e-3


class Reader(nn.Module):
    """8 x 8 pixels to 10 classes: two convolutions, 16 tokens of attention, an MLP, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
        )
        self.attention = nn.MultiheadAttention(64, 4, batch_first=True)
        self.norm = nn.LayerNorm(64)
        self.mlp = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 64))
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        tokens = tokens + self.mlp(self.norm(tokens))
        answer: Tensor = self.head(tokens.mean(1))
        return answer


class Plain(nn.Sequential):
    """Convolutions and linear layers alone, for what cannot judge a network with attention."""

    def __init__(self) -> None:
        stem = Reader().stem
        super().__init__()
        self.stem = stem
        self.flatten = nn.Flatten()
        self.mlp = nn.Sequential(nn.Linear(1024, 128), nn.ReLU())
        self.head = nn.Linear(128, 10)


@dataclass(frozen=True)
class Row:
    """One measurement; accuracies are fractions of the test digits, None if not measured."""

    part: str
    name: str
    sparsity: float = 0.0
    pruned: float | None = None
    healed: float | None = None
    seconds: float = 0.0
    note: str = ""

    def __str__(self) -> str:
        if self.note:
            return f"{self.part:<12} {self.name:<22} {self.note}"
        at_once = "     -" if self.pruned is None else f"{self.pruned:6.3f}"
        return (
            f"{self.part:<12} {self.name:<22} {self.sparsity:8.1%}   {at_once}   "
            f"{self.healed:6.3f}   {self.seconds:5.1f} s"
        )


class Lab:
    """The data, the dense network, and how a copy of it is trained and judged."""

    def __init__(self, quick: bool, kind: type[nn.Module] = Reader) -> None:
        digits = load_digits()
        order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
        x = (torch.from_numpy(digits.data).float() / 16).view(-1, 1, 8, 8)[order]
        y = torch.from_numpy(digits.target)[order]
        train = 256 if quick else 1200
        self.x, self.y, self.test_x, self.test_y = x[:train], y[:train], x[1200:], y[1200:]
        self.quick, self.kind = quick, kind
        self.epochs, self.healing = (1, 1) if quick else (10, 3)
        self.dense = self.new()
        self.train(self.dense, self.epochs)

    def new(self) -> nn.Module:
        torch.manual_seed(0)
        return self.kind()

    def copy(self) -> nn.Module:
        return copy.deepcopy(self.dense)

    def steps(self, epochs: int) -> int:
        return epochs * math.ceil(len(self.y) / BATCH)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(model.parameters(), lr=RATE)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    def batches(self, epochs: int, seed: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        draws = torch.Generator().manual_seed(seed)
        for _ in range(epochs):
            for rows in torch.randperm(len(self.y), generator=draws).split(BATCH):
                yield self.x[rows], self.y[rows]

    def train(
        self,
        model: nn.Module,
        epochs: int,
        optimizer: torch.optim.Optimizer | None = None,
        each: Callable[[], object] = lambda: None,
        loss: Callable[[nn.Module, tuple[Tensor, Tensor]], Tensor] | None = None,
    ) -> None:
        optimizer = optimizer or self.optimizer(model)
        model.train()
        for step, batch in enumerate(self.batches(epochs)):
            for group in optimizer.param_groups:
                group["lr"] = RATE * (1 - step / self.steps(epochs))
            optimizer.zero_grad()
            (loss or self.loss)(model, batch).backward()
            optimizer.step()
            each()

    def heal(self, model: nn.Module, masks: sc.Masks) -> None:
        optimizer = self.optimizer(model)
        with masks.attached(optimizer):
            self.train(model, self.healing, optimizer)

    @torch.no_grad()
    def accuracy(self, model: nn.Module) -> float:
        correct = model.eval()(self.test_x).argmax(1) == self.test_y
        return int(correct.sum()) / len(self.test_y)

    def one_shot(self, part: str, name: str, **how: Any) -> Row:
        """Prune a copy at once, measure, heal, measure again."""
        start, model = time.perf_counter(), self.copy()
        try:
            masks = sc.prune(model, **{"ignore": IGNORE, **how})
        except ValueError as error:
            return Row(part, name, note=f"refused: {error}"[:110].rpartition(" ")[0] + " ...")
        pruned = self.accuracy(model)
        self.heal(model, masks)
        sc.verify(model, masks).require()
        seconds = time.perf_counter() - start
        return Row(part, name, masks.sparsity, pruned, self.accuracy(model), seconds)

    def gradual(self, part: str, name: str, schedule: Any, **how: Any) -> Row:
        """Prune a copy along a schedule while it trains on; the last epoch is for healing."""
        start, model = time.perf_counter(), self.copy()
        optimizer = self.optimizer(model)
        how = {"ignore": IGNORE, **how}
        with sc.GradualPruner(model, optimizer, schedule, **how) as pruner:
            self.train(model, self.healing + 1, optimizer, pruner.step)
        seconds = time.perf_counter() - start
        return Row(part, name, pruner.masks.sparsity, None, self.accuracy(model), seconds)

    def updates(self) -> range:
        return range(0, self.steps(self.healing), 1 if self.quick else 5)
