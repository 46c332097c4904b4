"""What the search for an order of channels finds under 2:4, and how long it takes.

Asked is what NVIDIA's ASP publishes of its search (apex, permutation_tests/README.md) for one tile,
which is drawn again here: 128 rows, 64 columns, uniform. Other seeds show that no seed was chosen.
Seconds are those that the processor spent, on one core whatever the threads.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from time import process_time

import numpy as np
import torch
from torch import Tensor

from benchmarks.report import aligned
from secateur.planning.permute import search

TILE = (128, 64)
SEEDS = 20
ASKED_EFFICACY = 0.96 * 0.355
PUBLISHED = (("pairs of groups", 0.355, 60.653), ("groups of three", 0.366, None))
"""Its searches: efficacy, and seconds on a CPU where published."""
ASKED_SECONDS = 0.2
SHAPES = ((1024, 1024), (4096, 1024), (4096, 4096))
QUICK_SHAPES = ((1024, 1024),)


def run(shapes: Sequence[tuple[int, int]] = SHAPES) -> Iterator[str]:
    """Yield the lines of the report."""
    rows = [
        [
            "weight",
            "default",
            "order found",
            "bound",
            "efficacy",
            "asked/got",
            "CPU ms",
            "asked/got",
        ]
    ]
    found = [_tile(seed) for seed in range(1, SEEDS + 1)]
    rows.append(_row("the published tile", *found[0]))
    rows.append(_mean(found))
    yield from aligned(rows)
    for name, efficacy, seconds in PUBLISHED:
        time = "no time on a CPU published" if seconds is None else f"{seconds} s on its CPU path"
        yield f"published of that tile, {name}: {efficacy:.1%}, {time}"
    for shape in shapes:
        for name, scores in _weights(shape).items():
            line, seconds = _search(scores, 0)
            gain = line.after / line.before - 1
            yield (
                f"{shape[0]}x{shape[1]}, {name}: efficacy {line.efficacy:.1%}, "
                f"kept {gain:+.2%}, {seconds:.2f} s of one core"
            )


def _tile(seed: int) -> tuple[search.Found, float]:
    tile = torch.from_numpy(np.random.RandomState(seed).random_sample(TILE))
    return _search(tile, seed)


def _search(scores: Tensor, seed: int) -> tuple[search.Found, float]:
    """Return what was found, and the seconds it took."""
    generator = torch.Generator().manual_seed(seed)
    start = process_time()
    found = search.search(scores, 2, 4, generator=generator)
    return found, process_time() - start


def _weights(shape: tuple[int, int]) -> dict[str, Tensor]:
    """Weights all alike, and with input channels of different size, as trained ones have."""
    generator = torch.Generator().manual_seed(sum(shape))
    normal = torch.randn(shape, generator=generator).abs()
    sizes = torch.exp(torch.randn(shape[1], generator=generator) / 2)
    return {"normal": normal, "columns scaled log-normally (0.5)": normal * sizes}


def _row(name: str, found: search.Found, seconds: float) -> list[str]:
    return [
        name,
        f"{found.before:.3f}",
        f"{found.after:.3f}",
        f"{found.bound:.3f}",
        f"{found.efficacy:.1%}",
        f"{ASKED_EFFICACY:.1%}/{found.efficacy:.1%}{_miss(found.efficacy < ASKED_EFFICACY)}",
        f"{seconds * 1e3:.1f}",
        f"{ASKED_SECONDS * 1e3:g}/{seconds * 1e3:.1f}{_miss(seconds > ASKED_SECONDS)}",
    ]


def _mean(found: Sequence[tuple[search.Found, float]]) -> list[str]:
    efficacies = [line.efficacy for line, _ in found]
    mean, seconds = statistics.mean(efficacies), statistics.median(s for _, s in found)
    return [
        f"mean of {len(found)} seeds",
        *("", "", ""),
        f"{min(efficacies):.1%} to {max(efficacies):.1%}",
        f"{ASKED_EFFICACY:.1%}/{mean:.1%}{_miss(mean < ASKED_EFFICACY)}",
        f"{seconds * 1e3:.1f}",
        f"{ASKED_SECONDS * 1e3:g}/{seconds * 1e3:.1f}{_miss(seconds > ASKED_SECONDS)}",
    ]


def _miss(missed: bool) -> str:
    return " miss" if missed else ""
