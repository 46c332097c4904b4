"""Faults of lane_linear_balanced."""

from tests.support.cuda.mutate import Mutation

X_TILE = "lane_linear/x_tile.cuh"

MUTATIONS = [
    Mutation(
        "rows g and g + 8 swapped",
        "a[i / 2][i % 2 * 2] = upper_[pair * 4 + i];\n        a[i / 2][i % 2 * 2 + 1] =",
        "a[i / 2][i % 2 * 2 + 1] = upper_[pair * 4 + i];\n        a[i / 2][i % 2 * 2] =",
    ),
    Mutation(
        "the first of two before the second",
        "two >> 16)});\n        put_highest(mask, T{static_cast<std::uint16_t>(two)});",
        "two)});\n        put_highest(mask, T{static_cast<std::uint16_t>(two >> 16)});",
    ),
    Mutation("both groups have one mask", "words + group * 32", "words"),
    Mutation("both groups have the same values", "(group + 1) * n * 16", "n * 16"),
    Mutation("x in its own order", "4 * t + pair", "4 * pair + t", X_TILE),
    Mutation("two rows of x in the same banks", " ^ ((row & 1) << 1)", "", X_TILE),
    Mutation("every tile is the first", "begin_ += length_;", "", "lane_linear/layouts.cuh"),
    Mutation("the second group over the first", "      expand(tile, 1, n);\n", ""),
    Mutation(
        "half of the masks are copied",
        "spans_.tiles() * (Layout::kMasks / 4)",
        "8",
        "lane_linear/layouts.cuh",
    ),
]
