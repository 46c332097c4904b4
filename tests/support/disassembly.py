"""What an object file's loops consist of, as objdump prints them. Judging is the tests'.

A loop is found from the flow of control, not from addresses: compilers move the rarer half of a
loop to the end of the function. It is innermost if no other loop lies within it.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from secateur import _extension

ROOT = Path(__file__).parents[2]
_FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S.*)$")
_JUMP = re.compile(r"^(j\w+)\s+([0-9a-f]+)\b")
_LEAVES = re.compile(r"^(?:ret|jmp|ud2)")
_FROM_PANEL = re.compile(r"\((?!%rip|%rsp)")  # neither a constant nor a spilled register
_FMA = re.compile(r"^vfn?m(?:add|sub)(?:132|213|231)ps\b")
# AT&T order: the destination comes last.
_TO_MEMORY = re.compile(r"^v\w+\s.*%[xyz]mm\d+,\s*-?(?:0x[0-9a-f]+)?\([^)]*\)(?:\{%k\d\})?$")
_FROM_STACK = re.compile(r"\(%rsp\b[^)]*\).*%[xyz]mm\d+")


@dataclass(frozen=True)
class Loop:
    """The instructions of one innermost loop, in order."""

    function: str
    lines: tuple[str, ...]

    @property
    def fmas(self) -> list[str]:
        """Packed multiply-adds."""
        return [line for line in self.lines if _FMA.match(line)]

    @property
    def fmas_from_memory(self) -> list[str]:
        """Those of them that read an operand of x."""
        return [line for line in self.fmas if _FROM_PANEL.search(line)]

    @property
    def fmas_from_registers(self) -> list[str]:
        """Those of them whose operands were all loaded before, by an instruction of their own."""
        return [line for line in self.fmas if "(" not in line]

    @property
    def accumulators(self) -> set[str]:
        """Registers that multiply-adds add to."""
        return {line.rpartition(",")[2].strip() for line in self.fmas}

    @property
    def vector_stores(self) -> list[str]:
        """Instructions that write a vector register to memory, spills among them."""
        return [line for line in self.lines if _TO_MEMORY.match(line)]

    @property
    def reloads(self) -> list[str]:
        """Vector instructions that read the stack, where only spilled registers lie."""
        return [line for line in self.lines if _FROM_STACK.search(line)]


def hottest(path: Path) -> Loop:
    """Return the innermost loop that has the most multiply-adds, some of them from memory.

    In a tiled kernel that is the widest tile's; activations multiply by constants only.

    Raises:
        ValueError: if no loop has any.
    """
    loops = [loop for loop in innermost(disassemble(path)) if loop.fmas_from_memory]
    if not loops:
        raise ValueError(f"{path} has no loop with a packed multiply-add from memory")
    return max(loops, key=lambda loop: len(loop.fmas))


def disassemble(path: Path) -> str:
    """Return objdump's text for an object file."""
    command = ["objdump", "-d", "--no-show-raw-insn", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def innermost(text: str) -> list[Loop]:
    """Return every innermost loop in objdump's text."""
    found = []
    function, body = "", dict[int, str]()
    for line in [*text.splitlines(), "0 <end>:"]:
        if named := _FUNCTION.match(line):
            found += _loops(function, body)
            function, body = named[1], {}
        elif there := _INSTRUCTION.match(line):
            body[int(there[1], 16)] = there[2].partition("#")[0].strip()
    return found


def _loops(function: str, body: dict[int, str]) -> list[Loop]:
    if any(line.startswith("mov ") and line.endswith("%rsp,%rbp") for line in body.values()):
        # A frame pointer is the stack by another name.
        body = {at: line.replace("(%rbp", "(%rsp") for at, line in body.items()}
    before, jumps = _flow(body)
    entry = next(iter(body), 0)
    found: dict[int, set[int]] = {}
    for at, to in jumps:
        inside = _natural_loop(before, at, to, entry) if to <= at else set()
        if inside:
            found[to] = found.get(to, set()) | inside
    return [
        Loop(function, tuple(line for at, line in body.items() if at in inside))
        for inside in found.values()
        if not any(other < inside for other in found.values())
    ]


def _flow(body: dict[int, str]) -> tuple[dict[int, list[int]], list[tuple[int, int]]]:
    """What comes before each address, and the jumps within the function as (from, to)."""
    before: dict[int, list[int]] = {at: [] for at in body}
    jumps = []
    addresses = list(body)
    for at, after in itertools.zip_longest(addresses, addresses[1:]):
        jump = _JUMP.match(body[at])
        to = int(jump[2], 16) if jump else None
        if to in before and to is not None:
            jumps.append((at, to))
            before[to].append(at)
        if after is not None and not _LEAVES.match(body[at]):
            before[after].append(at)
    return before, jumps


def _natural_loop(before: dict[int, list[int]], jump: int, head: int, entry: int) -> set[int]:
    """All that reaches `jump` without passing `head`; empty if that can begin outside."""
    inside, open_ends = {head, jump}, [jump] if jump != head else []
    while open_ends:
        at = open_ends.pop()
        if at == entry:
            return set()
        open_ends += [earlier for earlier in before[at] if earlier not in inside]
        inside.update(before[at])
    return inside


def compiled(source: Path) -> dict[str, str] | None:
    """Return how the loaded extension's build compiled `source`; None if that is not known.

    Its keys are those of compile_commands.json: directory, command, file, output.
    """
    folders = [Path(_extension.path()).parent, *(ROOT / "build").glob("*")]
    lists = [folder / "compile_commands.json" for folder in folders]
    there = [path for path in lists if path.exists()]
    for path in sorted(there, key=lambda p: p.parent != folders[0]):
        for entry in json.loads(path.read_text()):
            plain = "-fsanitize" not in entry["command"]
            if plain and Path(entry["file"]) == source and output(entry).exists():
                return dict(entry)
    return None


def output(entry: dict[str, str]) -> Path:
    """Return the object file of an entry of compile_commands.json."""
    command = shlex.split(entry["command"])
    return Path(entry["directory"]) / command[command.index("-o") + 1]


def compile_again(entry: dict[str, str], to: Path, *flags: str) -> Path:
    """Compile an entry's source once more, with further flags, to another object file."""
    command = shlex.split(entry["command"])
    command[command.index("-o") + 1] = str(to)
    subprocess.run([*command, *flags], cwd=entry["directory"], capture_output=True, check=True)
    return to
