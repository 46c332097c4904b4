"""Weights compete inside their layer: every layer ends up with the same sparsity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from secateur.pruning.scopes._base import SCOPES
from secateur.pruning.select import Scores, keep_across, kept_count


@SCOPES.register("layer")
class Layer:
    """Each layer keeps n - round(sparsity * n) of its n units."""

    name = "layer"
    mixes_layers = False

    def keep(self, layers: Sequence[Scores], sparsity: float) -> list[Tensor]:
        """Return the highest units of each layer on its own."""
        return [self._keep(layer(), sparsity) for layer in layers]

    def _keep(self, scores: Tensor, sparsity: float) -> Tensor:
        return keep_across([lambda: scores], sparsity)[0]

    def miscounts(self, layers: Mapping[str, Tensor], sparsity: float) -> dict[str, str]:
        """Return the layers that keep another number than they should."""
        found = {}
        for name, keep in layers.items():
            wanted, kept = kept_count(keep.numel(), sparsity), int(keep.sum())
            if kept != wanted:
                found[name] = f"keeps {kept} of {keep.numel()}, wanted {wanted}"
        return found
