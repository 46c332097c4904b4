"""Shrink a small CNN to half its channels, and time it before and after.

The weights are random: nothing is said about accuracy, which needs training, and was not measured.
"""

from statistics import median
from time import perf_counter

import torch
from torch import nn

from secateur.pruning import structure


def block(channels: int, out: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU())


def milliseconds(model: nn.Module, x: torch.Tensor, runs: int = 20) -> tuple[float, float]:
    """Median and slowest of `runs`, after two that do not count."""
    times = []
    with torch.inference_mode():
        for run in range(runs + 2):
            start = perf_counter()
            model(x)
            if run >= 2:
                times.append(1e3 * (perf_counter() - start))
    return median(times), max(times)


def main() -> None:
    torch.manual_seed(0)
    blocks = [block(3, 64, 1), block(64, 64, 1), block(64, 128, 2), block(128, 128, 2)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)]
    model = nn.Sequential(*blocks, *head).eval()
    x = torch.randn(4, 3, 32, 32)

    small = structure.shrink(model, sparsity=0.5, example_inputs=x, round_to=8)
    print(structure.report(small))

    kept = structure.report(small).kept
    print(f"rows kept of the first convolution: {kept['tensors']['0.0.weight'][0]}")
    for name, each in (("before", model), ("after", small)):
        typical, slowest = milliseconds(each, x)
        print(f"{name}: {typical:.2f} ms (slowest {slowest:.2f}), x {list(x.shape)}")
    print("accuracy: not measured; the weights are random, and training comes after shrinking")


if __name__ == "__main__":
    main()
