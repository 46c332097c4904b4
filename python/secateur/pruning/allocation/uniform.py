"""Every layer gives up the same share."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.pruning.allocation._base import ALLOCATIONS, Layer


@ALLOCATIONS.register("uniform")
class Uniform:
    """The sparsity asked for, in every layer; scope "global" then moves it between layers."""

    name = "uniform"
    needs: frozenset[str] = frozenset()
    even = True

    def shares(self, layers: Sequence[Layer], sparsity: float) -> list[float]:
        """Return `sparsity` for each layer."""
        return [sparsity] * len(layers)
