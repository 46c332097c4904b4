"""What was measured of candidates on this machine: a table of the process, and a file of its own.

A time is kept with everything it depends on in its key, so a file that travels, or outlives a
driver or a version, is not believed. The file is an aid: where it cannot be read or written, the
process measures again.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from secateur.backends.candidates import Problem
from secateur.backends.gpus import Gpu
from secateur.formats import bucket

_ELSEWHERE = "SECATEUR_CACHE"  # folder of the file; empty: none is kept

Times = dict[str, float]


def key(format: str, problem: Problem) -> str:
    """Return the words under which times are kept: one entry for each power of two of rows."""
    types = f"{problem.dtype}/{problem.values}".replace("torch.", "")
    shape = f"{problem.out_features}x{problem.in_features}"
    extras = problem.act + ("+residual" if problem.residual else "")
    density = f"{problem.density:.2f}"
    rows = f"rows<=2^{bucket(problem.rows)}"
    if problem.convolution is not None:
        rows += f" {problem.convolution.words}"
    return f"{format} {shape} {density} {types} {extras} {rows}"


def machine(gpu: Gpu, versions: Mapping[str, str]) -> str:
    """Return the words for what a time depends on beside the problem."""
    parts = [f"{gpu.name} sm_{gpu.capability} {gpu.sms} SMs"]
    return ", ".join(parts + [f"{name} {version}" for name, version in sorted(versions.items())])


def folder() -> Path | None:
    """Return where files are kept, or None where the user wants none."""
    if _ELSEWHERE in os.environ:
        return Path(os.environ[_ELSEWHERE]) if os.environ[_ELSEWHERE] else None
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "secateur"


@dataclass
class Verdicts:
    """Measured times, seconds, by machine, key and candidate.

    Attributes:
        path: of the file; None keeps them in the process alone.
        generation: grows with every time that is kept: what was decided before may be wrong.
    """

    path: Path | None = None
    generation: int = 0
    _times: dict[str, dict[str, Times]] = field(default_factory=dict)
    _read: bool = False

    def find(self, machine: str, key: str) -> Times:
        """Return what was measured, by candidate; empty where nothing was."""
        self._load()
        return self._times.get(machine, {}).get(key, {})

    def keep(self, machine: str, key: str, times: Mapping[str, float]) -> None:
        """Keep times, in the process and in the file; others of the key stay."""
        self._load()
        self._times.setdefault(machine, {}).setdefault(key, {}).update(times)
        self.generation += 1
        self._save()

    def _load(self) -> None:
        if self._read:
            return
        self._read = True
        if self.path is None or not self.path.exists():
            return
        try:
            self._times = _checked(json.loads(self.path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            warnings.warn(
                f"secateur: {self.path} holds no times that can be read ({error}); it is ignored "
                "and will be written anew",
                stacklevel=4,
            )

    def _save(self) -> None:
        if self.path is None:
            return
        # A reader sees the old file or the new one, never half of it.
        temporary = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, suffix=".tmp")
            with os.fdopen(handle, "w") as file:
                json.dump(self._times, file, indent=1, sort_keys=True)
            os.replace(temporary, self.path)  # noqa: PTH105  of a name from mkstemp
        except OSError:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)  # noqa: PTH108


def _checked(data: object) -> dict[str, dict[str, Times]]:
    if not isinstance(data, dict):
        raise TypeError("not a table of machines")
    found: dict[str, dict[str, Times]] = {}
    for machine, keys in data.items():
        for key, times in keys.items():
            for name, seconds in times.items():
                if not isinstance(seconds, float) or not 0 < seconds < 1e3:
                    raise ValueError(f"{seconds!r} is no time of {name}")
            found.setdefault(machine, {})[key] = dict(times)
    return found


_FOLDER = folder()
VERDICTS = Verdicts(None if _FOLDER is None else _FOLDER / "gpu-times.json")
