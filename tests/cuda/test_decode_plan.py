"""How nm_linear_decode shares a weight out to a GPU, by its decode_plan.h compiled here."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMS = {"RTX 4090": 128, "A100": 108, "H100": 132, "a small one": 20}
SHAPES = [
    (4096, 4096),
    (11008, 4096),
    (4096, 11008),
    (2048, 2048),
    (28672, 8192),
    (128256, 4096),
    (768, 768),
    (32, 32),
    (32, 65536),
    (65536, 32),
]
ROWS = (1, 2, 8, 9, 16)
MOST_COLUMNS = 1024

SOURCE = """
#include "cuda/nm_linear/decode_plan.h"
extern "C" void plan(long bands, long tiles, int rows, int sms, int split, long* out) {
  const auto p = secateur::cuda::decode_plan({bands, tiles, rows, 1152}, sms, split);
  out[0] = p.bands, out[1] = p.split, out[2] = p.tiles, out[3] = p.columns;
}
"""


@dataclass(frozen=True)
class Plan:
    """Of one launch."""

    bands: int
    split: int
    tiles: int
    columns: int

    @property
    def blocks(self) -> int:
        return self.columns * self.split


Planner = Callable[..., Plan]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Planner:
    """plan(out, in_, rows, sms, split=0), of a weight of float16."""
    if shutil.which("c++") is None:
        pytest.skip("c++ is not here")
    folder = tmp_path_factory.mktemp("plan")
    (folder / "plan.cpp").write_text(SOURCE)
    command = ["c++", "-std=c++20", "-shared", "-fPIC", f"-I{ROOT}/csrc", "plan.cpp", "-o", "p.so"]
    subprocess.run(command, cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "p.so"))
    library.plan.argtypes = [ctypes.c_long] * 2 + [ctypes.c_int] * 3 + [ctypes.c_void_p]

    def planned(out: int, in_: int, rows: int, sms: int, split: int = 0) -> Plan:
        found = (ctypes.c_long * 4)()
        library.plan(-(-out // 32), -(-in_ // 32), rows, sms, split, found)
        return Plan(*found)

    return planned


@pytest.mark.parametrize(("out", "in_"), SHAPES)
def test_every_tile_is_in_one_block(plan: Planner, out: int, in_: int) -> None:
    bands, tiles = -(-out // 32), -(-in_ // 32)
    for sms in SMS.values():
        for rows in ROWS:
            for split in (0, 1, 2, 7, 32):
                p = plan(out, in_, rows, sms, split)
                assert p.bands in (1, 2, 4)
                assert (p.columns - 1) * p.bands < bands <= p.columns * p.bands
                assert (p.split - 1) * p.tiles < tiles <= p.split * p.tiles, "a block without work"
                assert p.split <= (split or 32)
                assert p.split == 1 or p.columns <= MOST_COLUMNS or split > 1


@pytest.mark.parametrize("name", SMS)
@pytest.mark.parametrize(("out", "in_"), [(4096, 4096), (11008, 4096), (4096, 11008), (8192, 8192)])
def test_no_multiprocessor_has_much_more_than_it_can_read(
    plan: Planner, name: str, out: int, in_: int
) -> None:
    """With one block at most 5/4 of the mean, with more at most twice as much; and 5 % beside."""
    sms = SMS[name]
    for rows in ROWS:
        p = plan(out, in_, rows, sms)
        most = -(-p.blocks // sms)
        mean = (out // 32) * (in_ // 32) / sms
        assert most * p.bands * p.tiles <= 1.05 * (1.25 if most == 1 else 2) * mean, p


def test_what_layers_of_a_known_model_get(plan: Planner) -> None:
    """Bands of a block, and blocks that share one, for one row on an H100."""
    found = {shape: plan(*shape, 1, 132) for shape in SHAPES[:4]}
    assert {shape: (p.bands, p.split) for shape, p in found.items()} == {
        (4096, 4096): (1, 1),
        (11008, 4096): (2, 1),
        (4096, 11008): (1, 1),
        (2048, 2048): (1, 1),
    }


def test_with_more_rows_more_outputs_share_their_x(plan: Planner) -> None:
    found = {shape: plan(*shape, 16, 132) for shape in SHAPES[:4]}
    assert {shape: (p.bands, p.split) for shape, p in found.items()} == {
        (4096, 4096): (4, 4),
        (11008, 4096): (4, 2),
        (4096, 11008): (4, 4),
        (2048, 2048): (4, 8),
    }


def test_outputs_that_fill_the_gpu_are_not_split(plan: Planner) -> None:
    assert plan(128256, 4096, 1, 132).split == 1
    assert plan(65536, 32, 16, 132).split == 1


def test_few_outputs_are_split_over_the_whole_gpu(plan: Planner) -> None:
    assert plan(32, 65536, 1, 132).split == 32
