"""What a criterion is: the answer to "how much does each weight matter?", and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from secateur._registry import Registry


@dataclass(frozen=True)
class Evidence:
    """What a criterion may look at beside the weight; a field it did not ask for is None.

    Attributes:
        seed: one number per layer, drawn from the caller's generator ("seed" in `needs`).
    """

    seed: int | None = None


class Criterion(Protocol):
    """One file of this room.

    Attributes:
        name: as registered.
        needs: the fields of `Evidence` it reads.
    """

    name: str
    needs: frozenset[str]

    def score(self, weight: Tensor, evidence: Evidence) -> Tensor:
        """Return how much each weight matters; the higher, the longer it lives.

        It must give the same scores when called again with the same arguments.

        Args:
            weight: floating, [out, in].
            evidence: the fields named in `needs` are set.

        Returns:
            floating, [out, in], without NaN or -inf. Compared as float32, or as float64 if the
            weight is float64.
        """


CRITERIA: Registry[type[Criterion]] = Registry("criterion", "secateur.pruning.criteria")
