"""The ops of the CUDA library on CPU tensors, line by line as csrc/bind/cuda_*.cpp has them.

The emulator is the device. So formats, candidates and kernels are held to each other, and all but
torch's own C++ stands between a packed weight and a kernel's source.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from secateur.backends import gpus
from secateur.backends.cuda import _library, int8, semi_frag_conv2d
from tests.support.cuda import structs
from tests.support.cuda.emulator import Emulator, poisoned

TYPES = {torch.float16: "f16", torch.bfloat16: "bf16"}
LINEAR_TYPES = {**TYPES, torch.int8: "i8"}


class Bound:
    """The ops of the CUDA library, on the emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.ran: list[str] = []

    def run(self, kernels: str, fields: dict[str, Tensor | int | None], x: Tensor) -> Tensor:
        """Return y of a linear layer's kernel."""
        y = poisoned(len(x), int(fields["out_features"] or 0), dtype=y_type(x))
        if y.numel() == 0:
            return y
        fields = {
            "x": x,
            "y": y,
            "rows": len(x),
            "in_features": x.shape[1],
            "x_stride": x.stride(0),
            "y_stride": y.stride(0),
            "type": structs.enum("Type")[LINEAR_TYPES[x.dtype]],
            **fields,
        }
        self.first_willing(kernels, fields)
        return y

    def first_willing(self, kernels: str, fields: dict[str, Tensor | int | None]) -> None:
        """Run the first kernel that does not refuse, as `launch` of csrc/bind does."""
        for name in kernels.split(","):
            try:
                outcome = self.emulator.launch(name, fields)
            except ValueError as refused:
                assert "refuses" in str(refused)
                continue
            outcome.clean()
            self.ran.append(name)
            return
        raise RuntimeError(f"all of {kernels} refuse")

    def nm_linear(self, kernels, x, values, index, meta_offset, bias, residual, scale, *rest):  # type: ignore[no-untyped-def]  # noqa: PLR0913
        x_scale, out_features, padded_out, padded_in, act = rest
        assert x.shape[1] == 1 or x.stride(1) == 1
        assert x_scale is None or x.dtype == torch.int8, "x_scale goes with int8 x"
        assert padded_out >= out_features and padded_in >= x.shape[1]
        expect(values, x.dtype, padded_out * padded_in // 2)
        expect(bias, torch.float32, out_features)
        expect(scale, torch.float32, out_features)
        expect(x_scale, torch.float32, len(x))
        expect(residual, y_type(x), len(x) * out_features)
        size = padded_out * padded_in // 8
        fields = {
            "values": values[: padded_out * padded_in // 2],
            "meta": index[meta_offset : meta_offset + size],
            "bias": bias,
            "residual": residual,
            "scale": scale,
            "x_scale": x_scale,
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
            "type": structs.enum("Type")[TYPES[values.dtype]],
        }
        self.emulator.launch(kernels, fields).clean()
        self.ran.append(kernels)
        return weight

    def nm_conv2d(self, kernels, x, values, index, meta_offset, bias, residual, *rest):  # type: ignore[no-untyped-def]  # noqa: PLR0913
        out_channels, out_size, kernel, stride, padding, dilation, groups, *more = rest
        padded_out, padded_in, act, residual_first = more
        y = poisoned(len(x), *out_size, out_channels, dtype=x.dtype)
        fields = {
            "x": x,
            "y": y,
            "values": values[: padded_out * padded_in // 2],
            "meta": index[meta_offset : meta_offset + padded_out * padded_in // 8],
            "bias": bias,
            "residual": residual,
            **dict(zip(("batch", "height", "width", "in_channels"), x.shape, strict=True)),
            **both("out", out_size),
            "out_channels": out_channels,
            "groups": groups,
            **both("kernel", kernel),
            **both("stride", stride),
            **both("dilation", dilation),
            "pad_top": padding[0],
            "pad_left": padding[1],
            "padded_in": padded_in,
            "padded_out": padded_out,
            "x_stride": pixel_stride(x),
            "y_stride": out_channels,
            "type": structs.enum("Type")[TYPES[x.dtype]],
            "act": structs.enum("Act")[act],
            "residual_first": int(residual_first),
        }
        if residual is not None:
            assert residual.is_contiguous()
            assert residual.shape == y.shape
            assert residual.dtype == x.dtype
        self.first_willing(kernels, fields)
        return y


def y_type(x: Tensor) -> torch.dtype:
    """Return the type of y and of the residual."""
    return torch.float32 if x.dtype == torch.int8 else x.dtype


def expect(tensor: Tensor | None, dtype: torch.dtype, elements: int) -> None:
    """Raise unless a tensor, if there is one, is in one piece and has so many elements or more."""
    if tensor is None:
        return
    assert tensor.dtype == dtype, f"wanted {dtype}, got {tensor.dtype}"
    assert tensor.is_contiguous()
    assert tensor.numel() >= elements


def both(name: str, sides: list[int]) -> dict[str, int]:
    """Return the two fields of a pair."""
    return {f"{name}_height": sides[0], f"{name}_width": sides[1]}


def pixel_stride(x: Tensor) -> int:
    """Return the elements between pixels of [N, H, W, C]; raise where they lie unevenly."""
    assert x.shape[3] == 1 or x.stride(3) == 1
    lying = [(x.shape[axis], x.stride(axis)) for axis in (2, 1, 0) if x.shape[axis] != 1]
    stride, pixels = lying[0][1] if lying else x.shape[3], 1
    for size, step in lying:
        assert step == stride * pixels, f"pixels lie unevenly: {x.stride()}"
        pixels *= size
    return int(stride)


@contextmanager
def installed(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bound]:
    """Give the CUDA ops to the CPU, and the table of kernels to the backends, inside."""
    found = Bound(emulator)
    table = _library.parsed(emulator.c.secateur_cuda_kernels().decode())
    monkeypatch.setattr(_library, "kernels", lambda: table)
    monkeypatch.setattr(_library, "why_not", lambda: "")
    monkeypatch.setattr(gpus, "of", lambda _: gpus.KNOWN[0])
    monkeypatch.setattr(int8, "DEVICE", "cpu")
    caches = (
        _library.family,
        _library.of_op,
        _library.named,
        _library.able_names,
        semi_frag_conv2d.named,
    )
    for cached in caches:
        cached.cache_clear()
    ops = torch.library.Library("secateur", "IMPL")
    for name in ("nm_linear", "lane_linear", "to_dense", "nm_conv2d"):
        ops.impl(f"cuda_{name}", getattr(found, name), "CPU")
    yield found
    ops._destroy()
    for cached in caches:
        cached.cache_clear()
