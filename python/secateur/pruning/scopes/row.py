"""Weights compete inside their output row, the comparison group of Wanda (arXiv:2306.11695, 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from secateur.pruning.scopes._base import SCOPES
from secateur.pruning.select import Scores, keep_per_row, kept_count


@SCOPES.register("row")
class Row:
    """Each row keeps n - round(sparsity * n) of its n units."""

    name = "row"
    mixes_layers = False

    def keep(self, layers: Sequence[Scores], sparsity: float) -> list[Tensor]:
        """Return the highest units of each row on its own."""
        return [self._keep(layer(), sparsity) for layer in layers]

    def _keep(self, scores: Tensor, sparsity: float) -> Tensor:
        return keep_per_row(scores, kept_count(scores.shape[1], sparsity))

    def miscounts(self, layers: Mapping[str, Tensor], sparsity: float) -> dict[str, str]:
        """Return the layers in which a row keeps another number than it should."""
        found = {}
        for name, keep in layers.items():
            wanted, kept = kept_count(keep.shape[1], sparsity), keep.sum(1)
            bad = (kept != wanted).nonzero().flatten()
            if len(bad):
                row = int(bad[0])
                found[name] = (
                    f"row {row} keeps {int(kept[row])} of {keep.shape[1]}, wanted {wanted} "
                    f"({len(bad)} of {len(kept)} rows are like that)"
                )
        return found
