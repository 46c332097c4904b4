"""Why no CUDA kernel runs here: one sentence for each cause, in the order one meets them."""

from __future__ import annotations

import pytest
import torch

from secateur.backends import cuda, gpus
from secateur.backends.cuda import _library
from secateur.backends.roofline import Work

CASES = {
    "a CPU build": ({}, "was built without CUDA; install a build of torch for CUDA"),
    "no driver": ({"cuda": "13.0"}, "no GPU here, or no driver for it"),
    "not built": ({"cuda": "13.0", "there": True}, "were not built; install the CUDA toolkit"),
    "does not load": (
        {"cuda": "13.0", "there": True, "path": "/nowhere/_C_cuda.so"},
        "/nowhere/_C_cuda.so does not load",
    ),
    "too old": (
        {"cuda": "13.0", "there": True, "path": "x", "loads": True, "capability": (7, 5)},
        "Some GPU has compute capability 7.5, the kernels need 8.0",
    ),
    "nothing": (
        {"cuda": "13.0", "there": True, "path": "x", "loads": True, "capability": (9, 0)},
        "",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_first_thing_missing_is_named(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    have, words = CASES[case]
    monkeypatch.delenv("SECATEUR_NO_EXTENSION", raising=False)
    monkeypatch.setattr(torch.version, "cuda", have.get("cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: have.get("there", False))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Some GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: have.get("capability"))
    monkeypatch.setattr(_library, "path", lambda: have.get("path", ""))
    _library._failure.cache_clear()
    if have.get("loads"):
        monkeypatch.setattr(_library, "_failure", lambda: "")
    reason = cuda.why_not()
    assert words in reason
    assert bool(words) == bool(reason)
    assert "\n" not in reason


def test_the_library_is_not_looked_for_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> str:
        raise AssertionError("looked for")

    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(_library, "_failure", never)
    assert cuda.kernels() == []


def test_the_table_is_read_as_the_library_writes_it() -> None:
    line = "nm_linear nm_linear_simple 80 f16,bf16 torch24 128 36864 3 64 64 64 136"
    types, tile = ("f16", "bf16"), (64, 64, 64)
    wanted = _library.Kernel("nm_linear", "nm_linear_simple", 80, types, "torch24", tile)
    assert _library.parsed(line + "\n" + line + "\n") == [wanted] * 2


def test_kernels_are_named_in_the_order_in_which_they_suit() -> None:
    gpu = gpus.known("A100-SXM4-80GB")
    assert gpu is not None
    lines = [
        ("sm80_64x16", 80, "f16,bf16", (64, 16)),
        ("sm80_64x32", 80, "f16,bf16", (64, 32)),
        ("sm80_64x64", 80, "f16,bf16", (64, 64)),
        ("sm80_128x128", 80, "f16,bf16", (128, 128)),
        ("sm80_anywhere", 80, "f16,bf16", (64, 64)),
        ("sm80_s8_64x64", 80, "i8", (64, 64)),
        ("sm90_128x128", 90, "f16", (128, 128)),
    ]
    text = "\n".join(
        f"nm_linear nm_linear_{name} {sm} {types} torch24 128 0 3 {out} {rows} 64 136"
        for name, sm, types, (out, rows) in lines
    )
    table = _library.parsed(text)

    def order(rows: int, out: int, type: torch.dtype = torch.float16) -> list[str]:
        work = Work(rows, out, 4096, 0.5, item=type.itemsize)
        found = _library.in_order(table, type, work, gpu)
        return [kernel.name.removeprefix("nm_linear_") for kernel in found]

    assert order(8, 4096)[0] == "sm80_64x16"
    assert order(30, 4096)[0] == "sm80_64x32"
    assert order(64, 4096)[0] == "sm80_64x64"
    assert order(8192, 8192)[0] == "sm80_128x128"
    for rows in (1, 64, 8192):
        assert order(rows, 4096)[-1] == "sm80_anywhere"  # it takes what others refuse
        assert order(rows, 4096, torch.int8) == ["sm80_s8_64x64"]
    assert len(order(1, 64)) == 5
