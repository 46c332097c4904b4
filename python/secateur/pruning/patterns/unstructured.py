"""Every weight lives or dies alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from secateur.pruning.patterns._base import PATTERNS


@PATTERNS.register("unstructured")
@dataclass(frozen=True)
class Unstructured:
    """No constraint on where the zeros are: units are the weights themselves."""

    examples: ClassVar[tuple[str, ...]] = ("unstructured",)
    name: ClassVar[str] = "unstructured"
    sparsity: ClassVar[float | None] = None
    kept_per_row: ClassVar[int | None] = None

    @classmethod
    def parse(cls, text: str) -> Unstructured | None:
        """Return the pattern if `text` is its name."""
        return cls() if text == cls.name else None

    def misfit(self, out_features: int, in_features: int) -> str | None:
        """Return None: every shape will do."""
        return None

    def to_units(self, scores: Tensor) -> Tensor:
        """Return `scores` as they are, [out, in]."""
        return scores

    def to_mask(self, keep: Tensor, out_features: int, in_features: int) -> Tensor:
        """Return `keep` as it is, bool [out, in]."""
        return keep

    def broken_by(self, mask: Tensor) -> str | None:
        """Return None: every mask will do."""
        return None

    def towards(self, sparsity: float) -> Unstructured:
        """Return this pattern: it takes any sparsity."""
        return self
