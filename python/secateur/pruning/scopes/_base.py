"""What a scope is: the answer to "who competes with whom?"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from secateur._registry import Registry
from secateur.pruning.select import Scores


class Scope(Protocol):
    """One file of this room.

    Attributes:
        name: as registered.
        mixes_layers: whether one layer may end up sparser than another.
    """

    name: str
    mixes_layers: bool

    def keep(self, layers: Sequence[Scores], sparsity: float) -> list[Tensor]:
        """Return which units of each layer live.

        Args:
            layers: functions that compute one layer's unit scores, [rows, units per row].
            sparsity: fraction of units removed, in [0, 1).

        Returns:
            bool, one per layer, shaped like its units.
        """

    def miscounts(self, layers: Mapping[str, Tensor], sparsity: float) -> dict[str, str]:
        """Return what is wrong with the number of units kept, by layer name; {} if exact.

        Args:
            layers: which units live, bool [rows, units per row], by layer name.
            sparsity: fraction of units that should be gone.
        """


SCOPES: Registry[type[Scope]] = Registry("scope", "secateur.pruning.scopes")
