"""Faults of the nm_unpack kernels."""

from tests.support.cuda.mutate import Mutation

_TARGET, _TORCH, _FRAGMENT = (
    f"nm_unpack/{f}" for f in ("target.cuh", "torch24.cu", "fragment24.cu")
)

BUILT = ["nm_unpack_torch24", "nm_unpack_fragment24"]
MUTATIONS = [
    Mutation("equal places pass", "first >= second", "first > second", _TARGET),
    Mutation("the two are swapped", "low << (first", "low << (second", _TARGET),
    Mutation("writes rows behind the last", "if (row >= target.out) return;", "", _TARGET),
    Mutation("writes behind a row", "if (column + i < target.in)", "if (true)", _TARGET),
    Mutation(
        "metadata of the partner",
        "i / 2 == odd ? mine : other",
        "i / 2 == odd ? other : mine",
        _TORCH,
    ),
    Mutation(
        "metadata of int8 unshifted",
        "(odd != 0 ? other : mine) >> (16 * odd)",
        "(odd != 0 ? other : mine)",
        _TORCH,
    ),
    Mutation("metadata of another lane", "4 * g + 2 * s + c)", "4 * g + 2 * c + s)", _FRAGMENT),
    Mutation(
        "rows are found by 32 bits",
        "row * target.weight_stride",
        "static_cast<int>(row * target.weight_stride)",
        _TARGET,
    ),
]
