"""Stages of `make gpu`: each a command with a time limit of its own; none hides the others."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "gpu"
WHOLE_S = 540
"""The nine minutes that all stages together may take."""
GRACE_S = 3
"""What ending a stage that is over its limit may take."""


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: in one word.
        answers: what is known afterwards.
        commands: run one after another; the first that fails ends the stage.
        limit_s: seconds for all of them.
        needs: programs or files without which it cannot run.
    """

    name: str
    answers: str
    commands: tuple[tuple[str, ...], ...]
    limit_s: int
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a stage.

    Attributes:
        stage: which.
        seconds: that it took.
        trouble: "" where it passed, else why it did not.
    """

    stage: Stage
    seconds: float
    trouble: str

    def __str__(self) -> str:
        word = f"FAILED: {self.trouble}" if self.trouble else "passed"
        return f"{self.stage.name:<10} {self.seconds:6.1f} s of {self.stage.limit_s:>3}  {word}"


def stages(architecture: str, python: str = sys.executable) -> list[Stage]:
    """Return the stages, in order.

    Args:
        architecture: of the one GPU to build for, "90" for compute capability 9.0.
        python: the interpreter that has torch; nothing is installed into it.
    """
    pytest = (python, "-m", "pytest", "-q", "-c", "tests/gpu/pytest.ini", "--rootdir=.")
    pytest += ("--confcutdir=tests/gpu", "-p", "no:cacheprovider")
    sanitizer = ("compute-sanitizer", "--target-processes=all", "--error-exitcode=9")
    small = (*pytest, "-x", "tests/gpu/test_small.py")
    configure = (
        *("cmake", "-S", ".", "-B", str(BUILD), "-G", "Ninja", "-DSECATEUR_CUDA=ON"),
        *(f"-DCMAKE_CUDA_ARCHITECTURES={architecture}-real", f"-DPython_EXECUTABLE={python}"),
    )
    return [
        Stage(
            "build",
            f"that both libraries build for sm_{architecture}, against this torch",
            (configure, ("cmake", "--build", str(BUILD))),
            170,
            ("cmake", "ninja", "nvcc"),
        ),
        Stage(
            "isa",
            "that every modelled instruction does what the model says, on random bits",
            ((*pytest, "tests/gpu/test_isa_conformance.py"),),
            40,
            ("tests/gpu/test_isa_conformance.py",),
        ),
        Stage(
            "tests",
            "that every candidate is right: whole numbers exactly, others within the bound",
            ((*pytest, "tests/gpu", "--ignore=tests/gpu/test_isa_conformance.py"),),
            90,
        ),
        Stage(
            "memcheck",
            "that no kernel reads or writes out of bounds",
            ((*sanitizer, "--tool=memcheck", *small),),
            50,
            ("compute-sanitizer",),
        ),
        Stage(
            "racecheck",
            "that no two threads meet in shared memory without a barrier",
            ((*sanitizer, "--tool=racecheck", *small),),
            50,
            ("compute-sanitizer",),
        ),
        Stage(
            "bench",
            "how fast every candidate is, beside what was predicted",
            ((python, "-m", "benchmarks.gpu.bench", "--seconds", "100"),),
            120,
        ),
    ]


def environment() -> dict[str, str]:
    """Return the environment of a stage: the package from the tree, the libraries just built."""
    found = dict(os.environ)
    found["PYTHONPATH"] = os.pathsep.join([str(ROOT / "python"), str(ROOT)])
    found["SECATEUR_CUDA_EXTENSION"] = str(BUILD / "_C_cuda.so")
    found["SECATEUR_EXTENSION"] = str(BUILD / "_C.so")
    found["SECATEUR_CACHE"] = ""  # nothing that was measured before is believed
    return found


def missing(stage: Stage) -> list[str]:
    """Return what a stage needs and this machine does not have."""
    return [
        need
        for need in stage.needs
        if not (shutil.which(need) or ("/" in need and (ROOT / need).exists()))
    ]


def run(stage: Stage, env: Mapping[str, str] | None = None, *, cwd: Path = ROOT) -> Outcome:
    """Run a stage; its output goes where ours goes.

    A stage that is over its limit is ended with every process that it started.
    """
    started = time.monotonic()
    lacking = missing(stage)
    trouble = f"{', '.join(lacking)} not found" if lacking else ""
    for command in () if lacking else stage.commands:
        left = stage.limit_s - (time.monotonic() - started)
        trouble = _one(command, left, environment() if env is None else dict(env), cwd)
        if trouble:
            break
    return Outcome(stage, time.monotonic() - started, trouble)


def _one(command: Sequence[str], seconds: float, env: dict[str, str], cwd: Path) -> str:
    """Run one command; return what went wrong, or ""."""
    sys.stdout.flush()
    try:
        process = subprocess.Popen(command, cwd=cwd, env=env, start_new_session=True)
    except OSError as error:
        return f"{command[0]} does not start: {error}"
    try:
        code = process.wait(timeout=max(0.1, seconds))
    except subprocess.TimeoutExpired:
        _end(process)
        return f"over its limit, {' '.join(command[:3])} was ended"
    return "" if code == 0 else f"{' '.join(command[:3])} ended with {code}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and the group it leads."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=GRACE_S / 2)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def told(stage: Stage) -> str:
    """Return what a stage would do, as the dry run prints it."""
    lines = [f"{stage.name} ({stage.limit_s} s): {stage.answers}"]
    lines += ["    " + " ".join(command) for command in stage.commands]
    lacking = missing(stage)
    if lacking:
        lines.append(f"    not here: {', '.join(lacking)}")
    return "\n".join(lines)
