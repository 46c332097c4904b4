"""A roofline model of one layer: predicts, never measures, so it is the same everywhere.

A time is the larger of arithmetic over rate and bytes over bandwidth, plus a fixed cost a call
(Williams, Waterman, Patterson 2009). Only ratios are to be trusted.
"""

from __future__ import annotations

from dataclasses import dataclass

from secateur.planning.record import Timing


@dataclass(frozen=True)
class Rates:
    """One thread of an AVX2 server core; the ratios hold for others.

    Attributes:
        peak: GFLOP/s of fused multiply-adds.
        bandwidth: GB/s from memory.
        dense_share: share of the peak that dense layers reach with many rows.
        call_us: fixed cost of a dense call, microseconds.
        sparse_call_us: fixed cost of a sparse call, which packs x.
        lanes: rows of x that the sparse kernel works on together.
    """

    peak: float = 112.0
    bandwidth: float = 20.0
    dense_share: float = 0.95
    call_us: float = 5.0
    sparse_call_us: float = 9.0
    lanes: int = 16


RATES = Rates()

# (kept fraction, share of peak spent on kept weights) of the csr kernel at 192 rows, 3072 x 768.
CSR_SHARE = ((0.02, 0.16), (0.05, 0.225), (0.1, 0.277), (0.2, 0.321), (0.5, 0.46), (1.0, 0.6))
NM_SHARE = ((0.1, 0.3), (0.25, 0.45), (0.5, 0.6), (1.0, 0.7))
# Timed beside csr on blocks of 4x1 to 32x32: one load of x serves four output rows.
BSR_SHARE = tuple((density, 1.15 * share) for density, share in CSR_SHARE)
ROWS_SHARE = ((0.0, 0.9), (1.0, 0.9))  # torch's own product, on a gathered x
SHARES = {"csr": CSR_SHARE, "nm": NM_SHARE, "bsr": BSR_SHARE, "rows": ROWS_SHARE}
# For each kept weight, at most; a bitmap is considered where a quarter is kept.
INDEX_BYTES = {"csr": 1.0, "nm": 0.25, "bsr": 0.25, "rows": 0.0, "bitmap": 0.5}


def predict(
    shape: tuple[int, int],
    density: float,
    rows: int,
    *,
    format: str = "csr",
    item_bytes: int = 4,
    taps: int = 1,
) -> Timing:
    """Predict one layer at one row count.

    Args:
        shape: (out, in) of the weight as a matrix.
        density: fraction of weights kept.
        rows: rows of x.
        format: packed format.
        item_bytes: bytes of one value.
        taps: of a convolution, that read each pixel again.
    """
    weights = shape[0] * shape[1]
    moved = rows * (shape[0] + shape[1] // taps) * item_bytes
    used = min(1.0, rows / 4)  # with fewer rows than this, dense does not fill its registers
    dense_s = max(
        2e-9 * weights * rows / (RATES.peak * RATES.dense_share * used),
        1e-9 * (weights * item_bytes + moved) / RATES.bandwidth,
    )
    share = _interpolate(SHARES.get(format, CSR_SHARE), density)
    filled = rows / (-(-rows // RATES.lanes) * RATES.lanes) if rows > 1 else 1 / 4
    sparse_s = max(
        2e-9 * weights * density * rows / (RATES.peak * share * filled),
        1e-9 * (sparse_bytes(shape, density, format, item_bytes) + moved) / RATES.bandwidth,
    )
    return Timing(
        rows, dense_s * 1e3 + RATES.call_us / 1e3, sparse_s * 1e3 + RATES.sparse_call_us / 1e3, True
    )


def sparse_bytes(
    shape: tuple[int, int], density: float, format: str = "csr", item_bytes: int = 4
) -> int:
    """Predict the bytes of a packed weight."""
    weights = shape[0] * shape[1]
    return int(weights * density * (item_bytes + INDEX_BYTES.get(format, 1.0)))


def _interpolate(points: tuple[tuple[float, float], ...], at: float) -> float:
    below, above = points[0], points[-1]
    for point in points:
        if point[0] <= at:
            below = point
        if point[0] >= at:
            above = point
            break
    if above[0] <= below[0] or at <= points[0][0]:
        return above[1]
    return below[1] + (above[1] - below[1]) * (at - below[0]) / (above[0] - below[0])
