"""From a packed weight to a kernel's source, on the emulated GPU; see support/cuda/bound.py."""

from __future__ import annotations

import pytest
import torch

from secateur.backends import gpus, roofline
from secateur.backends.candidates import CANDIDATES
from secateur.backends.cuda import _library
from secateur.backends.cuda._library import Kernel
from secateur.backends.roofline import Work
from tests.support import gpu as checks
from tests.support.cuda.bound import TYPES, Bound

CPU = torch.device("cpu")
FAMILIES = {
    "semi_product": ("torch24", ""),
    "semi_frag_product": ("fragment24", ""),
    "semi_frag_decode": ("fragment24", "decode"),
    "lb32_gather": ("lb32", "gather"),
    "lb32_scatter": ("lb32", "scatter"),
    "n32_balanced": ("n32", "balanced"),
}
WRITTEN_OUT = {"lb32_expanded": "lb32", "n32_expanded": "n32"}


def family(name: str, bound: Bound) -> tuple[Kernel, ...]:
    kernels = _library.family(*FAMILIES[name])
    if not kernels:
        pytest.skip(f"there is no kernel of the family {FAMILIES[name]} yet")
    return kernels


def test_every_candidate_of_ours_has_its_family() -> None:
    ours = {
        name
        for name in CANDIDATES.names()
        if CANDIDATES.get(name).missing.__class__.__name__ == "partial"
        and not CANDIDATES.get(name).convolves
    }
    assert ours == set(FAMILIES) | set(WRITTEN_OUT)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("dtype", list(TYPES), ids=str)
def test_a_packed_weight_reaches_every_kernel_rightly(
    bound: Bound, name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = CANDIDATES.get(name)
    for kernel in family(name, bound):
        if TYPES[dtype] not in kernel.types:
            continue
        monkeypatch.setattr(_library, "named", lambda *_, only=kernel.name: only)
        for shape, rows in (((64, 64), 1), ((33, 72), 9), ((40, 200), 16)):
            made = checks.case(candidate.format, shape, rows, CPU, dtype)
            checks.judge.exact_truth(candidate.run(made.operands), made.truth())
        assert bound.ran[-1] == kernel.name


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_candidate_fuses_and_where_x_begins(bound: Bound, name: str) -> None:
    candidate = CANDIDATES.get(name)
    if all(kernel.name.endswith("_simple") for kernel in family(name, bound)):
        pytest.skip("the plain kernel fuses nothing")
    made = checks.case(candidate.format, (33, 72), 5, CPU, act="relu", residual=True)
    checks.judge.exact_truth(candidate.run(made.operands), made.truth())
    checks.strided(candidate, gpus.KNOWN[0], CPU)
    checks.infinite(candidate, gpus.KNOWN[0], CPU)


@pytest.mark.parametrize("name", WRITTEN_OUT)
@pytest.mark.parametrize("dtype", list(TYPES), ids=str)
def test_many_rows_get_the_weight_written_out(bound: Bound, name: str, dtype: torch.dtype) -> None:
    candidate = CANDIDATES.get(name)
    for shape, rows in (((64, 64), 1), ((33, 72), 100), ((40, 204), 65)):
        made = checks.case(candidate.format, shape, rows, CPU, dtype)
        assert candidate.refuses(made.problem, gpus.KNOWN[0]) is None
        checks.judge.exact_truth(candidate.run(made.operands), made.truth())
    assert bound.ran == [f"to_dense_{WRITTEN_OUT[name]}"] * 3
    checks.strided(candidate, gpus.KNOWN[0], CPU)
    checks.infinite(candidate, gpus.KNOWN[0], CPU)


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("layout", ["torch24", "fragment24"])
@pytest.mark.parametrize(
    ("dtype", "modelled"),
    [(torch.float16, roofline.SEMI_TILES), (torch.int8, roofline.INT8_TILES)],
)
def test_the_models_tiles_are_the_librarys(
    layout: str, dtype: torch.dtype, modelled: tuple[tuple[int, int], ...]
) -> None:
    kernels = _library.able(_library.family(layout, ""), dtype, gpus.KNOWN[0])
    tiles = {k.tile[:2] for k in kernels if not k.name.endswith(("_anywhere", "_simple"))}
    assert tiles - {(64, 16)} == set(modelled)  # which torch's order alone has


@pytest.mark.parametrize("gpu", ["A100-SXM4-80GB", "RTX 4090", "H100"])
@pytest.mark.parametrize("layout", ["torch24", "fragment24"])
@pytest.mark.parametrize(("kind", "dtype"), [("f16", torch.float16), ("i8", torch.int8)])
def test_many_rows_get_large_tiles_and_few_get_small_ones(
    bound: Bound, gpu: str, layout: str, kind: str, dtype: torch.dtype
) -> None:
    found = gpus.known(gpu)
    assert found is not None
    kernels = _library.family(layout, "")
    orders = [
        _library.in_order(kernels, dtype, Work(rows, 4096, 4096, 0.5, dtype.itemsize), found)
        for rows in (1, 16, 32, 4096, 16384)
    ]
    rows = [order[0].tile[1] for order in orders]
    assert max(rows[:3]) <= 64 <= min(rows[3:])
    assert rows[:3] == sorted(rows[:3])
    for order in orders:
        assert {kernel.layout for kernel in order} == {layout}
        assert all(kind in kernel.types for kernel in order)
        plain = [kernel.name.endswith(("_anywhere", "_simple")) for kernel in order]
        assert plain == sorted(plain) and not plain[0] and plain[-1]
