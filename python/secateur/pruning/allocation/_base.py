"""What an allocation is: the answer to "how much does each layer give up?"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from secateur._registry import Registry
from secateur.pruning.criteria import Evidence
from secateur.pruning.select import Scores
from secateur.pruning.targets import Target


@dataclass(frozen=True)
class Layer:
    """One weight as an allocation sees it.

    Attributes:
        key: the parameter's name.
        target: the weight.
        units: how many units of the pattern it has.
        alive: how many of them nothing has removed yet.
        scores: computes the criterion's scores of the units, [rows, units per row]; -inf where
            removed.
        evidence: what was found out about it; the fields named in the allocation's `needs` are set.
    """

    key: str
    target: Target
    units: int
    alive: int
    scores: Scores
    evidence: Evidence


class Allocation(Protocol):
    """One file of this room.

    Attributes:
        name: as registered.
        needs: the fields of `Evidence` it reads.
        even: whether it gives every layer the same sparsity, so that it goes with every scope and
            with patterns that fix the sparsity.
    """

    name: str
    needs: frozenset[str]
    even: bool

    def shares(self, layers: Sequence[Layer], sparsity: float) -> list[float]:
        """Return the sparsity of each layer, as a fraction of its units.

        Units kept come to `kept_count(n, sparsity)` of all n, exactly, unless a user said
        otherwise layer by layer, or every layer rounds for itself.

        Args:
            layers: at least one.
            sparsity: fraction of all units to remove, in [0, 1).

        Raises:
            ValueError: if that cannot be done.
        """


ALLOCATIONS: Registry[Callable[[], Allocation]] = Registry(
    "allocation", "secateur.pruning.allocation"
)


def as_shares(layers: Sequence[Layer], kept: Sequence[int]) -> list[float]:
    """Return the fraction each layer gives up, such that `kept_count` gives `kept` back."""
    return [(a.units - k) / a.units if a.units else 0.0 for a, k in zip(layers, kept, strict=True)]


def meet(counts: Callable[[float], list[int]], total: int, low: float, high: float) -> list[int]:
    """Return counts(x) for the x between `low` and `high` at which they come to `total`.

    Where the counts jump past `total`, the first of those that jump do so and the rest do not.
    A larger total never makes one of the counts smaller: unlike rounding by largest remainders,
    so that pruning further never brings a weight back.

    Args:
        counts: each of them grows with x.
        total: what they shall come to, between the sums at `low` and at `high`.
        low: least x.
        high: greatest x.
    """
    while low < (middle := (low + high) / 2) < high:
        if sum(counts(middle)) < total:
            low = middle
        else:
            high = middle
    few, many = counts(low), counts(high)
    missing = total - sum(few)
    for i, (least, most) in enumerate(zip(few, many, strict=True)):
        more = min(missing, most - least)
        few[i] += more
        missing -= more
    return few
