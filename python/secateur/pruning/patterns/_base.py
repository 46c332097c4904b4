"""What a pattern is: the answer to "which weights live or die together, and where?"."""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import Tensor

from secateur._registry import Registry
from secateur.pruning.patterns._pool import Pooling
from secateur.pruning.shape import Shape


class Pattern(Protocol):
    """One file of this room.

    Attributes:
        name: what a user types, for example "2:4".
        examples: names that the contract tests try; at least one.
        sparsity: the fraction of weights the pattern itself fixes, or None if it is free.
        kept_per_row: units kept in every row of `to_units`, or None if the scope decides.
        within_rows: whether units that share a row of the weight can compete there, row by row;
            false where one unit takes in whole rows, or parts of all of them.
    """

    examples: ClassVar[tuple[str, ...]]

    @property
    def name(self) -> str: ...

    @property
    def sparsity(self) -> float | None: ...

    @property
    def kept_per_row(self) -> int | None: ...

    @property
    def within_rows(self) -> bool: ...

    @classmethod
    def parse(cls, text: str) -> Pattern | None:
        """Return the pattern that `text` names, None if it is not of this kind.

        Raises:
            ValueError: if it is of this kind and makes no sense.
        """

    def misfit(self, shape: Shape) -> str | None:
        """Return why a weight of this shape cannot have this pattern, with a way out, or None."""

    def to_units(self, scores: Tensor, shape: Shape, how: Pooling = "mean") -> Tensor:
        """Return the score of each unit, [rows, units per row], from `scores` [out, in].

        Args:
            scores: one per weight; where a unit is removed already, all of its scores are -inf.
            shape: of the weight; `misfit(shape)` is None.
            how: what becomes of the scores of one unit.
        """

    def choose(self, units: Tensor) -> Tensor:
        """Return which units live, bool and shaped like `units`, where the pattern fixes that.

        Raises:
            TypeError: if it does not: `kept_per_row` is None, and a scope chooses.
        """

    def to_mask(self, keep: Tensor, shape: Shape) -> Tensor:
        """Return the mask, bool [out, in], from `keep`, bool and shaped like the units."""

    def broken_by(self, mask: Tensor, shape: Shape) -> str | None:
        """Return where `mask`, bool [out, in], is not what the pattern allows, or None.

        A mask that keeps fewer than N of M is allowed.
        """

    def towards(self, sparsity: float) -> Pattern:
        """Return the milder pattern that stands for this one while `sparsity` is wanted."""


PATTERNS: Registry[type[Pattern]] = Registry("pattern", "secateur.pruning.patterns")


def find_pattern(text: str) -> Pattern:
    """Return the pattern that `text` names.

    Raises:
        TypeError: if `text` is not a string.
        ValueError: if no pattern goes by that name; the message lists the kinds there are.
    """
    if not isinstance(text, str):
        raise TypeError(f'pattern must be a string such as "2:4", not {type(text).__name__}')
    for kind in PATTERNS.names():
        pattern = PATTERNS.get(kind).parse(text)
        if pattern is not None:
            return pattern
    known = ", ".join(PATTERNS.names())
    raise ValueError(f'unknown pattern {text!r}; known: {known} (N kept of M, as in "2:4")')
