"""OWL: blocks with more outliers give up less (Yin et al. 2024, arXiv:2310.05175, section 3.2)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.pruning.allocation._base import ALLOCATIONS, Layer, as_shares, meet
from secateur.pruning.select import kept_count


@ALLOCATIONS.register("owl")
@dataclass(frozen=True)
class Owl:
    """Outlier-weighed layerwise sparsity.

    A = |w| times the norm of its input. Of the weights of one block, the fraction with A above
    `above` times the block's mean is its outlier ratio; the ratios, scaled to [0, 2 spread], say
    how much denser than the mean a block is. A block is what shares a name up to its first number,
    such as "model.layers.3"; a layer without a number is a block of its own. We differ from the
    authors' code in this: the mean density is over weights and not over blocks, which are the
    same where blocks are of one size, so that the number kept is exact; densities stay in [0, 1].

    Attributes:
        above: how many times the mean an outlier is at least (M in the paper).
        spread: half the distance between the sparsest block and the densest (lambda).
    """

    above: float = 5.0
    spread: float = 0.08
    name = "owl"
    needs = frozenset({"input_norms"})
    even = False

    def shares(self, layers: Sequence[Layer], sparsity: float) -> list[float]:
        """Return the sparsity of each layer, the same for all of one block."""
        ratios = self.outlier_ratios(layers)
        least, most = min(ratios.values()), max(ratios.values())
        scale = 2 * self.spread / (most - least) if most > least else 0.0
        denser = [scale * (ratios[block_of(layer.key)] - least) for layer in layers]

        def counts(shift: float) -> list[int]:
            return [
                min(max(math.floor((more + shift) * layer.units + 0.5), 0), layer.alive)
                for more, layer in zip(denser, layers, strict=True)
            ]

        total = kept_count(sum(layer.units for layer in layers), sparsity)
        return as_shares(layers, meet(counts, total, -1 - 2 * self.spread, 2.0))

    def outlier_ratios(self, layers: Sequence[Layer]) -> dict[str, float]:
        """Return the fraction of outliers, by block; one layer is looked at at a time."""
        blocks: dict[str, list[Layer]] = {}
        for layer in layers:
            blocks.setdefault(block_of(layer.key), []).append(layer)
        found = {}
        for name, block in blocks.items():
            n = sum(layer.target.weight.numel() for layer in block)
            mean = sum(float(_sizes(layer).sum(dtype=torch.float64)) for layer in block) / max(1, n)
            above = sum(int((_sizes(layer) > self.above * mean).sum()) for layer in block)
            found[name] = above / max(1, n)
        return found


def block_of(key: str) -> str:
    """Return the name of the block that the parameter `key` is in."""
    parts = key.split(".")
    before = list(itertools.takewhile(lambda part: not part.isdigit(), parts))
    return key if len(before) == len(parts) else ".".join(parts[: len(before) + 1])


def _sizes(layer: Layer) -> Tensor:
    """Return |w| times the norm of the input it reads, [groups, rows of a group, in]."""
    norms = layer.evidence.input_norms
    if norms is None:
        raise ValueError("allocation 'owl' needs evidence.input_norms; it is None")
    weight = layer.target.matrix
    wide = torch.promote_types(weight.dtype, torch.float32)
    grouped = weight.abs().to(wide).reshape(len(norms), -1, weight.shape[1])
    return grouped * norms.to(grouped)[:, None]
