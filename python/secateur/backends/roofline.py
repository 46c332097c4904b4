"""A roofline model of GPU kernels: predicts, never measures, so it is the same everywhere.

A time is the largest of what each limit asks for (bytes over bandwidth, multiplications over the
tensor peak, instructions over issue slots), plus the floor of a launch. A limit is reached to a
share; every share is an estimate with its ground beside it, to be replaced by measurements. Shares
of memory and of cuBLAS are in both sides of a ratio, so the ratio is what is to be trusted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from secateur.backends.gpus import Gpu

LAUNCH_US = 2.0
"""Floor of a kernel in a CUDA graph: launch, first bytes from memory, drain."""

DENSE_MEMORY = 0.90
"""Share of the bandwidth: 3.0 of 3.35 TB/s were measured on an H100 by a copy."""
DENSE_MATH = 0.81
"""cuBLAS at its best: 798 of 989 TFLOP/s were measured on an H100."""

DECODE_MEMORY = 0.83
"""2:4 decode streams as a copy does, and adds what the metadata's second stream costs."""
SEMI_MATH = 0.65
"""Of the doubled peak: CUTLASS reached 0.78 at 16384³ on an A100; less where there are fewer."""
LEGACY_MATH = {8: 1.0, 9: 0.5, 10: 0.35, 12: 1.0}
"""Share of the peak open to mma.sync, by major capability: Hopper wants wgmma, Blackwell tcgen05.
At 768 x 4096 x 4096 CUTLASS's sm_80 kernel took 1.62 times as long as dense on an H100."""
CUSPARSELT_GAIN = {8: 1.35, 9: 1.2, 10: 1.2, 12: 1.2}
"""Over cuBLAS for large products: 1.66 on a 3090 and 1.1 on an A100; 1.20 to 1.22 on an H100."""
CUSPARSELT_LAUNCHES = 3
"""Kernels that one of its calls launches, with what torch adds."""
CUSPARSELT_MEMORY = 0.50
"""Nobody reports it faster than dense where memory is the limit: 0.40 to 0.95 times on an H100."""

LANE_MEMORY = 0.80
"""Values and masks stream, and a scan finds where each lane begins."""
SCATTER_MEMORY = 0.70
"""The scatter path zeroes and rereads a tile of shared memory between its loads."""
LANE_INSTRUCTIONS = 6.0
"""For each dense position, counted in SASS of sm_80 for 32 weights a lane."""
BALANCED_INSTRUCTIONS = 4.0
"""Without the scan and the predicate's address step of lb32."""
SCATTER_INSTRUCTIONS = (0.6, 8.0)
"""For each dense position (zeroing, ldmatrix), and for each kept weight (unpack, store)."""
ISSUE = 0.85
"""Share of the issue slots that loops like these fill: an estimate."""
CONFLICTS = ((0.05, 1.0), (0.1, 1.35), (0.2, 1.8), (0.3, 2.2), (0.5, 2.9), (1.0, 3.4))
"""(Kept fraction, wavefronts) of a load of two-byte values at the addresses that 32 lanes have
reached: between what random banks give (2.4 at a half) and twice that."""

BLOCK_MATH = 0.45
"""Triton reaches 60 to 75 % of cuBLAS on sm_80, less on sm_90; rows of blocks are uneven."""
BLOCK_MEMORY = 0.80
"""Decoding by Triton, pipelined three or four deep: an estimate."""
EXPAND_MATH = 0.50
"""Tensor cores fed by the compress-load-expand loop of a Triton kernel."""

TILE = 128
"""Sides of the one tile of the 2:4 products of torch and of cuSPARSELt, as far as is known."""
SEMI_TILES = ((128, 128), (128, 64), (64, 64), (64, 32))
"""(Outputs, rows of x) of a block's tile in our 2:4 products, that both layouts have."""
INT8_TILES = ((128, 128), (64, 64))
"""Likewise of int8."""
SEMI_SPLIT = (128, 4, 16)
"""Blocks that a sum is split for in tiles of few outputs, least steps of a part, most parts:
csrc/cuda/nm_linear."""
SPLITTING = 64
"""Outputs of the tiles whose sums may be split."""
CONV_TILES = ((128, 128), (64, 128), (64, 64))
"""(Outputs, pixels) of a block's tile in our convolutions of fragments; the last is split."""
CUDNN_TILES = ((256, 128), (128, 256), (128, 128), (64, 256), (64, 128), (64, 64))
"""Likewise of cuDNN: the tiles that CUTLASS has; which of them cuDNN takes, it does not tell. It is
taken to reach cuBLAS's share of the peak, and never to wait for L2: both favour it."""
CONV_MATH = 0.55
"""Of the doubled peak: what SEMI_MATH is, less for taps and borders at each step: an estimate."""
STEP_BYTES = 128
"""Of a row of x, or a pixel, in a step of a tile: a line of the cache."""
CONV_SPLIT = (128, 8, 8)
"""Blocks that a sum is split for, least steps of a part, most parts: csrc/cuda/nm_conv2d."""
L2_BYTES = 47
"""A clock and multiprocessor, from L2: 5120 for the 108 of an A100, by its whitepaper. The taps of
a convolution, and the tiles of a row, read a pixel again from there."""


@dataclass(frozen=True)
class Work:
    """One product, as the model sees it.

    Attributes:
        rows: of x.
        out_features: of the weight.
        in_features: of the weight.
        density: fraction kept.
        item: bytes of a value.
        read: elements of x, where they are not rows x in_features: of a convolution.
        groups: of a convolution.
        ends: bytes of an element of x, and of y; None: as of a value, two at least.
    """

    rows: int
    out_features: int
    in_features: int
    density: float
    item: int = 2
    read: int | None = None
    groups: int = 1
    ends: tuple[int, int] | None = None

    @property
    def weights(self) -> int:
        """Positions of the weight."""
        return self.out_features * self.in_features

    @property
    def moved(self) -> int:
        """Bytes of x and y."""
        read = self.rows * self.in_features if self.read is None else self.read
        of_x, of_y = self.ends or (max(self.item, 2),) * 2
        return self.rows * self.out_features * of_y + read * of_x


def launches(count: float = 1) -> float:
    """Return the seconds that `count` launches take at least."""
    return count * LAUNCH_US * 1e-6


def memory(gpu: Gpu, weight_bytes: float, work: Work, share: float) -> float:
    """Return the seconds in which weight, x and y pass once."""
    return (weight_bytes + work.moved) / (gpu.bandwidth * 1e9 * share)


def math_s(gpu: Gpu, work: Work, share: float, rows: int | None = None) -> float:
    """Return the seconds of a dense product's multiplications on tensor cores."""
    rate = gpu.peak * 1e12 * (gpu.int8 if work.item == 1 else 1)
    return 2.0 * work.weights * (work.rows if rows is None else rows) / (rate * share)


def by_major(table: dict[int, float], gpu: Gpu) -> float:
    """Return the entry of a GPU's major capability, or of the nearest below."""
    major = gpu.capability // 10
    return table[max((key for key in table if key <= major), default=min(table))]


def idle(gpu: Gpu, out_features: int, rows: int) -> float:
    """Return by how much tiles that do not fill their last wave prolong a product."""
    tiles = -(-out_features // TILE) * -(-rows // TILE)
    waves = -(-tiles // gpu.sms)
    return waves * gpu.sms / tiles


def semi_bytes(work: Work) -> float:
    """Return the bytes of a 2:4 weight: half the values, and two bits for each of them."""
    return work.weights * (work.item / 2 + 0.125)


def dense(work: Work, gpu: Gpu) -> float:
    """Return the seconds of cuBLAS."""
    bytes_s = memory(gpu, work.weights * max(work.item, 2), work, DENSE_MEMORY)
    return max(bytes_s, math_s(gpu, work, DENSE_MATH)) + launches()


def int8_work(rows: int, out_features: int, in_features: int) -> Work:
    """Return the product of int8 x and an int8 2:4 weight: y is float32, of cuBLAS int32."""
    return Work(rows, out_features, in_features, 0.5, item=1, ends=(1, 4))


def int8_dense(work: Work, gpu: Gpu) -> float:
    """Return the seconds of cuBLAS on int8 x and an int8 weight, which is no more than the sums."""
    bytes_s = memory(gpu, work.weights * work.item, work, DENSE_MEMORY)
    return max(bytes_s, math_s(gpu, work, DENSE_MATH)) + launches()


def semi_decode(work: Work, gpu: Gpu) -> float:
    """Return the seconds of the 2:4 decode kernel: half the values, 2 bits for each of them."""
    bytes_s = memory(gpu, semi_bytes(work), work, DECODE_MEMORY)
    share = 2 * SEMI_MATH * by_major(LEGACY_MATH, gpu)
    return max(bytes_s, math_s(gpu, work, share, max(work.rows, 8))) + launches()


def semi_product(work: Work, gpu: Gpu) -> float:
    """Return the seconds of a 2:4 product by mma.sp, in the best of its tiles."""
    bytes_s = memory(gpu, semi_bytes(work), work, DECODE_MEMORY)
    tiles = INT8_TILES if work.item == 1 else SEMI_TILES
    return max(bytes_s, min(semi_product_tile(work, gpu, tile) for tile in tiles)) + launches()


def semi_product_tile(work: Work, gpu: Gpu, tile: tuple[int, int]) -> float:
    """Return the seconds that multiplications and reads from L2 take in a tile of outputs, rows."""
    share = 2 * SEMI_MATH * by_major(LEGACY_MATH, gpu)
    split = SEMI_SPLIT if tile[0] == SPLITTING else None
    return _in_tile(work, gpu, tile, share, position=work.item / 2 + 0.125, split=split)


def torch_semi(work: Work, gpu: Gpu) -> float:
    """Return the seconds of torch's own 2:4 product: the same, in tiles of 128 x 128 alone."""
    bytes_s = memory(gpu, semi_bytes(work), work, DECODE_MEMORY)
    rows = -(-max(work.rows, 1) // TILE) * TILE
    busy = math_s(gpu, work, 2 * SEMI_MATH, rows) * idle(gpu, work.out_features, work.rows)
    return max(bytes_s, busy) + launches(2)


def cusparselt(work: Work, gpu: Gpu) -> float:
    """Return the seconds of cuSPARSELt."""
    bytes_s = memory(gpu, semi_bytes(work), work, CUSPARSELT_MEMORY)
    share = DENSE_MATH * by_major(CUSPARSELT_GAIN, gpu)
    rows = -(-max(work.rows, 1) // TILE) * TILE
    return max(bytes_s, math_s(gpu, work, share, rows)) + launches(CUSPARSELT_LAUNCHES)


def lane_gather(work: Work, gpu: Gpu) -> float:
    """Return the seconds of the lane-bitmap kernel that looks at every position."""
    weight_bytes = work.weights * (work.density * work.item + 0.125)
    conflicts = work.weights * interpolate(CONFLICTS, work.density) / 32
    limits = (
        memory(gpu, weight_bytes, work, LANE_MEMORY),
        work.weights * LANE_INSTRUCTIONS / (gpu.lanes * 1e9 * ISSUE),
        conflicts / (gpu.sms * gpu.clock * 1e9),
        legacy_dense(work, gpu),
    )
    return max(limits) + launches()


def lane_scatter(work: Work, gpu: Gpu) -> float:
    """Return the seconds of the lane-bitmap kernel whose work grows with what is kept."""
    weight_bytes = work.weights * (work.density * work.item + 0.125)
    each, kept = SCATTER_INSTRUCTIONS
    limits = (
        memory(gpu, weight_bytes, work, SCATTER_MEMORY),
        work.weights * (each + kept * work.density) / (gpu.lanes * 1e9 * ISSUE),
        legacy_dense(work, gpu),
    )
    return max(limits) + launches()


def legacy_dense(work: Work, gpu: Gpu) -> float:
    """Return the seconds of all positions' multiplications by mma.sync, rows in eights."""
    share = EXPAND_MATH * by_major(LEGACY_MATH, gpu)
    return math_s(gpu, work, share, -(-max(work.rows, 1) // 8) * 8)


def balanced(work: Work, gpu: Gpu) -> float:
    """Return the seconds of the N:32 kernel."""
    weight_bytes = work.weights * (work.density * work.item + 0.125)
    instructions = work.weights * BALANCED_INSTRUCTIONS / (gpu.lanes * 1e9 * ISSUE)
    bytes_s = memory(gpu, weight_bytes, work, DECODE_MEMORY)  # it streams as 2:4 does
    return max(bytes_s, instructions, legacy_dense(work, gpu)) + launches()


def expanded(work: Work, gpu: Gpu) -> float:
    """Return the seconds of a bitmap weight written out, and of cuBLAS on it."""
    packed = work.weights * (work.density * work.item + 0.125)
    dense_bytes = work.weights * work.item
    written = (packed + dense_bytes) / (gpu.bandwidth * 1e9 * SCATTER_MEMORY)
    each, kept = SCATTER_INSTRUCTIONS
    busy = work.weights * (each + kept * work.density) / (gpu.lanes * 1e9 * ISSUE)
    return max(written, busy) + launches() + dense(work, gpu)


def blocks(work: Work, gpu: Gpu) -> float:
    """Return the seconds of the block-sparse product: only what is kept is read and multiplied."""
    bytes_s = memory(gpu, work.weights * work.density * work.item, work, BLOCK_MEMORY)
    rows = -(-max(work.rows, 1) // 16) * 16
    return max(bytes_s, work.density * math_s(gpu, work, BLOCK_MATH, rows)) + launches()


def expanded_nm(work: Work, gpu: Gpu, bits: int = 2) -> float:
    """Return the seconds of an N:M product that loads compressed and multiplies dense."""
    weight_bytes = work.weights * work.density * (work.item + bits / 8)
    bytes_s = memory(gpu, weight_bytes, work, BLOCK_MEMORY)
    return max(bytes_s, math_s(gpu, work, EXPAND_MATH)) + launches()


def semi_convolution(work: Work, gpu: Gpu) -> float:
    """Return the seconds of a 2:4 convolution as a product in tiles of an image, the best of them.

    The weight's bytes take as long as in decode, for its two streams; x and y as long as cuDNN's.
    """
    weight_s = semi_bytes(work) / (gpu.bandwidth * 1e9 * DECODE_MEMORY)
    bytes_s = weight_s + memory(gpu, 0.0, work, DENSE_MEMORY)
    return max(bytes_s, min(semi_convolution_tile(work, gpu, t) for t in CONV_TILES)) + launches()


def semi_convolution_tile(work: Work, gpu: Gpu, tile: tuple[int, int]) -> float:
    """Return the seconds that multiplications and reads from L2 take in one of `CONV_TILES`."""
    share = 2 * CONV_MATH * by_major(LEGACY_MATH, gpu)
    position = work.item / 2 + 0.125
    split = CONV_SPLIT if tile == CONV_TILES[-1] else None
    return _in_tile(work, gpu, tile, share, position=position, split=split)


def cudnn(work: Work, gpu: Gpu) -> float:
    """Return the seconds of cuDNN's convolution of images that lie channels_last."""
    bytes_s = memory(gpu, work.weights * max(work.item, 2), work, DENSE_MEMORY)
    tiles = (
        _in_tile(
            work,
            gpu,
            tile,
            DENSE_MATH,
            position=None,
            split=CONV_SPLIT if tile == CUDNN_TILES[-1] else None,
        )
        for tile in CUDNN_TILES
    )
    return max(bytes_s, min(tiles)) + launches()


def _in_tile(
    work: Work,
    gpu: Gpu,
    tile: tuple[int, int],
    share: float,
    *,
    position: float | None,
    split: tuple[int, int, int] | None,
) -> float:
    """Return the seconds that a product's multiplications and reads from L2 take in a tile.

    Args:
        work: a product, or a convolution.
        gpu: that runs it.
        tile: outputs, and rows of x or pixels, of a block.
        share: of the dense peak.
        position: bytes of a position of the weight, as L2 gives them; None: that never limits.
        split: as `SEMI_SPLIT`, where sums are cut in parts if there are few blocks; else None.
    """
    high, wide = tile
    columns = STEP_BYTES // work.item
    out, steps = -(-work.out_features // work.groups), -(-work.in_features // columns)
    peak = gpu.peak * 1e12 * (gpu.int8 if work.item == 1 else 1)
    flops_s, bytes_s = peak * share / gpu.sms, L2_BYTES * gpu.clock * 1e9
    blocks = work.groups * -(-out // high) * -(-work.rows // wide)
    parts = 1
    if split is not None and work.groups == 1 and blocks > 0:
        wanted, least, most = split
        parts = max(1, min(wanted // blocks, steps // least, most))
    of_x = max(work.item, 2) if work.ends is None else work.ends[0]
    read = 0.0 if position is None else wide * of_x + high * position
    step_s = columns * max(2 * high * wide / flops_s, read / bytes_s)
    waves = -(-blocks * parts // gpu.sms)
    return waves * -(-steps // parts) * step_s


def interpolate(points: tuple[tuple[float, float], ...], at: float) -> float:
    """Return the value of a piecewise linear function, constant beyond its ends."""
    for (left, low), (right, high) in pairwise(points):
        if at <= right:
            share = (max(at, left) - left) / (right - left)
            return low + share * (high - low)
    return points[-1][1]


def microseconds(seconds: float) -> str:
    """Return a time as tables show it."""
    return "-" if not math.isfinite(seconds) else f"{seconds * 1e6:.1f}"


PACK_LAUNCHES = {"pack": 6, "prune": 6, "unpack": 4}
"""The kernel, what writes header, tail, spare zeros and the word of faults, and what reads that
word or the header: each a launch or a copy as small as one."""


def packing(what: str, work: Work, gpu: Gpu) -> float:
    """Return the seconds of packing a 2:4 weight by a mask, of pruning it as well, or of unpacking.

    Every byte passes once, as `packing_bytes` counts them.
    """
    share = gpu.bandwidth * 1e9 * DECODE_MEMORY
    return packing_bytes(what, work) / share + launches(PACK_LAUNCHES[what])


def packing_bytes(what: str, work: Work) -> float:
    """Return the bytes of a 2:4 weight both dense and packed, and of the mask where one is read."""
    return work.weights * (work.item + (what == "pack")) + semi_bytes(work)
