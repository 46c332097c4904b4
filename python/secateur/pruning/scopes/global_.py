"""All weights of all layers compete: layers end up with different sparsities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from secateur.pruning.scopes._base import SCOPES
from secateur.pruning.select import Scores, keep_across, kept_count


@SCOPES.register("global")
class Global:
    """The model keeps n - round(sparsity * n) of its n units; a layer may lose everything."""

    name = "global"
    mixes_layers = True

    def keep(self, layers: Sequence[Scores], sparsity: float) -> list[Tensor]:
        """Return the highest units of the whole model; one layer's scores are held at a time."""
        return keep_across(layers, sparsity)

    def miscounts(self, layers: Mapping[str, Tensor], sparsity: float) -> dict[str, str]:
        """Return one entry for each layer if the model keeps another number than it should."""
        n = sum(keep.numel() for keep in layers.values())
        wanted, kept = kept_count(n, sparsity), sum(int(keep.sum()) for keep in layers.values())
        if kept == wanted:
            return {}
        return dict.fromkeys(layers, f"all layers together keep {kept} of {n}, wanted {wanted}")
