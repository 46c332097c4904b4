"""Networks drawn at random: sums, joins, cuts, groups and gates in any order."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from secateur.pruning import structure
from secateur.pruning.structure import shrink
from tests.pruning.structure.judge import assert_equal_to_masked

OPS = ("conv", "grouped", "depthwise", "norm", "group norm", "act", "add", "cat", "halves", "se")


class Drawn(nn.Module):
    """Runs (op, number) one after another; `number` picks widths and earlier results."""

    def __init__(self, program: list[tuple[str, int]]) -> None:
        super().__init__()
        self.program, self.layers = program, nn.ModuleDict()
        self.stem = nn.Conv2d(2, 8, 1)
        widths = [8]
        for at, (op, number) in enumerate(program):
            widths.append(self._make(str(at), op, number, widths))
        self.head = nn.Linear(widths[-1] * 4, 3)

    def _make(self, at: str, op: str, number: int, widths: list[int]) -> int:
        c, out = widths[-1], (8, 12, 16)[number % 3]
        if op == "conv":
            self.layers[at] = nn.Conv2d(c, out, 1)
        elif op == "grouped":
            self.layers[at] = nn.Conv2d(c, out, 1, groups=2 if c % 2 == 0 else 1)
        elif op == "depthwise":
            self.layers[at] = nn.Conv2d(c, c, 3, padding=1, groups=c)
        elif op == "norm":
            self.layers[at] = nn.BatchNorm2d(c)
        elif op == "group norm":
            self.layers[at] = nn.GroupNorm(2 if c % 2 == 0 else 1, c)
        elif op == "se":
            self.layers[at] = nn.Sequential(nn.Conv2d(c, 8, 1), nn.ReLU(), nn.Conv2d(8, c, 1))
        elif op == "add":
            earlier = widths[number % len(widths)]
            self.layers[at] = nn.Identity() if earlier == c else nn.Conv2d(earlier, c, 1)
        elif op == "cat":
            return c + widths[number % len(widths)]
        elif op == "halves":
            return c // 2 if c % 2 == 0 else c
        return out if op in ("conv", "grouped") else c

    def forward(self, x: Tensor) -> Tensor:
        seen = [self.stem(x)]
        for at, (op, number) in enumerate(self.program):
            y = seen[-1]
            if op in ("conv", "grouped", "depthwise", "norm", "group norm"):
                y = self.layers[str(at)](y)
            elif op == "act":
                y = (F.relu, F.gelu, torch.sigmoid, F.hardswish)[number % 4](y)
            elif op == "add":
                y = y + self.layers[str(at)](seen[number % len(seen)])
            elif op == "cat":
                y = torch.cat((y, seen[number % len(seen)]), 1)
            elif op == "halves" and y.shape[1] % 2 == 0:
                a, b = y.chunk(2, 1)
                y = a * b if number % 2 else a.sigmoid() * b
            elif op == "se":
                y = y * self.layers[str(at)](y.mean((2, 3), keepdim=True)).sigmoid()
            seen.append(y)
        z: Tensor = self.head(seen[-1].flatten(1))
        return z


programs = st.lists(st.tuples(st.sampled_from(OPS), st.integers(0, 11)), min_size=1, max_size=7)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(programs, st.sampled_from([0.3, 0.5, 0.75]), st.sampled_from([1, 2]))
def test_any_network_computes_what_its_masked_one_does(
    program: list[tuple[str, int]], sparsity: float, round_to: int
) -> None:
    torch.manual_seed(1)
    model, x = Drawn(program).eval(), torch.randn(2, 2, 2, 2)
    small = shrink(
        model, example_inputs=x, sparsity=sparsity, round_to=round_to, criterion="random"
    )
    assert_equal_to_masked(small, model, (x,))
    kept = structure.report(small).kept
    fresh = structure.apply(Drawn(program).eval(), kept)
    fresh.load_state_dict(small.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh(x), small(x))
