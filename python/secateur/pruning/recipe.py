"""A criterion, a pattern and a scope put together, and the masks they make of a set of weights.

Nothing here writes to a weight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from secateur.pruning.criteria import CRITERIA, Criterion, Evidence
from secateur.pruning.masks import Origin
from secateur.pruning.patterns import Pattern, Pooling, find_pattern
from secateur.pruning.scopes import SCOPES, Scope
from secateur.pruning.select import Scores
from secateur.pruning.targets import Target


@dataclass(frozen=True)
class Recipe:
    """How weights become masks.

    Attributes:
        criterion: how much each weight matters.
        pattern: which weights live or die together.
        scope: who competes with whom.
    """

    criterion: Criterion
    pattern: Pattern
    scope: Scope

    @classmethod
    def of(cls, criterion: str | Criterion, pattern: str | Pattern, scope: str | Scope) -> Recipe:
        """Return the recipe of these names, or of objects with the same methods.

        Raises:
            ValueError: if a name is unknown, or the pattern leaves the scope nothing to decide.
        """
        recipe = cls(
            CRITERIA.get(criterion)() if isinstance(criterion, str) else criterion,
            find_pattern(pattern) if isinstance(pattern, str) else pattern,
            SCOPES.get(scope)() if isinstance(scope, str) else scope,
        )
        if recipe.pattern.sparsity is not None and recipe.scope.mixes_layers:
            raise ValueError(
                f"scope={recipe.scope.name!r} lets layers compete, but pattern "
                f'{recipe.pattern.name} keeps the same number everywhere; use scope="layer", or '
                'pattern="unstructured"'
            )
        if recipe.scope.name == "row" and not recipe.pattern.within_rows:
            raise ValueError(
                f"scope='row' lets units of one row compete, but a unit of pattern "
                f'{recipe.pattern.name} is not inside one row; use scope="layer" or scope="global"'
            )
        return recipe

    def sparsity(self, wanted: float | None) -> float:
        """Return the sparsity to prune to.

        Raises:
            TypeError: if `wanted` is no number.
            ValueError: if it is out of [0, 1), missing, or not the pattern's own.
        """
        fixed = self.pattern.sparsity
        if wanted is None:
            if fixed is None:
                raise ValueError(
                    f"pattern {self.pattern.name!r} needs a sparsity, the fraction of weights to "
                    "remove, for example sparsity=0.9"
                )
            return fixed
        wanted = _fraction(wanted)
        if fixed is not None and not math.isclose(wanted, fixed, rel_tol=1e-9):
            raise ValueError(
                f"pattern {self.pattern.name} has a sparsity of its own, {fixed:g}; sparsity="
                f'{wanted:g} contradicts it. Leave sparsity out, or use pattern="unstructured"'
            )
        return wanted if fixed is None else fixed

    def on_the_way(self, wanted: float) -> float:
        """Return `wanted`, a sparsity that a schedule passes on its way to the end.

        Raises:
            TypeError: if `wanted` is no number.
            ValueError: if it is out of [0, 1), or beyond the pattern's own sparsity.
        """
        wanted, fixed = _fraction(wanted), self.pattern.sparsity
        if fixed is not None and wanted > fixed:
            return self.sparsity(wanted)
        return wanted

    def check(self, targets: Mapping[str, Target]) -> None:
        """Raise ValueError, naming the layer, if the pattern does not fit one of the targets."""
        for target in targets.values():
            reason = self.pattern.misfit(target.shape)
            if reason:
                raise ValueError(
                    f"{reason} ({target.key!r}). Exclude it with ignore=[{target.name!r}], or use "
                    'pattern="unstructured"'
                )

    def masks(
        self,
        targets: Mapping[str, Target],
        sparsity: float,
        generator: torch.Generator | None = None,
        previous: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return the masks, bool and shaped like the parameters.

        Args:
            targets: the weights, by parameter name.
            sparsity: fraction to remove. For a pattern with a sparsity of its own, anything up to
                that: the milder pattern that `towards` gives is used.
            generator: where seeds come from, on any device; None means torch's default one.
            previous: masks by parameter name; what they removed stays removed.

        Raises:
            ValueError: if a score is NaN or -inf, or the criterion returns another shape.
        """
        pattern = self.pattern.towards(sparsity)
        wide = any(target.weight.dtype == torch.float64 for target in targets.values())
        dtype = torch.float64 if wide else torch.float32

        def units_of(key: str, target: Target) -> Scores:
            evidence = self._evidence(generator)
            removed = None if previous is None else ~target.to_matrix(previous[key])
            how: Pooling = getattr(self.criterion, "pooling", "mean")
            shape = target.shape
            score = self._score
            return lambda: pattern.to_units(score(target, evidence, removed).to(dtype), shape, how)

        layers = [units_of(key, target) for key, target in targets.items()]
        if pattern.kept_per_row is None:
            keep = self.scope.keep(layers, sparsity)
        else:
            keep = [pattern.choose(layer()) for layer in layers]
        return {
            key: target.from_matrix(pattern.to_mask(units, target.shape)).contiguous()
            for (key, target), units in zip(targets.items(), keep, strict=True)
        }

    def origin(self, sparsity: float) -> Origin:
        """Return the words for masks made at `sparsity`."""
        pattern = self.pattern.towards(sparsity)
        own = pattern.sparsity
        return Origin(
            self.criterion.name, pattern.name, self.scope.name, sparsity if own is None else own
        )

    def _evidence(self, generator: torch.Generator | None) -> Evidence:
        unknown = self.criterion.needs - {"seed"}
        if unknown:
            raise ValueError(
                f"criterion {self.criterion.name!r} needs {', '.join(sorted(unknown))}, which is "
                "not to be had here; there is: seed"
            )
        if "seed" not in self.criterion.needs:
            return Evidence()
        generator = generator or torch.default_generator
        seed = torch.randint(2**62, (), generator=generator, device=generator.device)
        return Evidence(seed=int(seed))

    def _score(self, target: Target, evidence: Evidence, removed: Tensor | None) -> Tensor:
        """Return the criterion's scores, [out, in]; what is `removed` already comes last."""
        matrix = target.matrix
        score = self.criterion.score(matrix, evidence)
        if score.shape != matrix.shape:
            raise ValueError(
                f"criterion {self.criterion.name!r} returned {list(score.shape)} for "
                f"{target.key!r}, which is {list(matrix.shape)}"
            )
        if not bool((score > -math.inf).all()):
            raise ValueError(
                f"criterion {self.criterion.name!r} gives NaN or -inf for {target.key!r}; is there "
                "a NaN among its weights?"
            )
        return score if removed is None else score.masked_fill(removed.to(score.device), -math.inf)


def _fraction(sparsity: object) -> float:
    if isinstance(sparsity, bool) or not isinstance(sparsity, Real):
        raise TypeError(f"sparsity must be a number in [0, 1), not {sparsity!r}")
    fraction = float(sparsity)
    if 0 <= fraction < 1:
        return fraction
    if 1 < fraction < 100:
        hint = f"; did you mean {fraction / 100:g}?"
    elif fraction == 1:
        hint = "; 1 would remove every weight"
    else:
        hint = ""
    raise ValueError(f"sparsity is the fraction to remove, in [0, 1), not {fraction:g}{hint}")
