"""What a rule is: the answer to "which positions of the results are those of the operands?".

A rule is found by the name of an ATen op without its overload; `add_` goes to the rule of `add`.
An op without a rule fixes every channel that it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from secateur._registry import Registry
from secateur.pruning.structure.labels import Ids, Labels


@dataclass
class Info:
    """What is known of a tensor.

    Attributes:
        labels: one array for each dimension, one label for each position.
        zero: for each dimension, whether a slice that goes is exactly zero once the weights that
            go are set to zero. It decides whether a sum over the dimension stays the same.
        if_read: what is fixed, and why, once anything reads the tensor.
    """

    labels: list[Ids]
    zero: list[bool]
    if_read: list[tuple[Ids, str]] = field(default_factory=list)

    @classmethod
    def fixed(cls, shape: Sequence[int]) -> Info:
        """Return the info of a tensor no position of which ever goes."""
        return cls([np.zeros(n, np.int64) for n in shape], [True] * len(shape))


class Unknown(Exception):
    """Raised by a rule that meets a form of its op it has no answer for."""


@dataclass
class Call:
    """One op while a model runs.

    Attributes:
        name: of the op, without overload.
        args: as called.
        kwargs: as called.
        outs: the tensors it returned, flattened.
        labels: what goes together.
        info: looks up what is known of a tensor.
        demand: takes down that the int argument of this name, of the Python function that runs
            this op, must be the number of these positions that are kept.
        adapts: whether that function works the sizes out anew at each call. If not, sizes and
            places are as good as written in the code.
        exact: whether the results on what is left must not change.
        strides: of the operands of an op that may write to them, before it ran, by their id.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outs: list[Tensor]
    labels: Labels
    info: Callable[[Tensor], Info]
    demand: Callable[[str, Ids], None]
    adapts: bool
    exact: bool
    strides: dict[int, tuple[int, ...]]

    def arg(self, at: int, name: str, default: Any = None) -> Any:
        """Return one argument, by place or by name."""
        if at < len(self.args):
            return self.args[at]
        return self.kwargs.get(name, default)

    def of(self, at: int) -> Info:
        """Return what is known of the tensor among the arguments at this place.

        Raises:
            Unknown: if it is no tensor.
        """
        tensor = self.args[at]
        if not isinstance(tensor, Tensor):
            raise Unknown
        return self.info(tensor)

    def fix(self, info: Info, dims: Sequence[int], why: str) -> None:
        """Fix the positions along `dims`."""
        for dim in dims:
            self.labels.fix(info.labels[dim], why)

    def outer(self, info: Info, ndim: int) -> tuple[list[Ids], list[bool]]:
        """Return labels and zeros of the first `ndim` dimensions, as new lists."""
        return list(info.labels[:ndim]), list(info.zero[:ndim])

    def contract(self, a: tuple[Info, int], b: tuple[Info, int], what: str) -> None:
        """Say that products are summed along dimension a[1] of a[0] and b[1] of b[0]."""
        (left, i), (right, j) = a, b
        self.labels.equate(left.labels[i], right.labels[j])
        if not (left.zero[i] or right.zero[j]):
            self.labels.fix(left.labels[i], f"{what} sums them, and they are not zero when removed")


Rule: TypeAlias = Callable[[Call], Sequence[Info]]
RULES: Registry[Rule] = Registry("op", "secateur.pruning.structure.ops")


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule under several names."""

    def keep(thing: Rule) -> Rule:
        for name in names:
            RULES.register(name)(thing)
        return thing

    return keep


def axis(dim: int, ndim: int) -> int:
    """Return a dimension counted from the front."""
    return dim % ndim if ndim else 0
