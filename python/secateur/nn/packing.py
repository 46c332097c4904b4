"""Which packed format a weight takes, and the op that goes with each. Formats know the bytes."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from secateur import ops
from secateur.backends import registry
from secateur.formats import FORMATS, Header, Packed

# A mask that is only inferred from zeros may miss a kept weight that is zero by chance; a regular
# format then fills the slot. More fillers than this fraction means that the pattern is not the
# mask's own.
FILLER_LIMIT = 1 / 64
GROUPS = (4, 8, 16)
FEW_ROWS = 4  # rows of x up to which formats for few rows are worth measuring
BITMAP_KEPT = 1 / 4  # share of the weights that a bitmap must keep for that
GPU = ("semi_frag", "bsr", "n32", "nm", "lb32")
ON_GPU_ONLY = frozenset(
    {"semi_frag", "semi", "semi8", "n32", "lb32"}
)  # formats without a kernel on the CPU
BY_TORCH = frozenset({"rows"})  # formats whose op is made of torch's own products


def n_of_m(mask: Tensor, *, inferred: bool) -> tuple[int, int] | None:
    """Return the (N, M) that `mask` [out, in] obeys with N KEPT in every group of M, or None.

    Args:
        mask: bool, True where a weight is kept.
        inferred: whether the mask may have lost a few kept weights that are zero.
    """
    kept = int(mask.count_nonzero())
    for m in GROUPS:
        if mask.shape[1] % m or not kept:
            continue
        n = int(mask.reshape(-1, m).sum(dim=1).max())
        missing = mask.numel() // m * n - kept
        if n < m and missing <= (FILLER_LIMIT * kept if inferred else 0):
            return n, m
    return None


def describes(name: str, mask: Tensor, *, inferred: bool) -> bool:
    """Tell whether the format `name` describes `mask` [out, in]: few or no fillers (`n_of_m`)."""
    packer, kept = FORMATS.get(name), int(mask.count_nonzero())
    if not 0 < kept < mask.numel() or packer.fits(mask) is not None:
        return False
    return packer.slots(mask) - kept <= (FILLER_LIMIT * kept if inferred else 0)


def candidates(mask: Tensor, *, inferred: bool, rows: Collection[int] = ()) -> list[str]:
    """Return the formats worth measuring for `mask`, the smaller first and "csr" last.

    Args:
        mask: bool, [out, in].
        inferred: whether the mask may have lost a few kept weights that are zero.
        rows: all the row counts that matter, if they are known: a format for few is left out
            where there may be others.
    """
    found = [name for name in ("rows", "bsr") if describes(name, mask, inferred=inferred)]
    if n_of_m(mask, inferred=inferred) and FORMATS.get("nm").fits(mask) is None:
        found.append("nm")
    if rows and max(rows) <= FEW_ROWS:
        found += ["bitmap"] if int(mask.count_nonzero()) >= BITMAP_KEPT * mask.numel() else []
        found.append("sell")
    return [*found, "csr"]


def convolving(mask: Tensor, groups: int, *, inferred: bool) -> list[str]:
    """Return the formats worth measuring for a convolution with `mask` [out, kh * kw * in].

    Args:
        mask: bool.
        groups: of the convolution.
        inferred: as for `candidates`.
    """
    found = [name for name in candidates(mask, inferred=inferred) if name in convolved()]
    found = [name for name in found if FORMATS.get(name).divides(mask, groups)]
    return [name for name in found if groups == 1 or name not in BY_TORCH]


def on_gpu(mask: Tensor) -> list[str]:
    """Return the formats that kernels on GPUs read and that `mask` [out, in] fits, best first.

    What is regular comes first; "lb32" takes any mask.
    """
    readable = registry.formats()
    return [name for name in GPU if name in readable and FORMATS.get(name).fits(mask) is None]


def convolving_on_gpu(mask: Tensor, groups: int) -> list[str]:
    """Return the formats that kernels on GPUs convolve with and that a mask fits, best first.

    Args:
        mask: bool, [out, kh * kw * in / groups].
        groups: of the convolution.
    """
    return [name for name, reason in unfit_on_gpu(mask, groups).items() if reason is None]


def unfit_on_gpu(mask: Tensor, groups: int) -> dict[str, str | None]:
    """Return for each format that kernels on GPUs convolve with why it does not fit, or None."""
    readable = registry.formats(convolves=True)
    found: dict[str, str | None] = {}
    for name in (name for name in GPU if name in readable):
        found[name] = FORMATS.get(name).fits(mask)
        if found[name] is None and not FORMATS.get(name).divides(mask, groups):
            found[name] = f"its tiles would have rows of two of the {groups} groups"
    return found


def choose(mask: Tensor, *, inferred: bool, device: torch.device | None = None) -> str:
    """Return the name of the best format for `mask` on a device; None is the CPU."""
    if device is not None and device.type == "cuda":
        return on_gpu(mask)[0]
    return candidates(mask, inferred=inferred)[0]


def slots(format: str, mask: Tensor) -> int:
    """Return how many values a fitting mask takes."""
    return FORMATS.get(format).slots(mask)


def pack(
    weight: Tensor, mask: Tensor, format: str | None, *, inferred: bool, groups: int | None = None
) -> Packed:
    """Pack `weight` [out, in] where `mask` (bool) is set; format None chooses.

    `groups` are a convolution's; None: of a linear layer.

    Raises:
        ValueError: if the format is unknown or does not fit the mask.
    """
    device = weight.device if groups is None else None
    name = choose(mask, inferred=inferred, device=device) if format is None else format
    packer = FORMATS.get(name)
    reason = packer.fits(mask)
    if reason is not None:
        raise ValueError(f"format: {name!r} does not fit this mask: {reason}; use format='csr'")
    if groups is None:
        return packer.pack(weight, mask)
    return packer.pack(weight, mask, packer.conv_layout(mask, groups))


def pattern(format: str, mask: Tensor) -> tuple[int, ...]:
    """Return what of `mask`, beside its count, decides how fast its weight runs."""
    return FORMATS.get(format).pattern(mask)


def unpack(format: str, values: Tensor, index: Tensor) -> Tensor:
    """Return the dense weight [out, in]."""
    return FORMATS.get(format).unpack(values, index)


def rows(format: str, index: Tensor) -> Tensor:
    """Return the output that each value slot in use belongs to, int64."""
    return FORMATS.get(format).positions(index)[0]


def occupied(format: str, index: Tensor) -> slice | Tensor:
    """Return which elements of the values are slots in use, ascending."""
    return FORMATS.get(format).occupied(index)


def floats(format: str, values: Tensor, index: Tensor, scale: Tensor | None) -> Tensor:
    """Return the values as numbers: int8 times the scale of their output, others as they are."""
    if scale is None:
        return values.detach()
    at = rows(format, index)
    numbers = values.detach().float()
    numbers[occupied(format, index)] *= scale[at]
    return numbers


def mask(format: str, index: Tensor) -> Tensor:
    """Return the mask, bool [out, in], on the index's device."""
    header = Header.read(index)
    kept = torch.zeros(
        header.out_features, header.in_features, dtype=torch.bool, device=index.device
    )
    kept[FORMATS.get(format).positions(index)] = True
    return kept


def kept(index: Tensor) -> int:
    """Return how many weights have a slot."""
    return Header.read(index).nnz


def transpose(format: str, index: Tensor) -> Tensor:
    """Return the index of the transposed weight, for the gradient of x."""
    return FORMATS.get(format).transpose(index)


def linear(format: str) -> Callable[..., Tensor]:
    """Return the op that multiplies with weights of this format."""
    op: Callable[..., Tensor] = getattr(ops, f"{format}_linear")
    return op


def conv2d(format: str) -> Callable[..., Tensor]:
    """Return the op that convolves with weights of this format."""
    op: Callable[..., Tensor] = getattr(ops, f"{format}_conv2d")
    return op


def convolved() -> list[str]:
    """Return the formats that have a convolution."""
    return [name for name in FORMATS.names() if hasattr(ops, f"{name}_conv2d")]
