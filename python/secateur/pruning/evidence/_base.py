"""What a source of evidence is: it finds out one thing about every target, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from secateur._registry import Registry
from secateur.pruning.allocation import Allocation
from secateur.pruning.calibration import Loss
from secateur.pruning.criteria import Criterion, Evidence
from secateur.pruning.targets import Target


@dataclass(frozen=True)
class Request:
    """What is to be found out, and what the user gave for it.

    Attributes:
        criterion: whose needs are to be met.
        model: holds the targets.
        targets: the weights, by parameter name.
        calibration: the user's batches, or None.
        loss: the user's (model, batch) -> scalar, or None.
        masks: what is removed already, by parameter name, though the weights may not be zero yet.
        history: what the criterion remembers of a training run, by parameter name; else None.
        allocation: whose needs are to be met as well; None if there is none.
    """

    criterion: Criterion
    model: nn.Module
    targets: Mapping[str, Target]
    calibration: object = None
    loss: Loss | None = None
    masks: Mapping[str, Tensor] | None = None
    history: Mapping[str, Tensor] | None = None
    allocation: Allocation | None = None

    @property
    def needs(self) -> frozenset[str]:
        """The fields of `Evidence` to find out, and "seed"."""
        return self.criterion.needs | (self.allocation.needs if self.allocation else frozenset())

    def asker(self, word: str) -> str:
        """Return who needs the field `word`, for errors."""
        if self.allocation and word not in self.criterion.needs:
            return f"allocation {self.allocation.name!r}"
        return f"criterion {self.criterion.name!r}"


Source = Callable[[Request], Mapping[str, Tensor]]
"""From a request to one tensor per target, by parameter name; it leaves the model as it was."""

SOURCES: Registry[Source] = Registry("evidence", "secateur.pruning.evidence")

_READS: dict[str, frozenset[str]] = {}


def source(word: str, reads: tuple[str, ...] = ()) -> Callable[[Source], Source]:
    """Return a decorator that files a source under the field of `Evidence` that it finds out.

    Args:
        word: the field.
        reads: which of the user's "calibration" and "loss" it makes use of.
    """
    _READS[word] = frozenset(reads)
    return SOURCES.register(word)


def gather(request: Request) -> dict[str, Evidence]:
    """Return the evidence that is needed, by parameter name, but for seeds.

    Raises:
        TypeError: if what the user gave is of the wrong kind.
        ValueError: if it is missing, not to be had, or not needed.
    """
    check_given(request)
    needs = sorted(request.needs - {"seed"})
    found = {word: SOURCES.get(word)(request) for word in needs}
    fields: dict[str, dict[str, Any]] = {
        key: {word: values[key] for word, values in found.items()} for key in request.targets
    }
    return {key: Evidence(**known) for key, known in fields.items()}


def reads(asker: Criterion | Allocation) -> frozenset[str]:
    """Return which of the user's "calibration" and "loss" its evidence is found out from."""
    return frozenset[str]().union(*(_READS.get(word, ()) for word in asker.needs))


def check_given(request: Request) -> None:
    """Raise ValueError if there is something the criterion has no use for, or no source of."""
    name = request.criterion.name
    known = SOURCES.names()
    unknown = request.criterion.needs.difference(known, {"seed"})
    if unknown:
        raise ValueError(
            f"criterion {name!r} needs {', '.join(sorted(unknown))}, which is not to be had; there "
            f"is: {', '.join(sorted([*known, 'seed']))}"
        )
    read = reads(request.criterion)
    if request.allocation is not None:
        read |= reads(request.allocation)
    if request.calibration is not None and "calibration" not in read:
        raise ValueError(f"criterion {name!r} reads no batches; leave calibration out")
    if request.loss is not None and "loss" not in read:
        raise ValueError(f"criterion {name!r} takes no gradient of a loss; leave loss out")
