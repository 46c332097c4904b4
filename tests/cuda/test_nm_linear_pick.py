"""Which tile a problem gets: by arithmetic, so that it is known on a machine without a GPU."""

from __future__ import annotations

import ctypes

import pytest

from tests.support.cuda import structs
from tests.support.cuda.emulator import Emulator

A100, RTX4090, H100 = (80, 108), (89, 128), (90, 132)


def pick(
    emulator: Emulator,
    gpu: tuple[int, int],
    shape: tuple[int, int, int],
    *,
    kind: str = "f16",
    layout: str = "torch24",
    x_stride: int | None = None,
) -> tuple[str, int]:
    rows, out, in_ = shape
    args = structs.args_of("nm_linear")()
    padding = 128 if kind == "i8" else 64
    fields = {
        "rows": rows,
        "in_features": in_,
        "out_features": out,
        "padded_in": -(-in_ // padding) * padding,
        "padded_out": -(-out // 32) * 32,
        "x_stride": in_ if x_stride is None else x_stride,
        "y_stride": out,
        "type": structs.enum("Type")[kind],
    }
    for field, number in fields.items():
        setattr(args, field, number)
    function = emulator.c.secateur_cuda_nm_linear_pick
    function.restype = ctypes.c_char_p
    split = ctypes.c_int()
    size = ctypes.c_int64(ctypes.sizeof(args))
    name = function(ctypes.byref(args), size, layout.encode(), *gpu, ctypes.byref(split))
    return name.decode().removeprefix("nm_linear_"), split.value


@pytest.mark.parametrize("gpu", [A100, RTX4090, H100])
@pytest.mark.parametrize("layout", ["torch24", "fragment24"])
def test_many_rows_get_large_tiles_and_few_get_small_ones(
    emulator: Emulator, gpu: tuple[int, int], layout: str
) -> None:
    names = [
        pick(emulator, gpu, (rows, 4096, 4096), layout=layout) for rows in (1, 16, 32, 4096, 16384)
    ]
    rows_of = [emulator.kernel(f"nm_linear_{name}").tile_rows for name, _ in names]
    assert rows_of == sorted(rows_of), names
    assert rows_of[0] <= 32 and rows_of[-1] == 128, names
    assert names[-1][1] == 1, "many tiles need no parts"


def test_few_tiles_of_long_rows_are_summed_in_parts(emulator: Emulator) -> None:
    name, split = pick(emulator, A100, (8, 1024, 8192))
    assert split > 1
    tile = emulator.kernel(f"nm_linear_{name}").tile_out
    assert 1024 // tile * split <= 2 * 108 + 108


def test_the_picked_kernel_runs_the_problem(emulator: Emulator) -> None:
    for kind in ("f16", "bf16", "i8"):
        for layout in ("torch24", "fragment24"):
            for shape in ((1, 1, 16), (3, 100, 160), (77, 4000, 1024), (100000, 64, 64)):
                name, _ = pick(emulator, A100, shape, kind=kind, layout=layout)
                assert name, (kind, layout, shape)
                kernel = emulator.kernel(f"nm_linear_{name}")
                assert kind in kernel.types and kernel.layout == layout
                assert not name.endswith("_anywhere")


def test_rows_that_begin_anywhere_get_the_kernel_for_them(emulator: Emulator) -> None:
    assert pick(emulator, A100, (5, 100, 63))[0] == "sm80_anywhere"
    assert pick(emulator, A100, (5, 100, 64), x_stride=65)[0] == "sm80_anywhere"
    assert pick(emulator, A100, (5, 100, 63), layout="fragment24")[0] == "sm80_frag_anywhere"
    assert pick(emulator, A100, (5, 100, 63), kind="i8")[0] == "sm80_s8_anywhere"


def test_there_may_be_none(emulator: Emulator) -> None:
    assert pick(emulator, (75, 40), (5, 64, 64)) == ("", 1)
    assert pick(emulator, A100, (5, 64, 64), kind="f32") == ("", 1)
    assert pick(emulator, A100, (5, 64, 64), layout="rows") == ("", 1)
