"""Kernels of a GPU do all through ptx.cuh: what they did otherwise no emulator would see."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CUDA = ROOT / "csrc" / "cuda"
WRAPPERS = {"ptx", "emu"}  # the two sides of ptx.cuh

OTHERWISE = re.compile(
    r"\basm\b|\b(thread|block)(Idx|Dim)\b|\bgridDim\b|__sync|<<<|__shared__|__constant__|"
    r"\b__(shfl|ballot|any|all|popc|threadfence|ldg|half|float2)\w*|\batomic[A-Z]\w*\(|"
    r"#include <cuda"
)


def kernel_sources() -> list[Path]:
    files = [path for path in CUDA.rglob("*") if path.suffix in {".cu", ".cuh"}]
    return [path for path in files if path.relative_to(CUDA).parts[0] not in WRAPPERS]


def test_kernels_use_the_gpu_through_ptx_alone() -> None:
    files = kernel_sources()
    assert any(path.suffix == ".cu" for path in files), f"no kernel found under {CUDA}"
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if OTHERWISE.search(line.partition("//")[0])
    ]
    assert not found, "\n".join(found)


def test_both_sides_have_a_file_for_each_topic() -> None:
    device = {path.name for path in (CUDA / "ptx").glob("*.cuh")} - {"types.cuh"}
    assert device == {path.name for path in (CUDA / "emu").glob("*.cuh")}
