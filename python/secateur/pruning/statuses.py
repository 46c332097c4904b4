"""What becomes of every parameter of a model, and why: the one list behind every report.

`plan`, `prune` and `verify` show it, so that nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from secateur.pruning.selectors import Selector, Selectors, listed, matcher, matches_parameter
from secateur.pruning.targets import candidates, ignored_ids

Word = Literal[
    "pruned", "kept", "ignored", "not selected", "unfit", "bias", "norm", "embedding", "other"
]
KINDS = "nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, Hugging Face Conv1D, nn.MultiheadAttention"
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


@dataclass(frozen=True)
class Status:
    """What becomes of one parameter.

    Attributes:
        name: the parameter's, in the model; one that modules share has an entry for each name.
        word: "pruned"; "kept": meant, and nothing was asked of it; "ignored"; "not selected";
            "unfit": meant, but the pattern does not fit; "bias", "norm", "embedding", "other":
            not a weight that is pruned.
        reason: in words; "" where the word says it.
        skipped: whether it is prunable by its kind, or was meant by `targets`, and was left out
            for another reason than the user's `ignore` or `targets`. `strict=True` refuses that.
        kept: weights that live, counted.
        total: weights in all.
    """

    name: str
    word: Word
    reason: str
    skipped: bool
    kept: int
    total: int


@dataclass(frozen=True)
class Wish:
    """What the user asked for.

    Attributes:
        targets: as in `prune`.
        ignore: as in `prune`.
        unfit: why the pattern does not fit, by parameter name.
    """

    targets: Selectors | None = None
    ignore: Selectors = ()
    unfit: Mapping[str, str] = field(default_factory=dict)


def statuses(
    model: nn.Module, masks: Mapping[str, Tensor], wish: Wish | None = None
) -> tuple[Status, ...]:
    """Return the status of every parameter, in the model's order.

    Args:
        model: as it is or will be pruned.
        masks: by parameter name.
        wish: what led to the masks; None: not known.

    Raises:
        ValueError: if a selector of the wish is malformed.
    """
    teller = _Teller(model, masks, wish or Wish())
    return tuple(
        teller.status(module, f"{prefix}.{local}" if prefix else local, local)
        for prefix, module in model.named_modules(remove_duplicate=False)
        for local, parameter in module._parameters.items()
        if parameter is not None
    )


def refuse_skips(found: Iterable[Status]) -> None:
    """Raise ValueError naming the first parameter that was skipped, if there is one."""
    for status in found:
        if status.skipped:
            raise ValueError(
                f"strict=True: {status.name!r} would be left out: {status.word}, {status.reason}. "
                f"Leave it out yourself with ignore=[{status.name!r}], or drop strict"
            )


def listing(found: Sequence[Status]) -> str:
    """Return a line for every parameter that is not simply pruned, under "notes:"; "" for none."""
    said = [s for s in found if s.word != "pruned" or s.reason]
    if not said:
        return ""
    width = max(len(s.name) for s in said)
    lines = [f"{s.name.ljust(width)}  {s.word}{': ' * bool(s.reason)}{s.reason}" for s in said]
    return "\n".join(["notes:", *lines])


class _Teller:
    """Knows who is ignored by what, and who is tied to whom."""

    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor], wish: Wish) -> None:
        self._masks, self._wish = masks, wish
        every = list(candidates(model))
        self._kinds = {c.key: c for c in every}
        self._ignored = {
            one: selector
            for selector in reversed(listed(wish.ignore))
            for one in ignored_ids(model, [selector], every)
        }
        named = dict(model.named_parameters(remove_duplicate=False))
        # In reverse, so that of two names the first stays.
        self._pruned = {id(named[key]): key for key in reversed(list(masks)) if key in named}

    def status(self, module: nn.Module, key: str, local: str) -> Status:
        parameter = module._parameters[local]
        assert parameter is not None
        shapeless = isinstance(parameter, nn.parameter.UninitializedParameter)
        total = 0 if shapeless else parameter.numel()
        first = self._pruned.get(id(parameter))
        if first is not None:
            kept = int(self._masks[first].count_nonzero())
            said = [] if first == key else [f"tied to {first!r}, pruned once"]
            said += [] if parameter.requires_grad else ["frozen, pruned all the same"]
            return Status(key, "pruned", "; ".join(said), False, kept, total)
        word, reason, skipped = self._not_pruned(module, key, local)
        return Status(key, word, reason, skipped, total, total)

    def _not_pruned(self, module: nn.Module, key: str, local: str) -> tuple[Word, str, bool]:
        for holder in (module._parameters[local], module):
            if id(holder) in self._ignored:
                return "ignored", f"ignore={_said(self._ignored[id(holder)])}", False
        if key in self._wish.unfit:
            return "unfit", self._wish.unfit[key], True
        if local.endswith("_orig") and f"{local.removesuffix('_orig')}_mask" in module._buffers:
            return "other", "torch.nn.utils.prune masks it; secateur.compat.adopt(model)", False
        if key in self._kinds:
            return self._kind(module, key)
        kind = type(module).__name__
        if isinstance(module, _NORMS) or "norm" in kind.lower():
            return "norm", "", False
        if "bias" in local:
            return "bias", "", False
        meant = self._meant(module, key)
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            return "embedding", "rows are looked up, not multiplied" if meant else "", meant
        return "other", f"{kind} is none of {KINDS}", meant and _is_matrix(module, local)

    def _kind(self, module: nn.Module, key: str) -> tuple[Word, str, bool]:
        """Tell about a weight of a kind that can be pruned, and is not."""
        if self._wish.targets is not None:
            if self._meant(module, key):
                return "kept", "", False
            return "not selected", f"targets={_said(self._wish.targets)}", False
        if isinstance(module, nn.Conv1d | nn.Conv3d):
            name = f"nn.{type(module).__name__}"
            return "not selected", f"{name} must be asked for: targets=[{name}]", True
        return "kept", "", False

    def _meant(self, module: nn.Module, key: str) -> bool:
        if self._wish.targets is None:
            return False
        name = key.rpartition(".")[0]
        return any(
            matcher(s)(name, module) or matches_parameter(s, key, module)
            for s in listed(self._wish.targets)
        )


def _is_matrix(module: nn.Module, local: str) -> bool:
    parameter = module._parameters[local]
    if parameter is None or isinstance(parameter, nn.parameter.UninitializedParameter):
        return False
    return parameter.dim() > 1


def _said(selectors: Selector | Selectors) -> str:
    """Return selectors as a user writes them."""
    if isinstance(selectors, type):
        return selectors.__name__
    if isinstance(selectors, str) or callable(selectors):
        return repr(selectors) if isinstance(selectors, str) else "a predicate"
    return "[" + ", ".join(map(_said, selectors)) + "]"
