"""Facts that belong to every figure: the machine, the commit, the versions, the caches."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


@dataclass(frozen=True)
class Caches:
    """Bytes of the caches one core reaches; the defaults stand where the system does not say."""

    l1: int = 32 << 10
    l2: int = 1 << 20
    l3: int = 32 << 20


def caches(directory: Path = _CACHES) -> Caches:
    """Read the sizes of the data caches of the first core from Linux's /sys."""
    sizes = {}
    for index in sorted(directory.glob("index*")):
        try:
            level, kind, size = (
                (index / name).read_text().strip() for name in ("level", "type", "size")
            )
            if kind != "Instruction":
                sizes[f"l{level}"] = int(size.removesuffix("K")) << 10
        except (OSError, ValueError):
            continue
    return Caches(**{name: size for name, size in sizes.items() if name in ("l1", "l2", "l3")})


def facts(threads: int) -> dict[str, str]:
    """Return the columns of a result that say where, when and with what it was taken."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": cpu_name(),
        "threads": str(threads),
        "commit": commit(),
        "secateur": version("secateur"),
        "torch": version("torch"),
        "onnxruntime": version("onnxruntime"),
        "python": platform.python_version(),
    }


def cpu_name() -> str:
    """Return the processor's name with family and model, for many are just called "AMD EPYC"."""
    try:
        text = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine()
    pairs = (line.partition(":") for line in text.splitlines())
    values = {key.strip(): value.strip() for key, _, value in pairs}
    name = values.get("model name", platform.machine())
    family, model = values.get("cpu family"), values.get("model")
    return f"{name} (family {family} model {model})" if family and model else name


def commit(root: Path = ROOT) -> str:
    """Return the short commit of the working tree, with + when tracked files differ from it."""
    try:
        name = _git(root, "rev-parse", "--short", "HEAD")
        changed = _git(root, "status", "--porcelain", "-uno", "--", ".", ":!benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + ("+" if changed else "")


def version(package: str) -> str:
    """Return the installed version of a package, or "absent"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
