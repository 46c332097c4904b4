"""What the Triton kernels say of themselves, with no triton imported."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import torch

from secateur.backends.triton import table
from secateur.formats import FORMATS, Header
from secateur.formats.bsr import Bsr
from secateur.formats.nm import Nm

OPS = [
    *(f"{f}_linear{s}" for f in ("bsr", "nm") for s in ("", "_infer", "_dx", "_dw")),
    "masked_linear_dw",
]
LISTED = """
import sys
import secateur
from secateur.backends.triton import table
problem = table.Problem(*sys.argv[1:2], None)
entries = [table.KERNELS.get(name) for name in table.KERNELS.names()]
assert len(entries) > 3 and all(entry.refuses(problem, 90) for entry in entries)
assert "triton" not in sys.modules, "listing the kernels imports triton"
entries[0].run
assert "triton" in sys.modules
"""


def test_the_room_holds_what_is_expected() -> None:
    assert table.KERNELS.names() == sorted(OPS)
    assert len({table.KERNELS.get(name).name for name in OPS}) == len(OPS)


@pytest.mark.parametrize("op", OPS)
def test_a_kernel_takes_the_arguments_of_its_op(op: str) -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    schema = getattr(torch.ops.secateur, op).default._schema
    wanted = [(a.name, a.kwarg_only, a.default_value) for a in schema.arguments]
    parameters = inspect.signature(table.KERNELS.get(op).run).parameters.values()
    empty, keyword = inspect.Parameter.empty, inspect.Parameter.KEYWORD_ONLY
    taken = [
        (p.name, p.kind == keyword, None if p.default is empty else p.default) for p in parameters
    ]
    assert taken[: len(wanted)] == wanted
    assert all(name == "count" for name, *_ in taken[len(wanted) :])


def test_triton_is_imported_by_the_first_kernel_asked_for() -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    done = subprocess.run(
        [sys.executable, "-c", LISTED, "nothing"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_missing_triton_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'secateur[gpu]'" in table.missing()
    monkeypatch.undo()
    pytest.importorskip("triton", reason="triton is not installed")
    assert table.missing() == ""


def _header(name: str, *shape: int) -> Header:
    fmt = {"bsr": Bsr, "nm": Nm}[name](*shape)
    mask = torch.zeros(240, 240, dtype=torch.bool)
    return Header.read(fmt.pack(torch.zeros(240, 240), mask).index)


@pytest.mark.parametrize(
    ("op", "problem", "capability", "why"),
    [
        ("bsr_linear", ("float32", "float32", ("bsr", 16, 16)), 75, "compute capability 80"),
        ("bsr_linear", ("float64", "float64", ("bsr", 16, 16)), 90, "float64"),
        ("bsr_linear", ("float16", "float32", ("bsr", 16, 16)), 90, "float16, torch.float32"),
        ("bsr_linear", ("float16", "int8", ("bsr", 16, 16)), 90, "int8"),
        ("bsr_linear_dx", ("float16", "float16", ("bsr", 4, 1)), 90, "4x1"),
        ("bsr_linear_dw", ("float16", "float16", ("bsr", 24, 24)), 90, "24x24"),
        ("nm_linear", ("float16", "float16", ("nm", 2, 5)), 90, "2:5"),
        ("masked_linear_dw", ("float16", "bfloat16", None), 90, "bfloat16"),
    ],
)
def test_refusals_name_what_was_wanted_and_what_came(
    op: str, problem: tuple[str, str, tuple[str, int, int] | None], capability: int, why: str
) -> None:
    x, values, packed = problem
    header = None if packed is None else _header(*packed)
    asked = table.Problem(getattr(torch, x), getattr(torch, values), header)
    reason = table.KERNELS.get(op).refuses(asked, capability)
    assert reason is not None and why in reason


@pytest.mark.parametrize("name", ["bsr", "nm"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_what_fits_is_taken(name: str, dtype: torch.dtype) -> None:
    header = _header(name, *((32, 16) if name == "bsr" else (2, 4)))
    assert header.format == FORMATS.get(name).code
    problem = table.Problem(dtype, dtype, header)
    assert table.KERNELS.get(f"{name}_linear").refuses(problem, 80) is None
