"""What a permutation did, layer by layer, and what it would cost where it did nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from secateur.planning.table import ms_text, table

Status = Literal["folded", "gathered", "offered", "left"]


@dataclass(frozen=True)
class Line:
    """One prunable weight.

    Attributes:
        name: of the parameter.
        status: "folded" into the layers around it; "gathered", its inputs permuted at run time;
            "offered", for gather=True would do so; "left" as it is.
        reason: why not folded; empty where it is.
        into: parameters that were permuted with it.
        before: sum of the scores that the pattern kept.
        after: now; where offered, with a gather.
        bound: if every row kept its best weights wherever they are.
        gather_ms: milliseconds of the gather, measured on the example; None where there is none.
        layer_ms: of the layer itself, measured beside it.
    """

    name: str
    status: Status
    reason: str = ""
    into: tuple[str, ...] = ()
    before: float = 0.0
    after: float = 0.0
    bound: float = 0.0
    gather_ms: float | None = None
    layer_ms: float | None = None

    @property
    def efficacy(self) -> float:
        """Gain over the greatest gain imaginable, as in Pool and Yu (NeurIPS 2021)."""
        room = self.bound - self.before
        return (self.after - self.before) / room if room > 0 else 0.0


@dataclass(frozen=True)
class Permutation:
    """What `permute_` did; print it.

    Attributes:
        pattern: for example "2:4".
        layers: one line for each weight that was meant.
    """

    pattern: str
    layers: tuple[Line, ...]

    def __getitem__(self, name: str) -> Line:
        """Return the line of a parameter.

        Raises:
            KeyError: if there is none.
        """
        for line in self.layers:
            if line.name == name:
                return line
        raise KeyError(f"{name!r} was not meant; these were: {[line.name for line in self.layers]}")

    def __str__(self) -> str:
        rows = []
        for line in self.layers:
            gain = f"{line.after / line.before - 1:+.2%}" if line.before else "-"
            cost = "-"
            if line.gather_ms is not None and line.layer_ms is not None:
                cost = f"{ms_text(line.gather_ms)} of {ms_text(line.layer_ms)}"
            more = f" and {len(line.into) - 4} more" if len(line.into) > 4 else ""
            why = line.reason or f"with {', '.join(line.into[:4])}{more}"
            rows.append((line.name, line.status, gain, f"{line.efficacy:.1%}", cost, why))
        head = ("weight", "permuted", "kept", "efficacy", "gather ms", "why, or with what")
        return table(head, rows, left=(0, 1, 5))
