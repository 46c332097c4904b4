"""Network slimming: output channels whose BatchNorm scales them down matter least (Liu et al.).

Learning Efficient Convolutional Networks through Network Slimming, 2017 (arXiv:1708.06519).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from secateur.pruning.criteria._base import CRITERIA, Evidence


@CRITERIA.register("batchnorm")
class BatchNormScale:
    """|gamma| of the BatchNorm that takes the layer's output, for every weight of the channel.

    It says nothing about single weights: a pattern must keep or remove rows of the weight whole.

    Args:
        following: names of BatchNorm modules by name of the layer they follow. None: found by
            watching the model run on the first calibration batch, or without one by tracing it
            with torch.fx.
    """

    name = "batchnorm"
    needs: frozenset[str] = frozenset({"scales"})
    whole_rows: ClassVar[bool] = True

    def __init__(self, following: Mapping[str, str] | None = None) -> None:
        self.following = following

    def score(self, weight: Tensor, evidence: Evidence) -> Tensor:
        """Return |gamma| of each row, [out, in]."""
        scales = evidence.get("scales", self.name).to(weight.device)
        return scales.abs()[:, None].expand(weight.shape)
