"""Rules of ops, one by one: that the ops exist, and that what is said about zeros is so."""

from __future__ import annotations

import pytest
import torch

from secateur.pruning.structure.ops import RULES, pointwise

# Arguments beside x, of ops that cannot do without.
ARGUMENTS = {"dropout": (0.5, False), "native_dropout": (0.5, False)}
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "atan2", "hypot", "fmod", "remainder")


def op(name: str) -> object:
    return getattr(torch.ops.aten, name)


@pytest.mark.parametrize("name", RULES.names())
def test_every_rule_is_for_an_op_of_torch(name: str) -> None:
    assert hasattr(torch.ops.aten, name)


@pytest.mark.parametrize("name", pointwise._KEEP_ZERO.split())
def test_what_is_said_to_keep_zero_does(name: str) -> None:
    x = torch.zeros(5)
    y = op(name)(x, *ARGUMENTS.get(name, ()))
    y = y[0] if isinstance(y, tuple) else y
    assert torch.equal(y.float(), x)


@pytest.mark.parametrize("name", BINARY)
def test_what_is_said_of_two_operands_is_so(name: str) -> None:
    one, zero = torch.full((5,), 2.0), torch.zeros(5)
    either = {"mul": (True, True), "div": (True, False), "fmod": (True, False)}
    first, second = either.get(name, (False, False))
    if name == "remainder":
        first = True
    # It is zero where the rule says so: for all of them, or all but one, zero.
    if first:
        assert not op(name)(zero, one).any()
    if second:
        assert not op(name)(one, zero).any()
    if name in pointwise._ALL_ZERO.split():
        assert not op(name)(zero, zero).any()


def test_an_unknown_op_fixes_what_it_reads() -> None:
    from torch import nn

    from secateur.pruning import structure

    class Sorted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 16), nn.Linear(16, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.last(torch.special.bessel_j0(self.first(x)))
            return y

    small = structure.shrink(Sorted(), example_inputs=torch.randn(2, 4), sparsity=0.5)
    stays = {(s.name, s.dim): s.why for s in structure.report(small).stays}
    assert "special_bessel_j0.default is not known" in stays["first.weight", 0]
    assert small.first.out_features == 16
