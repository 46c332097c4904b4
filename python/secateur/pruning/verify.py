"""Is a pruned model what it is said to be? It measures the weights and believes no mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from secateur.pruning._shards import settle, whole
from secateur.pruning._table import table
from secateur.pruning.masks import Masks
from secateur.pruning.patterns import Pattern, find_pattern
from secateur.pruning.scopes import SCOPES
from secateur.pruning.statuses import Status, listing, refuse_skips
from secateur.pruning.targets import Target, named


@dataclass(frozen=True)
class Finding:
    """What was found about one parameter.

    Attributes:
        name: the parameter's name.
        total: its number of weights.
        zeros: how many of them are zero.
        faults: what is wrong, in words; empty if nothing is.
    """

    name: str
    total: int
    zeros: int
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """The findings about a model; `print` shows a table.

    Attributes:
        findings: one per masked parameter.
        statuses: of every parameter of the model, masked or not.
    """

    findings: tuple[Finding, ...]
    statuses: tuple[Status, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no parameter has a fault."""
        return not any(finding.faults for finding in self.findings)

    def require(self) -> None:
        """Raise ValueError, listing every fault, unless all is well."""
        faults = [f"{f.name}: {fault}" for f in self.findings for fault in f.faults]
        if faults:
            raise ValueError("the model is not pruned as it should be:\n  " + "\n  ".join(faults))

    def __str__(self) -> str:
        rows = [
            (f.name, str(f.zeros), str(f.total), _percent(f), "; ".join(f.faults) or "good")
            for f in self.findings
        ]
        found = table(("parameter", "zeros", "of", "sparsity", "verdict"), rows)
        return "\n".join(filter(None, (found, listing(self.statuses))))


def verify(
    model: nn.Module,
    masks: Masks | None = None,
    pattern: str | None = None,
    *,
    strict: bool = False,
) -> Report:
    """Check that removed weights are zero, the pattern holds, and the counts are exact.

    Args:
        model: the model to look at.
        masks: what should be zero. None: the zeros there are, so that only `pattern` can fail.
        pattern: what to hold the weights to, for example "2:4"; None: what the masks were made
            with. A weight that is zero without being removed does no harm.
        strict: as in `prune`.

    Returns:
        the report; it raises nothing until `.require()` is called.

    Raises:
        ValueError: if the pattern is unknown, the masks do not belong to the model, or `strict`
            and a weight was left out.
    """
    masks = masks if masks is not None else Masks.from_model(model)
    settle(model)
    targets = named(model, masks)
    for key, target in targets.items():
        if target.weight.shape != masks[key].shape:
            wanted_shape, came = list(masks[key].shape), list(target.weight.shape)
            raise ValueError(f"the mask of {key!r} is {wanted_shape}, the parameter is {came}")
    found = masks.report(model)
    if strict:
        refuse_skips(found)
    wanted = find_pattern(pattern or (masks.origin.pattern if masks.origin else "unstructured"))
    miscounts = _miscounts(masks, targets)
    return Report(
        tuple(
            Finding(
                key,
                target.weight.numel(),
                int((target.matrix == 0).sum()),
                (
                    *_alive(target, masks[key]),
                    *_broken(target, masks[key], wanted),
                    *miscounts.get(key, ()),
                ),
            )
            for key, target in targets.items()
        ),
        found,
    )


def _alive(target: Target, mask: Tensor) -> list[str]:
    """Return what is wrong if a removed weight is not zero."""
    weight = whole(target.weight)
    alive = (weight != 0) & mask.to(weight.device).logical_not()
    count = int(alive.sum())
    if not count:
        return []
    first = tuple(alive.nonzero()[0].tolist())
    return [f"{count} removed weights are not zero, the first at {first}: {weight[first]:g}"]


def _broken(target: Target, mask: Tensor, pattern: Pattern) -> list[str]:
    """Return what is wrong if the weights that are not zero break the pattern."""
    if target.layout == "flat":
        return []
    alive = target.matrix != 0
    if pattern.sparsity is None:
        # A weight that is kept, and happens to be zero, does not break its unit.
        alive |= target.to_matrix(mask).to(alive.device)
    reason = pattern.broken_by(alive, target.shape)
    return [] if reason is None else [reason]


def _miscounts(masks: Masks, targets: Mapping[str, Target]) -> dict[str, list[str]]:
    """Return what is wrong with the number of weights the masks keep, by parameter name."""
    origin = masks.origin
    if origin is None:
        return {}
    pattern = find_pattern(origin.pattern)
    units = {
        key: pattern.to_units(target.to_matrix(masks[key]).float(), target.shape) > 0
        for key, target in targets.items()
        if target.layout != "flat"
    }
    # The groups of N:M are rows of units, so the row scope is what counts them.
    scope = SCOPES.get(origin.scope if pattern.kept_per_row is None else "row")()
    if origin.shares is None:
        found = scope.miscounts(units, origin.sparsity)
    else:
        found = {}
        for key, share in origin.shares.items():
            found |= scope.miscounts({key: units[key]}, share)
    return {key: [fault] for key, fault in found.items()}


def _percent(finding: Finding) -> str:
    return f"{finding.zeros / finding.total:.2%}" if finding.total else "-"
