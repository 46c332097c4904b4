"""The hot loop of the tiled kernels, as compiled: multiply-adds from memory, and nothing stored.

A load that is not folded into its FMA, or an accumulator kept on the stack, costs a third of the
speed and changes no result: only the machine code shows it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from secateur import _extension
from tests.support import disassembly
from tests.support.disassembly import Loop, hottest, innermost

ROOT = Path(__file__).parents[2]
KERNELS = [
    f"csrc/cpu/{op}/{isa}.cpp" for op in ("csr_linear", "nm_linear") for isa in ("avx2", "avx512")
]
CHAINS = 8  # two FMAs a cycle, each four cycles long

pytestmark = [
    pytest.mark.skipif(not _extension.load(), reason=f"no extension: {_extension.reason()}"),
    pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump on this machine"),
]


def entry_of(kernel: str) -> dict[str, str]:
    entry = disassembly.compiled(ROOT / kernel)
    if entry is None:
        pytest.skip(f"no build folder with compile_commands.json has compiled {kernel}")
    return entry


def judge(loop: Loop) -> None:
    assert not loop.vector_stores, f"{loop.function} stores in its loop: {loop.vector_stores}"
    assert not loop.reloads, f"{loop.function} reloads spilled registers: {loop.reloads}"
    assert not loop.fmas_from_registers, (
        f"{loop.function} loads apart from its FMAs: {loop.fmas_from_registers}"
    )
    assert len(loop.accumulators) >= CHAINS, f"only {sorted(loop.accumulators)} accumulate"


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_widest_tile_multiplies_from_memory_and_stores_nothing(kernel: str) -> None:
    loop = hottest(disassembly.output(entry_of(kernel)))
    judge(loop)
    register = "%zmm" if "avx512" in kernel else "%ymm"
    assert all(register in line for line in loop.fmas), f"{kernel} uses narrower vectors"


def test_a_kernel_compiled_with_too_few_registers_is_caught(tmp_path: Path) -> None:
    """The real kernel, but half of its registers are taken away: it must spill."""
    entry = entry_of(KERNELS[0])
    if "clang" in entry["command"].split()[0]:
        pytest.skip("only gcc can be told to leave vector registers alone")
    taken = [f"-ffixed-xmm{i}" for i in range(6, 16)]
    loop = hottest(disassembly.compile_again(entry, tmp_path / "spills.o", *taken))
    with pytest.raises(AssertionError, match=r"stores in its loop|reloads"):
        judge(loop)


GOOD = [f"vfmadd231ps 0x{32 * i:x}(%rax,%rdx,4),%ymm8,%ymm{i}" for i in range(8)]
BAD = {
    "vmovups %ymm3,0x20(%rdi)": "stores in its loop",
    "vmovaps %ymm3,-0x40(%rsp)": "stores in its loop",
    "vmovups %zmm3,(%rdi,%rcx,4){%k1}": "stores in its loop",
    "vmovntps %ymm3,(%rdi)": "stores in its loop",
    "vextractf128 $0x1,%ymm3,0x10(%rdi)": "stores in its loop",
    "vmovaps 0x60(%rsp),%ymm9": "reloads",
    "vfmadd231ps %ymm9,%ymm8,%ymm3": "loads apart from its FMAs",
}


def text_of(*lines: str) -> str:
    """objdump's text of one function with the lines as a loop, behind a loop without FMAs."""
    body = ["vpxor %xmm0,%xmm0,%xmm0", "dec %ecx", "jne 4 <kernel+0x4>", *lines, "jne c <kernel>"]
    numbered = [f"   {4 * at:x}:\t{line}" for at, line in enumerate(body)]
    return "\n".join(["0000000000000000 <kernel>:", *numbered])


def test_a_clean_loop_passes_and_is_told_from_its_neighbours() -> None:
    scalar = ("movzbl (%rsi),%eax", "vbroadcastf128 (%rdx),%ymm8", "mov %eax,0x8(%rsp)")
    loops = innermost(text_of(*scalar, *GOOD))
    assert [len(loop.fmas) for loop in loops] == [0, 8]
    judge(loops[1])


@pytest.mark.parametrize("line", BAD)
def test_what_does_not_belong_in_the_loop_is_caught(line: str) -> None:
    loop = innermost(text_of(*GOOD[:4], line, *GOOD[4:]))[-1]
    with pytest.raises(AssertionError, match=BAD[line]):
        judge(loop)


def test_a_frame_pointer_is_the_stack() -> None:
    body = ["mov    %rsp,%rbp", *GOOD[:4], "vmovaps -0x60(%rbp),%ymm9", *GOOD[4:]]
    body = [*body, "jne 4 <kernel+0x4>"]
    numbered = [f"   {4 * at:x}:\t{line}" for at, line in enumerate(body)]
    loop = innermost("\n".join(["0000000000000000 <kernel>:", *numbered]))[-1]
    with pytest.raises(AssertionError, match="reloads"):
        judge(loop)


def test_too_few_chains_are_caught() -> None:
    with pytest.raises(AssertionError, match="accumulate"):
        judge(innermost(text_of(*GOOD[:4], *GOOD[:4]))[-1])
