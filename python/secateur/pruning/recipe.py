"""A criterion, a pattern and a scope put together, and the masks they make of a set of weights.

Nothing here writes to a weight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from secateur.pruning.allocation import Allocation, Layer, Named, Wanted, find_allocation
from secateur.pruning.criteria import AnyCriterion, Criterion, Evidence, find_criterion
from secateur.pruning.masks import Origin
from secateur.pruning.patterns import Pattern, find_pattern
from secateur.pruning.pooling import unit_of
from secateur.pruning.scopes import SCOPES, Scope
from secateur.pruning.scoring import UnitScores
from secateur.pruning.sparsity import fraction
from secateur.pruning.targets import Target


@dataclass(frozen=True)
class Recipe:
    """How weights become masks.

    Attributes:
        criterion: how much each weight matters.
        pattern: which weights live or die together.
        scope: who competes with whom.
        allocation: how much each layer gives up.
    """

    criterion: Criterion
    pattern: Pattern
    scope: Scope
    allocation: Allocation

    @classmethod
    def of(
        cls,
        criterion: AnyCriterion,
        pattern: str | Pattern,
        scope: str | Scope | None = None,
        allocation: str | Allocation | Wanted = "uniform",
    ) -> Recipe:
        """Return the recipe of these names, or of objects with the same methods.

        Args:
            criterion: also a function, or scores; see `secateur.pruning.prune`.
            pattern: a name or an object.
            scope: a name or an object. None: what the criterion's authors mean, where the pattern
                leaves room for it; else "layer".
            allocation: a name, an object, or the user's own; see `secateur.pruning.prune`.

        Raises:
            TypeError: if the criterion or the allocation is none.
            ValueError: if a name is unknown, or two of the four leave one another nothing to
                decide.
        """
        ours = find_criterion(criterion)
        form = find_pattern(pattern) if isinstance(pattern, str) else pattern
        shares = find_allocation(allocation)
        if scope is None:
            scope = getattr(ours, "scope", "layer")
            competing = _scope(scope).mixes_layers and not shares.even
            if competing or not _has_room(form, scope):
                scope = "layer"
        recipe = cls(ours, form, _scope(scope), shares)
        recipe._check_scope()
        recipe._check_allocation()
        return recipe

    def _check_scope(self) -> None:
        if self.pattern.sparsity is not None and self.scope.mixes_layers:
            raise ValueError(
                f"scope={self.scope.name!r} lets layers compete, but pattern "
                f'{self.pattern.name} keeps the same number everywhere; use scope="layer", or '
                'pattern="unstructured"'
            )
        if hasattr(self.criterion, "draw") and not self.scope.mixes_layers:
            raise ValueError(
                f"criterion {self.criterion.name!r} draws how many weights of the model are "
                f"removed, and scope={self.scope.name!r} or pattern {self.pattern.name} fixes "
                'it layer by layer; use scope="global" and a pattern without a sparsity of its '
                'own, or criterion="random"'
            )
        if self.scope.name == "row" and not self.pattern.within_rows:
            raise ValueError(
                f"scope='row' lets units of one row compete, but a unit of pattern "
                f'{self.pattern.name} is not inside one row; use scope="layer" or scope="global"'
            )

    def _check_allocation(self) -> None:
        if self.allocation.even:
            return
        name = self.allocation.name
        if self.pattern.sparsity is not None:
            raise ValueError(
                f"allocation {name!r} gives layers different sparsities, but pattern "
                f"{self.pattern.name} keeps the same number everywhere; leave allocation out, or "
                'use pattern="unstructured"'
            )
        if self.scope.mixes_layers:
            raise ValueError(
                f"scope={self.scope.name!r} lets layers compete for what allocation {name!r} hands "
                'out; use scope="layer", or leave allocation out'
            )

    def sparsity(self, wanted: float | None) -> float:
        """Return the sparsity to prune to; 0 where an allocation that names all says it instead.

        Raises:
            TypeError: if `wanted` is no number.
            ValueError: if it is out of [0, 1), missing, or not the pattern's own.
        """
        fixed = self.pattern.sparsity
        if wanted is None:
            if isinstance(self.allocation, Named):
                return 0.0
            if fixed is None:
                raise ValueError(
                    f"pattern {self.pattern.name!r} needs a sparsity, the fraction of weights to "
                    "remove, for example sparsity=0.9"
                )
            return fixed
        wanted = fraction(wanted)
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
        wanted, fixed = fraction(wanted), self.pattern.sparsity
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
                    'rows of the weight, such as pattern="channels"'
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
        layers = [
            UnitScores(
                target=target,
                criterion=self.criterion,
                pattern=pattern,
                evidence=self._evidence(generator, evidence[key] if evidence else Evidence()),
                dtype=torch.float64 if wide else torch.float32,
                removed=None if previous is None else ~target.to_matrix(previous[key]),
            )
            for key, target in targets.items()
        ]
        if pattern.kept_per_row is not None:
            keep = [pattern.choose(layer()) for layer in layers]
        elif self.allocation.even:
            keep = self.scope.keep(layers, sparsity)
        else:
            keep = self._keep_shares(layers, sparsity)
        return {
            key: target.from_matrix(pattern.to_mask(units, target.shape)).contiguous()
            for (key, target), units in zip(targets.items(), keep, strict=True)
        }

    def _keep_shares(self, layers: Sequence[UnitScores], sparsity: float) -> list[Tensor]:
        """Return which units live, where each layer has a sparsity of its own."""
        seen = [
            Layer(layer.target.key, layer.target, *layer.counts(), layer, layer.evidence)
            for layer in layers
        ]
        shares = self.allocation.shares(seen, sparsity)
        # Layer by layer, so that a scope need not know of shares.
        return [
            self.scope.keep([layer], share)[0] for layer, share in zip(layers, shares, strict=True)
        ]

    def origin(
        self,
        sparsity: float,
        targets: Mapping[str, Target] | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> Origin:
        """Return the words for masks made at `sparsity`.

        Args:
            sparsity: as for `masks`.
            targets: as for `masks`; for an allocation that is not even.
            masks: what was made, whose layers have sparsities of their own.
        """
        pattern = self.pattern.towards(sparsity)
        own = pattern.sparsity
        shares = None
        if not self.allocation.even and targets is not None and masks is not None:
            shares = {key: self._share(target, masks[key]) for key, target in targets.items()}
        return Origin(
            self.criterion.name,
            pattern.name,
            self.scope.name,
            sparsity if own is None else own,
            self.allocation.name,
            shares,
        )

    def _share(self, target: Target, mask: Tensor) -> float:
        """Return the fraction of units that `mask` removes."""
        units = self.pattern.to_units(target.to_matrix(mask).float(), target.shape) > 0
        return 1 - int(units.count_nonzero()) / units.numel() if units.numel() else 0.0

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


def _has_room(pattern: Pattern, scope: str) -> bool:
    """Return whether the pattern leaves it to this scope who lives."""
    return pattern.sparsity is None and (pattern.within_rows or scope != "row")


def _scope(scope: str | Scope) -> Scope:
    return SCOPES.get(scope)() if isinstance(scope, str) else scope


def _seed(generator: torch.Generator | None) -> int:
    generator = generator or torch.default_generator
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))
