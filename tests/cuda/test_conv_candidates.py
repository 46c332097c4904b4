"""From a packed convolution to a kernel's source, on the emulated GPU, and what its limits say."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from typing import Any

import pytest
import torch

from secateur import ops
from secateur.backends import gpus, roofline
from secateur.backends.candidates import CANDIDATES
from secateur.backends.convolution import Convolution
from secateur.backends.cuda import _library, semi_frag_conv2d
from secateur.nn import SparseConv2d
from secateur.ops import _cuda
from tests.support import gpu_conv as checks
from tests.support import judge
from tests.support.cuda import structs
from tests.support.cuda.bound import TYPES, Bound, both
from tests.support.cuda.convolved import CASES, tensors
from tests.support.cuda.emulator import Emulator

CPU, A100 = torch.device("cpu"), gpus.KNOWN[0]
OURS = CANDIDATES.get("semi_frag_conv2d")


@pytest.mark.parametrize("dtype", list(TYPES), ids=str)
def test_every_kernel_is_exact_wherever_the_candidate_runs(
    bound: Bound, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [kernel.name for kernel in _library.of_op("nm_conv2d", "fragment24")]
    assert len(names) >= 3
    for name in names:
        monkeypatch.setattr(semi_frag_conv2d, "named", lambda *_, only=name: only)
        bound.ran.clear()
        count = checks.exact(OURS, A100, CPU, dtype)
        assert bound.ran == [name] * count
        assert count >= len(CASES) - 2  # two have groups whose outputs are no whole tiles


def test_where_x_lies_and_what_is_infinite(bound: Bound) -> None:
    checks.strided(OURS, CPU)
    checks.infinite(OURS, CPU)


def test_an_image_that_lies_right_is_not_copied() -> None:
    from secateur.backends.cuda.semi_frag_conv2d import pixels

    x = torch.zeros(2, 24, 5, 6, dtype=torch.float16).contiguous(memory_format=torch.channels_last)
    for view in (x, x[:, 8:], x[:1], x[:, :, :, :1][:1]):
        assert pixels(view).data_ptr() == view.data_ptr()
        assert torch.equal(pixels(view), view.permute(0, 2, 3, 1))


def order(work: roofline.Work, gpu: gpus.Gpu) -> list[tuple[int, ...]]:
    """The tiles that a GPU's kernels have, the first one's first."""
    return [k.tile[:2] for k in semi_frag_conv2d.in_order(torch.float16, work, gpu)]


@pytest.mark.usefixtures("bound")
def test_the_models_tiles_are_the_librarys() -> None:
    kernels = _library.of_op("nm_conv2d", "fragment24")
    assert {kernel.tile[:2] for kernel in kernels} == set(roofline.CONV_TILES)


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("gpu", gpus.KNOWN, ids=lambda gpu: gpu.name)
@pytest.mark.parametrize(("out", "side", "columns"), [(64, 56, 576), (256, 14, 2304), (40, 7, 64)])
def test_the_kernel_that_runs_is_the_one_that_is_predicted(
    gpu: gpus.Gpu, out: int, side: int, columns: int
) -> None:
    for batch in (1, 32, 128):
        work = roofline.Work(batch * side * side, out, columns, 0.5)
        times = [roofline.semi_convolution_tile(work, gpu, tile) for tile in order(work, gpu)]
        assert times == sorted(times)
        assert len(times) == len(roofline.CONV_TILES)


@pytest.mark.usefixtures("bound")
def test_few_pixels_get_a_small_tile_and_few_outputs_a_flat_one() -> None:
    assert order(roofline.Work(49, 512, 4608, 0.5), A100)[0] == (64, 64)
    assert order(roofline.Work(32 * 56 * 56, 64, 576, 0.5), A100)[0] == (64, 128)
    assert order(roofline.Work(32 * 56 * 56, 256, 576, 0.5), A100)[0] == (128, 128)


@pytest.mark.parametrize("case", ["3x3", "padding of one side", "groups of whole tiles"])
@pytest.mark.parametrize("residual", ["none", "last", "first"])
def test_the_op_reaches_a_kernel(
    bound: Bound, case: str, residual: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cuda, "_DECIDED", {})
    asked = replace(CASES[case], act="relu", residual=residual)
    made = checks.make(asked, CPU)
    call, conv = made.operands, checks.convolution(asked)
    tensors = (call.x, call.values, call.index, call.bias, call.residual)
    options: dict[str, Any] = {
        "out_channels": asked.out,
        "kernel_size": conv.kernel_size,
        "stride": conv.stride,
        "padding": conv.padding,
        "dilation": conv.dilation,
        "groups": conv.groups,
        "act": "relu",
        "residual_first": residual == "first",
    }
    for x in (call.x, call.x.contiguous()):
        y = ops.semi_frag_conv2d.cuda(x, *tensors[1:], **options)
        judge.exact_truth(y, made.truth)
        last = torch.channels_last if x is call.x else torch.contiguous_format
        assert y.is_contiguous(memory_format=last)
    assert len(bound.ran) == 2
    if call.residual is not None:
        over = call.residual.clone()
        ops.semi_frag_conv2d._cuda_over(*tensors[:4], over, **options)
        judge.exact_truth(over, made.truth)
        wide = ops.semi_frag_conv2d.cuda(*tensors[:4], call.residual.float(), **options)
        judge.exact_truth(wide, made.truth)
    assert len(bound.ran) == (2 if call.residual is None else 4)


def test_a_layer_settles_and_its_op_reaches_a_kernel(
    bound: Bound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cuda, "_DECIDED", {})
    case = CASES["groups of whole tiles"]
    given = tensors(case, torch.float16, seed=3)
    conv = torch.nn.Conv2d(case.image[1], case.out, case.kernel, padding=1, groups=case.groups)
    conv.weight.data, conv.bias.data = given.weight.clone(), given.bias.half()
    layer = SparseConv2d.from_dense(conv)
    wanted = layer(given.x)
    layer._settle("cuda")
    assert layer.format == "semi_frag"
    monkeypatch.setattr(ops.semi_frag_conv2d, "_infer", ops.semi_frag_conv2d.cuda)
    with torch.no_grad():
        judge.exact(layer(given.x), wanted)
    assert len(bound.ran) == 1


WITHIN: dict[str, dict[str, Any]] = {
    "plain": {},
    "the widest kernel": {"kernel_size": (15, 15)},
    "many images": {"image": (2**14, 8, 150, 150)},
    "a tall image": {"image": (1, 8, 2**19 - 1, 8)},
    "groups": {"image": (1, 64, 8, 8), "groups": 2},
}
BEYOND: dict[str, dict[str, Any]] = {
    "channels": {"image": (1, 12, 8, 8)},
    "channels of a group": {"image": (1, 24, 8, 8), "groups": 2},
    "a wide kernel": {"kernel_size": (3, 16)},
    "a tall image": {"image": (1, 8, 2**20, 8)},
    "wide padding": {"padding": (2**20, 0, 0, 0)},
    "pixels": {"image": (2**20, 8, 64, 64)},
    "groups": {"image": (1, 8 * 65536, 1, 1), "groups": 65536, "kernel_size": (1, 1)},
}


def refusal(emulator: Emulator, conv: Convolution, out: int) -> str:
    """What the small kernel says of sizes, whose pointers are none."""
    args = structs.args_of("nm_conv2d")()
    padded = -(-out // conv.groups // 32) * 32 * conv.groups
    fields: dict[str, int] = {
        **dict(zip(("batch", "in_channels", "height", "width"), conv.image, strict=True)),
        **both("out", list(conv.out_size)),
        "out_channels": out,
        "groups": conv.groups,
        **both("kernel", list(conv.kernel_size)),
        **both("stride", list(conv.stride)),
        **both("dilation", list(conv.dilation)),
        "pad_top": conv.padding[2],
        "pad_left": conv.padding[0],
        "padded_in": -(-conv.columns // 64) * 64,
        "padded_out": padded,
        "x_stride": -(-conv.image[1] // 8) * 8,
        "y_stride": out,
        "type": structs.enum("Type")["f16"],
    }
    for name, value in fields.items():
        setattr(args, name, value)
    assert isinstance(args, ctypes.Structure)
    return emulator.refusal("nm_conv2d_sm80_frag_64x64", args)


def small(**changes: Any) -> tuple[Convolution, int]:
    conv = Convolution(**{"image": (1, 64, 8, 8), "kernel_size": (3, 3), **changes})
    return conv, 64 * conv.groups


@pytest.mark.parametrize("changes", WITHIN.values(), ids=WITHIN)
def test_what_the_candidate_takes_the_kernel_takes(
    emulator: Emulator, changes: dict[str, Any]
) -> None:
    conv, out = small(**changes)
    problem = checks.Problem.of_convolution(conv, out, 0.5)
    assert OURS.refuses(problem, A100) is None
    assert refusal(emulator, conv, out) == ""


@pytest.mark.parametrize("changes", BEYOND.values(), ids=BEYOND)
def test_what_the_kernel_refuses_the_candidate_says_in_words(
    emulator: Emulator, changes: dict[str, Any]
) -> None:
    conv, out = small(**changes)
    problem = checks.Problem.of_convolution(conv, out, 0.5)
    assert refusal(emulator, conv, out) != ""
    assert ", got " in str(OURS.refuses(problem, A100))


def test_groups_of_no_whole_tiles_are_refused_though_a_kernel_would_run_them(
    emulator: Emulator,
) -> None:
    conv = Convolution((1, 64, 8, 8), (3, 3), groups=2)
    problem = checks.Problem.of_convolution(conv, 96, 0.5)
    assert refusal(emulator, conv, 96) == ""  # of another packing
    assert "outputs of a group divisible by 32, got 48" in str(OURS.refuses(problem, A100))
