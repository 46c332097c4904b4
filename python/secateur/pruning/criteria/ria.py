"""RIA: a weight's share of its row and of its column, times its input (Zhang et al., ICLR 2024).

Plug-and-Play: An Efficient Post-training Pruning Method for Large Language Models, equations 2, 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.pruning.criteria._base import CRITERIA, Evidence
from secateur.pruning.criteria._inputs import at_least_float32, beside


@CRITERIA.register("ria")
class Ria:
    """(|w| / sum of its column + |w| / sum of its row) times its input's norm to the power a.

    A column holds the weights that read one input: of a grouped convolution, those of one group.
    Weights of a layer compete, as in the authors' program.

    Args:
        a: exponent of the norm; 0.5 in the paper.

    Raises:
        ValueError: if `a` is negative or not finite.
    """

    name = "ria"
    needs: frozenset[str] = frozenset({"input_norms"})

    def __init__(self, a: float = 0.5) -> None:
        if not 0 <= a < float("inf"):
            raise ValueError(f"Ria: a, the exponent of the input norm, must be 0 or more, not {a}")
        self.a = a

    def score(self, weight: Tensor, evidence: Evidence) -> Tensor:
        """Return the relative importance, [out, in]; a weight alone among zeros scores 2 ||x||^a.

        The shares of a weight that is zero are 0, also in a row of zeros.
        """
        norms = evidence.get("input_norms", self.name)
        size = weight.abs().to(at_least_float32(weight))
        groups = size.reshape(norms.shape[0], -1, size.shape[1])
        tiny = torch.finfo(size.dtype).tiny
        columns = groups / groups.sum(1, keepdim=True).clamp_min(tiny)
        rows = size / size.sum(1, keepdim=True).clamp_min(tiny)
        return (columns.reshape(size.shape) + rows) * beside(norms, weight).pow(self.a)
