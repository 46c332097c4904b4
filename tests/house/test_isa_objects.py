"""What the compiled objects may contain: guards against code that dies on an older processor.

A template in a shared header, compiled in an AVX-512 file and in a baseline file, is one weak
symbol, and the linker keeps either copy. A static initialiser in an ISA file runs at load, on
every processor. Both end in SIGILL on a machine without that instruction set.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from secateur import _extension

ROOT = Path(__file__).parents[2]
ISA_SOURCES = sorted((ROOT / "csrc" / "cpu").glob("*/*.cpp"))
ISA = re.compile(r"^(avx2|avx512|neon)(_\w+)?$")

needs_extension = pytest.mark.skipif(
    not _extension.load(), reason=f"no extension: {_extension.reason()}"
)
needs_nm = pytest.mark.skipif(shutil.which("nm") is None, reason="no nm on this machine")


def nm(path: Path, *flags: str) -> list[str]:
    command = ["nm", *flags, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def isa_objects() -> list[Path]:
    """The newest object of each ISA source, from whichever build folder holds it."""
    objects = []
    for source in ISA_SOURCES:
        if not ISA.match(source.stem):
            continue
        tail = f"{source.relative_to(ROOT)}.o"
        built = [p for p in (ROOT / "build").rglob("*.o") if str(p).endswith(tail)]
        plain = [p for p in built if not {"asan", "cross"} & set(p.parts)]
        if plain:
            objects.append(max(plain, key=lambda p: p.stat().st_mtime))
    return objects


@needs_nm
@needs_extension
def test_isa_objects_share_no_symbol_and_run_nothing_at_load() -> None:
    objects = isa_objects()
    assert objects, f"no ISA object under {ROOT / 'build'}, yet the extension loads"
    for path in objects:
        lines = nm(path)
        shared = [line for line in lines if re.search(r"^\S* [WVu] ", line)]
        assert not shared, f"{path.name} defines symbols the linker may share: {shared}"
        at_load = [line for line in lines if "_GLOBAL__sub_I" in line or "__cxx_global_var" in line]
        assert not at_load, f"{path.name} runs code when it is loaded: {at_load}"


@needs_nm
@needs_extension
def test_extension_imports_only_the_stable_abi_of_torch() -> None:
    """One wheel for every torch >= 2.10: the C shim and libc, and no C++ symbol of torch."""
    path = Path(_extension.path())
    undefined = [line.split()[-1] for line in nm(path, "-D", "-C", "--undefined-only")]
    assert any(name.startswith(("aoti_torch_", "torch_")) for name in undefined)
    cpp = [line for line in undefined if re.search(r"\b(at|c10|torch|caffe2)::", line)]
    assert not cpp, f"{path.name} imports torch's C++ symbols: {cpp}"
    weak = [line.split()[-1] for line in nm(path, "-D", "-C") if re.search(r" [Ww] ", line)]
    assert not [name for name in weak if re.match(r"(at|c10|caffe2)::", name)]
