"""A criterion, a pattern and a scope put together, and the masks they make of a set of weights.

Nothing here writes to a weight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real

import torch
from torch import Tensor

from secateur.pruning.criteria import AnyCriterion, Criterion, Evidence, find_criterion
from secateur.pruning.masks import Origin
from secateur.pruning.patterns import Pattern, find_pattern
from secateur.pruning.pooling import pooled, unit_of
from secateur.pruning.scopes import SCOPES, Scope
from secateur.pruning.select import Scores
from secateur.pruning.shape import Shape
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
    def of(
        cls, criterion: AnyCriterion, pattern: str | Pattern, scope: str | Scope | None = None
    ) -> Recipe:
        """Return the recipe of these names, or of objects with the same methods.

        Args:
            criterion: also a function, or scores; see `secateur.pruning.prune`.
            pattern: a name or an object.
            scope: a name or an object. None: what the criterion's authors mean, where the pattern
                leaves room for it; else "layer".

        Raises:
            TypeError: if the criterion is none.
            ValueError: if a name is unknown, or the pattern leaves the scope nothing to decide.
        """
        ours = find_criterion(criterion)
        form = find_pattern(pattern) if isinstance(pattern, str) else pattern
        if scope is None:
            scope = getattr(ours, "scope", "layer")
            if form.sparsity is not None or (scope == "row" and not form.within_rows):
                scope = "layer"
        recipe = cls(ours, form, SCOPES.get(scope)() if isinstance(scope, str) else scope)
        if recipe.pattern.sparsity is not None and recipe.scope.mixes_layers:
            raise ValueError(
                f"scope={recipe.scope.name!r} lets layers compete, but pattern "
                f'{recipe.pattern.name} keeps the same number everywhere; use scope="layer", or '
                'pattern="unstructured"'
            )
        if hasattr(recipe.criterion, "draw") and not recipe.scope.mixes_layers:
            raise ValueError(
                f"criterion {recipe.criterion.name!r} draws how many weights of the model are "
                f"removed, and scope={recipe.scope.name!r} or pattern {recipe.pattern.name} fixes "
                'it layer by layer; use scope="global" and a pattern without a sparsity of its '
                'own, or criterion="random"'
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

    def drawn(
        self, sparsity: float, targets: Mapping[str, Target], generator: torch.Generator | None
    ) -> float:
        """Return `sparsity`, or the fraction that a criterion which draws it removes instead."""
        draw = getattr(self.criterion, "draw", None)
        if draw is None:
            return sparsity
        shapes = [target.shape for target in targets.values()]
        zeros = [(torch.zeros(shape.rows, shape.columns), shape) for shape in shapes]
        units = sum(self.pattern.to_units(scores, shape).numel() for scores, shape in zeros)
        removed = draw(units, sparsity, _seed(generator))
        return min(removed, units - 1) / units if units else sparsity

    def check(self, targets: Mapping[str, Target]) -> None:
        """Raise ValueError, naming the layer, if the pattern does not fit one of the targets."""
        for target in targets.values():
            reason = self.pattern.misfit(target.shape)
            if reason:
                raise ValueError(
                    f"{reason} ({target.key!r}). Exclude it with ignore=[{target.name!r}], or use "
                    'pattern="unstructured"'
                )
            if getattr(self.criterion, "whole_rows", False) and not self._rows_are_whole(target):
                raise ValueError(
                    f"criterion {self.criterion.name!r} says which output channels matter, and "
                    f"pattern {self.pattern.name!r} removes parts of them; use a pattern of whole "
                    "rows of the weight"
                )

    def _rows_are_whole(self, target: Target) -> bool:
        """Return whether every row of the weight stands in one unit."""
        member = unit_of(self.pattern, target.shape, target.weight.device)
        return not member.numel() or bool((member == member[:, :1]).all())

    def masks(
        self,
        targets: Mapping[str, Target],
        sparsity: float,
        generator: torch.Generator | None = None,
        previous: Mapping[str, Tensor] | None = None,
        evidence: Mapping[str, Evidence] | None = None,
    ) -> dict[str, Tensor]:
        """Return the masks, bool and shaped like the parameters.

        Args:
            targets: the weights, by parameter name.
            sparsity: fraction to remove. For a pattern with a sparsity of its own, anything up to
                that: the milder pattern that `towards` gives is used.
            generator: where seeds come from, on any device; None means torch's default one.
            previous: masks by parameter name; what they removed stays removed.
            evidence: what the criterion needs beside seeds, by parameter name, from `gather`.

        Raises:
            ValueError: if a score is NaN or -inf, or the criterion returns another shape.
        """
        pattern = self.pattern.towards(sparsity)
        wide = getattr(self.criterion, "wide", False) or any(
            target.weight.dtype == torch.float64 for target in targets.values()
        )
        dtype = torch.float64 if wide else torch.float32

        def units_of(key: str, target: Target) -> Scores:
            known = self._evidence(generator, Evidence() if evidence is None else evidence[key])
            removed = None if previous is None else ~target.to_matrix(previous[key])
            return lambda: self._units(
                pattern, target.shape, self._score(target, known).to(dtype), removed
            )

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

    def _evidence(self, generator: torch.Generator | None, evidence: Evidence) -> Evidence:
        """Return `evidence` with a seed, if the criterion needs one."""
        needs = self.criterion.needs - {"seed"}
        missing = sorted(word for word in needs if getattr(evidence, word, None) is None)
        if missing:
            raise ValueError(
                f"criterion {self.criterion.name!r} needs {', '.join(missing)}, which is not to be "
                "had here; there is: seed"
            )
        if "seed" not in self.criterion.needs:
            return evidence
        return replace(evidence, seed=_seed(generator))

    def _units(
        self, pattern: Pattern, shape: Shape, scores: Tensor, removed: Tensor | None
    ) -> Tensor:
        """Return the scores of the units; one with a weight that is `removed` comes last."""
        units = pooled(pattern, scores, shape, getattr(self.criterion, "pooling", "mean"))
        if removed is None:
            return units
        gone = pattern.to_units(removed.to(scores), shape, "max") > 0
        return units.masked_fill(gone, -math.inf)

    def _score(self, target: Target, evidence: Evidence) -> Tensor:
        """Return the criterion's scores, [out, in]."""
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
        return score


def _seed(generator: torch.Generator | None) -> int:
    generator = generator or torch.default_generator
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))


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
