"""Measures two sparse layers in one call against the same two in a call each, in the same rounds.

The activation is fused into the first of the two calls, so that what is compared is what lies
between the layers: written and read back, or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks import subject
from benchmarks.cases import Case
from benchmarks.timing import Candidate, Plan, Samples, measure, ratio

SHAPES = ((768, 3072), (1024, 4096))
"""(features in and out, hidden features)."""

ROWS = (256, 1024)
SPARSITIES = (0.5, 0.7, 0.8, 0.9)
ASKED = 1.15
"""Two calls over one, from which the fused op is worth its place."""


@dataclass(frozen=True)
class Options:
    """What to measure, and how.

    Args:
        plan: how many rounds.
        shapes: (features in and out, hidden features).
        rows: rows of x.
        sparsities: shares of zeros, of unstructured weights.
    """

    plan: Plan = field(default_factory=Plan)
    shapes: Sequence[tuple[int, int]] = SHAPES
    rows: Sequence[int] = ROWS
    sparsities: Sequence[float] = SPARSITIES


@dataclass(frozen=True)
class Mlp:
    """Both layers, packed, and a residual connection around them."""

    first: tuple[Tensor, Tensor]
    second: tuple[Tensor, Tensor]
    bias1: Tensor
    bias2: Tensor

    def two_calls(self, x: Tensor) -> Tensor:
        """Return x + W2 gelu(W1 x), a call a layer."""
        linear = torch.ops.secateur.csr_linear_infer.default
        sizes = len(self.bias1), len(self.bias2)
        hidden = linear(x, *self.first, self.bias1, out_features=sizes[0], act="gelu")
        y: Tensor = linear(hidden, *self.second, self.bias2, x, out_features=sizes[1])
        return y

    def one_call(self, x: Tensor) -> Tensor:
        """Return the same in one call."""
        sizes = {"hidden_features": len(self.bias1), "out_features": len(self.bias2)}
        op = torch.ops.secateur.csr_mlp_infer.default
        y: Tensor = op(x, *self.first, *self.second, self.bias1, self.bias2, x, **sizes)
        return y


def run(options: Options, say: Callable[[str], None]) -> Iterator[str]:
    """Measure everything selected; yields a line of the table at a time.

    Args:
        options: what and how.
        say: is told where there are no kernels.
    """
    from secateur import _extension

    if not _extension.load():
        say(f"no kernels: {_extension.reason()}")
    yield f"{'shape':<16}{'rows':>6}{'zeros':>7}{'two ms':>9}{'one ms':>9}{'two/one':>9}  asked"
    for shape in options.shapes:
        for sparsity in options.sparsities:
            made = make(*shape, sparsity)
            for rows in options.rows:
                x = torch.randn(rows, shape[0], generator=torch.Generator().manual_seed(rows))
                yield _line(shape, sparsity, rows, compared(made, x, options.plan))


def make(features: int, hidden: int, sparsity: float) -> Mlp:
    """Return random layers, [hidden, features] and [features, hidden]."""
    from secateur.formats import FORMATS

    generator = torch.Generator().manual_seed(features + hidden)
    pairs = []
    for shape in ((hidden, features), (features, hidden)):
        weight = torch.randn(shape, generator=generator) * shape[1] ** -0.5
        mask = subject.make_mask(Case(*shape, 1, "csr", sparsity))
        packed = FORMATS.get("csr").pack(weight, mask)
        pairs.append((packed.values, packed.index))
    biases = (torch.randn(size, generator=generator) for size in (hidden, features))
    return Mlp(*pairs, *biases)


def compared(made: Mlp, x: Tensor, plan: Plan) -> tuple[Samples, Samples]:
    """Return seconds of the two calls and of the one."""
    calls: dict[str, Callable[[], object]] = {
        "two": lambda: made.two_calls(x),
        "one": lambda: made.one_call(x),
    }
    with torch.inference_mode():
        samples = measure([Candidate(name, [call]) for name, call in calls.items()], plan)
    return samples["two"], samples["one"]


def _line(
    shape: tuple[int, int], sparsity: float, rows: int, samples: tuple[Samples, Samples]
) -> str:
    two, one = samples
    gain = ratio(two, one)
    name = f"{shape[0]}-{shape[1]}-{shape[0]}"
    verdict = "met" if gain.median >= ASKED else "missed"
    return (
        f"{name:<16}{rows:>6}{sparsity:>7.0%}{two.median * 1e3:>9.2f}{one.median * 1e3:>9.2f}"
        f"{gain.median:>8.2f}x  {ASKED}x {verdict} (±{gain.spread:.1%})"
    )
