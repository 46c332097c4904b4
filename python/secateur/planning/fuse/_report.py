"""What became of each rewrite, as plain data and as a table. Nothing is decided here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from secateur.planning.table import table


@dataclass(frozen=True)
class Entry:
    """One rewrite of one place.

    Attributes:
        rewrite: its name.
        what: the layers.
        fused: whether it is in the graph.
        reason: why, or why not.
        before_ms: milliseconds of the nodes replaced, on the example; None if not measured.
        after_ms: milliseconds of the replacement.
    """

    rewrite: str
    what: str
    fused: bool
    reason: str
    before_ms: float | None = None
    after_ms: float | None = None


@dataclass
class Report:
    """What `fuse` did to a model; print it.

    Attributes:
        entries: in the order they were tried.
        gate: "measured" or "always".
        why_static: why the graph takes the example's batch size only; None: it takes any.
    """

    gate: str
    why_static: str | None
    entries: list[Entry] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """How often each rewrite is in the graph."""
        return dict(Counter(entry.rewrite for entry in self.entries if entry.fused))

    def undo(self, rewrite: str, reason: str) -> None:
        """Note that all of a rewrite was taken back."""
        self.entries = [
            Entry(e.rewrite, e.what, False, reason, e.before_ms, e.after_ms)
            if e.rewrite == rewrite and e.fused
            else e
            for e in self.entries
        ]

    def __str__(self) -> str:
        """Return one line for each entry, and a summary."""
        header = ("rewrite", "layers", "", "why")
        rows = [(e.rewrite, e.what, "fused" if e.fused else "left", e.reason) for e in self.entries]
        done = ", ".join(f"{count} {name}" for name, count in self.counts.items()) or "nothing"
        batch = "any batch size"
        if self.why_static is not None:
            batch = f"the example's batch size alone ({self.why_static})"
        summary = f"fused: {done}; for {batch}; gate={self.gate!r}"
        return f"{table(header, rows, left=range(4))}\n{summary}"
