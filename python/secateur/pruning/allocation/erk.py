"""Erdős-Rényi-Kernel: small layers give up less (Evci et al. 2020, arXiv:1911.11134, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from secateur.pruning.allocation._base import ALLOCATIONS, Layer, as_shares, meet
from secateur.pruning.select import kept_count


@ALLOCATIONS.register("erk")
class Erk:
    """Density in proportion to (sum of the dimensions) / (product of the dimensions).

    Of a convolution these are out and in channels and the kernel's sides; of a linear layer out
    and in, which is Erdős-Rényi. A layer that would be denser than 1 is kept whole, and the rest
    is solved for again, as in the authors' code. We differ in this: the number of weights kept in
    all is exact, where theirs rounds down layer by layer.
    """

    name = "erk"
    needs: frozenset[str] = frozenset()
    even = False

    def shares(self, layers: Sequence[Layer], sparsity: float) -> list[float]:
        """Return 1 - epsilon * (sum of dimensions) / (their product), at least 0, by layer."""
        sizes = [layer.target.weight.shape for layer in layers]
        raw = [sum(size) / max(1, math.prod(size)) for size in sizes]

        def counts(epsilon: float) -> list[int]:
            wanted = [
                math.floor(epsilon * r * a.units + 0.5) for r, a in zip(raw, layers, strict=True)
            ]
            return [min(n, a.alive) for n, a in zip(wanted, layers, strict=True)]

        total = kept_count(sum(layer.units for layer in layers), sparsity)
        dense = max(1 / r for r in raw if r) if any(raw) else 1.0
        # Twice the epsilon at which the last layer is dense, so that rounding cannot fall short.
        return as_shares(layers, meet(counts, total, 0.0, 2 * dense))
