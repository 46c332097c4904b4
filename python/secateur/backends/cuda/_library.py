"""The second library, `_C_cuda`: found and loaded once where torch has CUDA, or the reason why not.

It needs symbols that only a torch built for CUDA has, so nothing else may try to load it.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from secateur.backends import gpus, roofline
from secateur.backends.gpus import Gpu
from secateur.backends.roofline import Work

LEAST = 80  # compute capability: cp.async, mma.sync of bfloat16, mma.sp
_ELSEWHERE = "SECATEUR_CUDA_EXTENSION"  # path of another build
_HIDDEN = "SECATEUR_NO_EXTENSION"

_SCHEMA = (
    "(str kernels, Tensor x, Tensor values, Tensor index, int meta_offset, Tensor? bias, "
    "Tensor? residual, Tensor? scale, Tensor? x_scale, int out_features, int padded_out, "
    "int padded_in, str act) -> Tensor"
)
_DEFINED: Any = torch.library.Library("secateur", "FRAGMENT")
_DEFINED.define("cuda_nm_linear" + _SCHEMA)
_LANES = (
    "(str kernels, Tensor x, Tensor values, Tensor index, int[] offsets, int n, int most, "
    "Tensor? bias, Tensor? residual, int out_features, str act) -> Tensor"
)
_DEFINED.define("cuda_lane_linear" + _LANES)
_TO_DENSE = (
    "(str kernels, Tensor values, Tensor index, int[] offsets, int n, int out_features, "
    "int in_features) -> Tensor"
)
_DEFINED.define("cuda_to_dense" + _TO_DENSE)
_NM_PACK = (
    "(str kernels, Tensor weight, Tensor? mask, Tensor(a!) values, Tensor(b!) index, "
    "Tensor(c!) faults, int meta_offset, int padded_out, int padded_in, bool prune) -> ()"
)
_DEFINED.define("cuda_nm_pack" + _NM_PACK)
_NM_UNPACK = (
    "(str kernels, Tensor values, Tensor index, Tensor(a!) faults, int meta_offset, "
    "int out_features, int in_features, int padded_out, int padded_in) -> Tensor"
)
_DEFINED.define("cuda_nm_unpack" + _NM_UNPACK)
_CONV = (
    "(str kernels, Tensor x, Tensor values, Tensor index, int meta_offset, Tensor? bias, "
    "Tensor? residual, int out_channels, int[] out_size, int[] kernel_size, int[] stride, "
    "int[] padding, int[] dilation, int groups, int padded_out, int padded_in, str act, "
    "bool residual_first) -> Tensor"
)
_DEFINED.define("cuda_nm_conv2d" + _CONV)


@dataclass(frozen=True)
class Kernel:
    """One compiled kernel, as the library's table has it (csrc/cuda/kernel.h).

    Attributes:
        op: its contract, for example ``"nm_linear"``.
        name: ``<op>_<file>``.
        capability: the least compute capability, 80 for 8.0.
        types: of x, ``("f16", "bf16")``.
        layout: of the weight, a word of the contract.
        tile: outputs, rows of x and columns that a block works on at a time.
    """

    op: str
    name: str
    capability: int
    types: tuple[str, ...]
    layout: str
    tile: tuple[int, int, int]


def path() -> str:
    """Return where the library lies, or an empty string."""
    if os.environ.get(_ELSEWHERE):
        return os.environ[_ELSEWHERE]
    spec = importlib.util.find_spec("secateur._C_cuda")
    if spec is not None and spec.origin:
        return spec.origin
    beside = Path(__file__).parents[2] / "_C_cuda.so"
    return str(beside) if beside.exists() else ""


def why_not() -> str:
    """Return why no CUDA kernel of ours runs here, in one sentence; empty where they do."""
    if os.environ.get(_HIDDEN, "") not in ("", "0"):
        return f"the environment variable {_HIDDEN} is set"
    if torch.version.cuda is None:
        return (
            f"torch {torch.__version__} was built without CUDA; install a build of torch for CUDA"
        )
    if not torch.cuda.is_available():
        return "torch finds no CUDA device: there is no GPU here, or no driver for it"
    if not path():
        return (
            "the CUDA kernels were not built; install the CUDA toolkit (nvcc) and install "
            "secateur again with --no-build-isolation"
        )
    if _failure():
        return f"{path()} does not load ({_failure()}); install secateur again"
    return too_old(
        max(_capability(index) for index in range(torch.cuda.device_count())), _device_name()
    )


def too_old(capability: int, name: str) -> str:
    """Return why a GPU of this compute capability runs none of the kernels, or ""."""
    if capability >= LEAST:
        return ""
    return (
        f"{name} has compute capability {capability // 10}.{capability % 10}, the kernels need "
        f"{LEAST // 10}.0"
    )


def kernels() -> list[Kernel]:
    """Return every kernel of the library; empty where it is not loaded."""
    if why_not():
        return []
    table = ctypes.CDLL(path()).secateur_cuda_kernels
    table.restype = ctypes.c_char_p
    return parsed(table().decode())


def parsed(text: str) -> list[Kernel]:
    """Return the kernels of the library's own listing, one a line."""
    found = []
    for line in text.splitlines():
        op, name, capability, types, layout, *numbers = line.split()
        _threads, _shared, _stages, *tile, _args = map(int, numbers)
        out, rows, columns = tile
        sides = (out, rows, columns)
        found.append(Kernel(op, name, int(capability), tuple(types.split(",")), layout, sides))
    return found


@functools.cache
def family(layout: str, words: str) -> tuple[Kernel, ...]:
    """Return the kernels of linear layers that read a layout and have `words` in their name.

    Words of "" are any; those of a family of one name go with it: "decode" is no part of "".
    """
    linear = (kernel for kernel in kernels() if kernel.op.endswith("_linear"))
    found = [kernel for kernel in linear if kernel.layout == layout]
    if words:
        return tuple(kernel for kernel in found if words in kernel.name)
    return tuple(kernel for kernel in found if "decode" not in kernel.name)


def able(kernels: Iterable[Kernel], type: torch.dtype, gpu: Gpu) -> list[Kernel]:
    """Return the kernels that a GPU runs on x of a type."""
    word = {torch.float16: "f16", torch.bfloat16: "bf16", torch.int8: "i8"}[type]
    return [k for k in kernels if k.capability <= gpu.capability and word in k.types]


def in_order(kernels: Iterable[Kernel], type: torch.dtype, work: Work, gpu: Gpu) -> list[Kernel]:
    """Return the kernels that a GPU runs on x of a type, the fastest by the model first.

    The one place that orders kernels of linear layers; those that take what others refuse, and are
    slow, are last.

    Args:
        kernels: of one family of linear layers.
        type: of x.
        work: the product.
        gpu: that runs it.
    """

    def cost(kernel: Kernel) -> tuple[int, float, int]:
        last = 2 * kernel.name.endswith("_simple") + kernel.name.endswith("_anywhere")
        high, wide, _ = kernel.tile
        return last, roofline.semi_product_tile(work, gpu, (high, wide)), -high * wide

    return sorted(able(kernels, type, gpu), key=cost)


@functools.lru_cache(maxsize=4096)
def named(layout: str, words: str, type: torch.dtype, work: Work, device: torch.device) -> str:
    """Return the kernels for a call, names parted by commas, best first; see `in_order`."""
    return names(in_order(family(layout, words), type, work, gpus.of(device.index or 0)))


@functools.lru_cache(maxsize=256)
def able_names(layout: str, words: str, type: torch.dtype, device: torch.device) -> str:
    """Return the same of a family whose kernels do not differ in their tiles."""
    return names(able(family(layout, words), type, gpus.of(device.index or 0)))


def names(kernels: Iterable[Kernel]) -> str:
    """Return the names of kernels as the library's ops take them, parted by commas."""
    return ",".join(kernel.name for kernel in kernels)


@functools.cache
def of_op(op: str, layout: str) -> tuple[Kernel, ...]:
    """Return the kernels of an op that is no linear layer, for a layout."""
    return tuple(kernel for kernel in kernels() if (kernel.op, kernel.layout) == (op, layout))


def without_op(op: str, layout: str) -> str:
    """Return why no kernel of an op is here for a layout, or ""."""
    reason = why_not()
    if reason or of_op(op, layout):
        return reason
    return f"the CUDA library has no {op} for the layout {layout!r}; install secateur again"


def without(layout: str, words: str) -> str:
    """Return why no kernel of a family is here, or ""."""
    reason = why_not()
    if reason or family(layout, words):
        return reason
    which = f"the layout {layout!r}" + (f" called {words}" if words else "")
    return f"the CUDA library has no kernel for {which}; install secateur again"


@functools.cache
def _failure() -> str:
    try:
        torch.ops.load_library(path())
    except OSError as error:
        return str(error)
    return ""


def _capability(index: int) -> int:
    major, minor = torch.cuda.get_device_capability(index)
    return 10 * major + minor


def _device_name() -> str:
    return str(torch.cuda.get_device_name(0))
