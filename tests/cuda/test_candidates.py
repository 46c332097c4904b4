"""From a packed weight to a kernel's source, on the emulated GPU: all but torch's own C++ between.

The ops that csrc/bind/cuda_*.cpp implements on a GPU are implemented here on CPU tensors, line by
line, with the emulator for the device. So formats, candidates and kernels are held to each other.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from secateur.backends import gpus
from secateur.backends.candidates import CANDIDATES
from secateur.backends.cuda import _library
from secateur.backends.cuda._library import Kernel
from tests.support import gpu as checks
from tests.support.cuda import structs
from tests.support.cuda.emulator import Emulator, poisoned

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
_TYPES = {torch.float16: "f16", torch.bfloat16: "bf16"}


class Bound:
    """The ops of the CUDA library, on the emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.ran: list[str] = []

    def run(self, kernels: str, fields: dict[str, Tensor | int | None], x: Tensor) -> Tensor:
        """Run the first kernel that does not refuse, as `launch` of csrc/bind does."""
        y = poisoned(len(x), int(fields["out_features"] or 0), dtype=x.dtype)
        fields = {
            "x": x,
            "y": y,
            "rows": len(x),
            "in_features": x.shape[1],
            "x_stride": x.stride(0),
            "y_stride": y.stride(0),
            "type": structs.enum("Type")[_TYPES[x.dtype]],
            **fields,
        }
        for name in kernels.split(","):
            try:
                outcome = self.emulator.launch(name, fields)
            except ValueError as refused:
                assert "refuses" in str(refused)
                continue
            outcome.clean()
            self.ran.append(name)
            return y
        raise RuntimeError(f"all of {kernels} refuse")

    def nm_linear(self, kernels, x, values, index, meta_offset, bias, residual, scale, *rest):  # type: ignore[no-untyped-def]  # noqa: PLR0913
        out_features, padded_out, padded_in, act = rest
        size = padded_out * padded_in // 8
        fields = {
            "values": values[: padded_out * padded_in // 2],
            "meta": index[meta_offset : meta_offset + size],
            "bias": bias,
            "residual": residual,
            "scale": scale,
            "out_features": out_features,
            "padded_out": padded_out,
            "padded_in": padded_in,
            "act": structs.enum("Act")[act],
        }
        return self.run(kernels, fields, x)

    def lane_linear(self, kernels, x, values, index, offsets, n, most, bias, residual, *rest):  # type: ignore[no-untyped-def]  # noqa: PLR0913
        out_features, act = rest
        masks, table = offsets
        fields = {
            "values": values,
            "masks": index[masks:],
            "starts": index[table:masks] if table else None,
            "n": n,
            "most": most,
            "bias": bias,
            "residual": residual,
            "out_features": out_features,
            "act": structs.enum("Act")[act],
        }
        return self.run(kernels, fields, x)

    def to_dense(self, kernels, values, index, offsets, n, out_features, in_features):  # type: ignore[no-untyped-def]  # noqa: PLR0913
        masks, table = offsets
        weight = poisoned(out_features, -(-in_features // 8) * 8, dtype=values.dtype)
        fields = {
            "values": values,
            "masks": index[masks:],
            "starts": index[table:masks] if table else None,
            "weight": weight,
            "in_features": in_features,
            "out_features": out_features,
            "stride": weight.stride(0),
            "n": n,
            "type": structs.enum("Type")[_TYPES[values.dtype]],
        }
        self.emulator.launch(kernels, fields).clean()
        self.ran.append(kernels)
        return weight


@pytest.fixture
def bound(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bound]:
    found = Bound(emulator)
    table = _library.parsed(emulator.c.secateur_cuda_kernels().decode())
    monkeypatch.setattr(_library, "kernels", lambda: table)
    monkeypatch.setattr(gpus, "of", lambda _: gpus.KNOWN[0])
    caches = (_library.family, _library.of_op, _library.named)
    for cached in caches:
        cached.cache_clear()
    ops = torch.library.Library("secateur", "IMPL")
    ops.impl("cuda_nm_linear", found.nm_linear, "CPU")
    ops.impl("cuda_lane_linear", found.lane_linear, "CPU")
    ops.impl("cuda_to_dense", found.to_dense, "CPU")
    yield found
    ops._destroy()
    for cached in caches:
        cached.cache_clear()


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
    }
    assert ours == set(FAMILIES) | set(WRITTEN_OUT)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("dtype", list(_TYPES), ids=str)
def test_a_packed_weight_reaches_every_kernel_rightly(
    bound: Bound, name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = CANDIDATES.get(name)
    for kernel in family(name, bound):
        if _TYPES[dtype] not in kernel.types:
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
@pytest.mark.parametrize("dtype", list(_TYPES), ids=str)
def test_many_rows_get_the_weight_written_out(bound: Bound, name: str, dtype: torch.dtype) -> None:
    candidate = CANDIDATES.get(name)
    for shape, rows in (((64, 64), 1), ((33, 72), 100), ((40, 204), 65)):
        made = checks.case(candidate.format, shape, rows, CPU, dtype)
        assert candidate.refuses(made.problem, gpus.KNOWN[0]) is None
        checks.judge.exact_truth(candidate.run(made.operands), made.truth())
    assert bound.ran == [f"to_dense_{WRITTEN_OUT[name]}"] * 3
    checks.strided(candidate, gpus.KNOWN[0], CPU)
    checks.infinite(candidate, gpus.KNOWN[0], CPU)


@pytest.mark.parametrize("gpu", ["A100-SXM4-80GB", "RTX 4090", "H100"])
@pytest.mark.parametrize("layout", ["torch24", "fragment24"])
@pytest.mark.parametrize("kind", ["f16", "i8"])
def test_many_rows_get_large_tiles_and_few_get_small_ones(
    bound: Bound, gpu: str, layout: str, kind: str
) -> None:
    found = gpus.known(gpu)
    assert found is not None
    kernels = _library.family(layout, "")
    orders = [
        _library.in_order(kernels, kind, (rows, 4096), found) for rows in (1, 16, 32, 4096, 16384)
    ]
    rows = [order[0].tile[1] for order in orders]
    assert rows == sorted(rows)
    assert rows[0] <= 64 and rows[-1] == 128
    for order in orders:
        assert {kernel.layout for kernel in order} == {layout}
        assert all(kind in kernel.types for kernel in order)
        plain = [kernel.name.endswith(("_anywhere", "_simple")) for kernel in order]
        assert plain == sorted(plain) and not plain[0] and plain[-1]
