"""Atomics: whatever the order, each leaves what another one, or the end, finds.

Of an update from `old` to `new` think as of a path's step: all steps together are one path from
what the cell held to what it holds. So every value is come to as often as it is left, and no step
lies apart from the path. Totals are exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

from tests.support.cuda.isa.base import Given, bits, signed, unsigned

# Who comes first is open.
OPEN = {
    *("add_f32", "add_s32", "add_u32", "or", "exch", "inc", "cas"),
    *(
        "shared_add_f32",
        "shared_add_s32",
        "shared_add_u32",
        "shared_or",
        "grid_add_u32",
        "grid_inc",
    ),
}
CASES, THREADS = 6, 64


def given(which: str, gen: torch.Generator) -> Given:
    words = bits(gen, CASES, THREADS, 2)
    before = bits(gen, CASES, THREADS, 2)
    if which.endswith("add_f32"):  # whole numbers: no order rounds
        for words_of in (words, before):
            whole = torch.randint(-999, 999, words_of.shape, generator=gen).float()
            words_of.copy_(whole.view(torch.int32))
    elif which.endswith("or"):
        words &= bits(gen, CASES, THREADS, 2) & bits(gen, CASES, THREADS, 2)
        before &= bits(gen, CASES, THREADS, 2)
    elif which.endswith("inc"):
        words[..., 0] = torch.arange(3, 3 + CASES)[:, None] * 7
        words[..., 0] = words[:1, :1, 0] if which == "grid_inc" else words[..., 0]
        before[:, 0, 1] = torch.arange(CASES) * 20
    elif which == "cas":  # few values, so that many of them fit
        words %= 4
        before[..., 1] = 2
    return Given(words, before)


def step(which: str) -> Callable[[int, int, int], int]:
    """Return new(old, a, b) of words as unsigned numbers."""
    kind = which.removeprefix("shared_").removeprefix("grid_")
    if kind == "add_f32":
        return lambda old, a, b: _word(_float(old) + _float(a))
    return {
        "add_s32": lambda old, a, b: (old + a) % 2**32,
        "add_u32": lambda old, a, b: (old + a) % 2**32,
        "or": lambda old, a, b: old | a,
        "exch": lambda old, a, b: a,
        "inc": lambda old, a, b: 0 if old >= a else old + 1,
        "cas": lambda old, a, b: b if old == a else old,
    }[kind]


def judge(which: str, given: Given, after: Tensor) -> None:
    untouched = torch.ones(CASES, THREADS, dtype=torch.bool)
    cells = [0] if which.startswith("grid_") else list(range(CASES))
    untouched[cells, 0] = False
    assert torch.equal(after[..., 1][untouched], given.before[..., 1][untouched])
    new = step(which)
    for cell in cells:
        members = range(CASES) if which.startswith("grid_") else [cell]
        steps = []
        for case in members:
            olds = unsigned(after[case, :, 0]).tolist()
            operands = unsigned(given.words[case]).tolist()
            steps += [(old, new(old, a, b)) for old, (a, b) in zip(olds, operands, strict=True)]
        begin, end = (int(unsigned(t[cell, 0, 1])) for t in (given.before, after))
        _one_path(steps, begin, end)
        if which.endswith(("add_s32", "add_u32")):
            total = begin + unsigned(given.words[list(members), :, 0]).sum()
            assert int(signed(total)) == int(after[cell, 0, 1])


def _one_path(steps: list[tuple[int, int]], begin: int, end: int) -> None:
    left = Counter([old for old, _ in steps] + [end])
    reached = Counter([begin] + [new for _, new in steps])
    assert left == reached, f"found but never left there: {left - reached}; lost: {reached - left}"
    onward: dict[int, set[int]] = {}
    for old, new in steps:
        onward.setdefault(old, set()).add(new)
    seen, todo = {begin}, [begin]
    while todo:
        fresh = onward.get(todo.pop(), set()) - seen
        seen |= fresh
        todo += fresh
    assert seen >= {old for old, _ in steps}, "updates of a cell that was never so"


def _float(word: int) -> float:
    return float(signed(torch.tensor([word])).view(torch.float32))


def _word(value: float) -> int:
    return int(unsigned(torch.tensor([value], dtype=torch.float32).view(torch.int32)))
