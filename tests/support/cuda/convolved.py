"""Runs the 2:4 convolutions, csrc/cuda/nm_conv2d/*.cu, on dense weights of the caller's."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.support import data, truth
from tests.support.cuda import build, fragment24, structs, torch24
from tests.support.cuda.emulator import Emulator, Outcome, poisoned

FILES = sorted(Path(build.ROOT, "csrc", "cuda", "nm_conv2d").glob("*.cu"))
FAULTY = os.environ.get("SECATEUR_FAULTY", "")  # names, where a fault was put into these alone
NAMES = [
    name
    for name in (f"nm_conv2d_{file.stem}" for file in FILES)
    if not FAULTY or name in FAULTY.split(",")
]
TYPES = {"f16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Case:
    """The sizes of a convolution, and what is fused to it.

    Args:
        image: batch, channels, height, width.
        out: output channels.
        kernel: height, width.
        stride: down, right.
        padding: top, bottom, left, right.
        dilation: down, right.
        groups: of channels.
        act: activation.
        residual: "none", "last" or "first": added after or before the activation.
        split: parts of the sum; 0 leaves it to the kernel.
    """

    image: tuple[int, int, int, int]
    out: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (1, 1, 1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    act: str = "none"
    residual: str = "none"
    split: int = 0

    @property
    def in_features(self) -> int:
        """Columns of the weight as a matrix."""
        return self.kernel[0] * self.kernel[1] * self.image[1] // self.groups

    @property
    def out_size(self) -> tuple[int, int]:
        """Height and width of y."""
        top, bottom, left, right = self.padding
        tall = self.image[2] + top + bottom - self.dilation[0] * (self.kernel[0] - 1) - 1
        wide = self.image[3] + left + right - self.dilation[1] * (self.kernel[1] - 1) - 1
        return tall // self.stride[0] + 1, wide // self.stride[1] + 1


# Each changes one thing that the others keep.
CASES = {
    "3x3": Case((1, 64, 5, 7), 40),
    "channels off the step": Case((1, 24, 6, 5), 33),
    "fewest channels": Case((2, 8, 5, 6), 16),
    "several images, pixels off the tile": Case((3, 64, 5, 5), 64),
    "stride": Case((1, 64, 9, 8), 32, stride=(2, 3)),
    "dilation": Case((1, 16, 9, 11), 32, padding=(2, 2, 3, 3), dilation=(2, 3)),
    "padding of one side": Case((1, 64, 6, 5), 32, padding=(2, 0, 0, 1)),
    "padding wider than the kernel": Case((1, 16, 2, 3), 32, padding=(4, 3, 5, 3)),
    "1x1": Case((2, 64, 4, 5), 48, kernel=(1, 1), padding=(0, 0, 0, 0)),
    "1x1 with stride": Case((1, 72, 7, 7), 32, (1, 1), (2, 2), (0, 0, 0, 0)),
    "flat and wide kernel": Case((1, 8, 3, 20), 16, (1, 15), padding=(0, 0, 7, 7)),
    "tall kernel": Case((1, 8, 20, 3), 16, (15, 1), padding=(7, 7, 0, 0)),
    "whole kernel": Case((1, 8, 15, 15), 32, (15, 15), padding=(0, 0, 0, 0)),
    "two groups": Case((1, 128, 4, 5), 96, groups=2),
    "groups off the tile": Case((2, 48, 4, 5), 60, groups=3),
    "groups off 16 bytes in a pixel on them": Case((1, 32, 4, 5), 48, groups=4),
    "groups of whole tiles": Case((2, 48, 4, 5), 96, groups=3),
    "sum in parts": Case((1, 128, 4, 5), 64, split=3),
}


@dataclass(frozen=True)
class Tensors:
    """What a convolution is given.

    Args:
        x: [N, C, H, W].
        weight: [O, C / groups, kh, kw], two of every four channels of a tap zero.
        bias: [O], float32.
        residual: [N, O, P, Q], or None.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor
    residual: Tensor | None


def tensors(case: Case, dtype: torch.dtype, seed: int, *, real: bool = False) -> Tensors:
    """Return whole numbers, or normal ones."""
    gen = data.generator(seed)
    draw = data.reals if real else data.integers
    batch, channels = case.image[:2]
    mask = data.nm_mask(case.out, case.in_features, 2, 4, gen)
    taps = (case.out, *case.kernel, channels // case.groups)
    weight = (draw(mask.shape, gen, dtype) * mask).view(taps).permute(0, 3, 1, 2)
    y = (batch, case.out, *case.out_size)
    residual = None if case.residual == "none" else draw(y, gen, dtype)
    return Tensors(draw(case.image, gen, dtype), weight, draw((case.out,), gen), residual)


def expected(case: Case, given: Tensors) -> truth.Truth:
    """Return what F.conv2d says in float64, and the pieces of the bound."""
    top, bottom, left, right = case.padding
    x = F.pad(given.x.double(), (left, right, top, bottom))
    geometry = {"stride": case.stride, "dilation": case.dilation, "groups": case.groups}
    found = truth.conv2d(x, given.weight, given.bias, case.act, **geometry)
    if given.residual is None:
        return found
    added = given.residual.double()
    pre = found.pre + added if case.residual == "first" else found.pre
    y = truth.activation(case.act, pre)
    y = y if case.residual == "first" else y + added
    return truth.Truth(y, pre, found.absolute, found.terms, found.bias, added.abs(), case.act)


def pack(layout: str, case: Case, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return values and metadata, each group's rows padded to 32."""
    rows = weight.permute(0, 2, 3, 1).reshape(case.groups, -1, case.in_features)
    padded = F.pad(rows, (0, -rows.shape[2] % 64, 0, -rows.shape[1] % 32)).flatten(0, 1)
    return fragment24.pack(padded) if layout == "fragment24" else torch24.pack(padded, 32)


@dataclass(frozen=True)
class Run:
    """How a kernel is run.

    Args:
        seed: of the order in which threads run.
        resident: blocks that run interleaved.
        counted: tensors of which reads are counted.
        margin: channels behind each pixel of x, y and the residual that are not theirs: NaN in x,
            and checked to be untouched in y.
        changes: fields of the arguments that shall be something else.
    """

    seed: int = 0
    resident: int = 1
    counted: Collection[str] = ()
    margin: int = 0
    changes: Mapping[str, int] = field(default_factory=dict)


def launch(
    emulator: Emulator, name: str, case: Case, given: Tensors, run: Run | None = None
) -> tuple[Tensor, Outcome]:
    """Return y [N, O, P, Q] and what the launch did."""
    run = run or Run()
    values, meta = pack(emulator.kernel(name).layout, case, given.weight)
    residual = given.residual
    y = poisoned(case.image[0], *case.out_size, case.out + run.margin, dtype=given.x.dtype)
    fields: dict[str, Tensor | int | float | None] = {
        "values": values,
        "meta": meta,
        "x": _nhwc(given.x, run.margin),
        "y": y,
        "bias": given.bias,
        "residual": None if residual is None else _nhwc(residual, run.margin),
        "x_stride": case.image[1] + run.margin,
        "y_stride": case.out + run.margin,
        "type": structs.enum("Type")["f16" if given.x.dtype == torch.float16 else "bf16"],
        **_sizes(case),
        **run.changes,
    }
    outcome = emulator.launch(
        name, fields, seed=run.seed, resident=run.resident, counted=run.counted
    )
    beside = y[..., case.out :].contiguous().view(torch.uint8)
    assert bool((beside == 0xFF).all()), "written behind the channels of y"
    return y[..., : case.out].permute(0, 3, 1, 2), outcome


def _sizes(case: Case) -> dict[str, int]:
    batch, channels, height, width = case.image
    return {
        "batch": batch,
        "height": height,
        "width": width,
        "in_channels": channels,
        "out_height": case.out_size[0],
        "out_width": case.out_size[1],
        "out_channels": case.out,
        "groups": case.groups,
        "kernel_height": case.kernel[0],
        "kernel_width": case.kernel[1],
        "stride_height": case.stride[0],
        "stride_width": case.stride[1],
        "dilation_height": case.dilation[0],
        "dilation_width": case.dilation[1],
        "pad_top": case.padding[0],
        "pad_left": case.padding[2],
        "padded_in": -(-case.in_features // 64) * 64,
        "padded_out": case.groups * (-(-case.out // case.groups // 32) * 32),
        "act": structs.enum("Act")[case.act],
        "residual_first": int(case.residual == "first"),
        "split": case.split,
    }


def _nhwc(image: Tensor, margin: int) -> Tensor:
    """Return [N, H, W, C + margin], NaN in the margin."""
    return F.pad(image.permute(0, 2, 3, 1), (0, margin), value=float("nan")).contiguous()
