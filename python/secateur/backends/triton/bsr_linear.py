"""The kernels of bsr_linear, declared: what they take, and why not."""

from __future__ import annotations

from secateur.backends.triton.table import Entry, Problem, add

SIDES = (8, 16, 32, 64, 128)  # of a block: powers of two, from what a tensor core takes


def limits(problem: Problem) -> str | None:
    """Return why the kernels cannot run `problem`, or None."""
    head = problem.header
    if head is None or (head.n in SIDES and head.m in SIDES):
        return None
    sides = ", ".join(map(str, SIDES))
    return f"a tensor core takes blocks with sides of {sides}; the weight's are {head.n}x{head.m}"


_MODULE = "secateur.backends.triton._bsr_linear"
add(Entry("bsr_linear", _MODULE, "bsr_linear", limits=limits))
add(Entry("bsr_linear_infer", _MODULE, "bsr_linear", limits=limits))
add(Entry("bsr_linear_dx", _MODULE, "bsr_linear_dx", limits=limits))
add(Entry("bsr_linear_dw", _MODULE, "bsr_linear_dw", limits=limits))
