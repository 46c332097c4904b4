"""The kernels of nm_linear, declared: what they take, and why not."""

from __future__ import annotations

from secateur.backends.triton.table import Entry, Problem, add

GROUPS = (2, 4, 8, 16)  # M: a tile is a whole number of groups
WIDEST = 64  # columns of a tile; a K block is a multiple of it


def limits(problem: Problem) -> str | None:
    """Return why the kernels cannot run `problem`, or None."""
    head = problem.header
    if head is None:
        return None
    if head.m not in GROUPS:
        known = ", ".join(map(str, GROUPS))
        return f"a tile is a whole number of groups of {known}; the weight keeps {head.n}:{head.m}"
    if head.k_block % WIDEST:
        return f"a K block must be a multiple of {WIDEST} columns; the weight's has {head.k_block}"
    return None


_MODULE = "secateur.backends.triton._nm_linear"
add(Entry("nm_linear", _MODULE, "nm_linear", limits=limits))
add(Entry("nm_linear_infer", _MODULE, "nm_linear", limits=limits))
add(Entry("nm_linear_dx", _MODULE, "nm_linear_dx", limits=limits))
add(Entry("nm_linear_dw", _MODULE, "nm_linear_dw", limits=limits))
