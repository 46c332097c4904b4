"""Faults of nm_linear_simple."""

from tests.support.cuda.mutate import Mutation

MUTATIONS = [
    Mutation(
        "waits for one group too few",
        "ptx::cp_async_wait<Tile::kStages - 2>();",
        "ptx::cp_async_wait<Tile::kStages - 1>();",
    ),
    Mutation("no barrier behind the wait", "    ptx::barrier();", "    "),
    Mutation(
        "fetches into the stage that is being read",
        "const int next = step + Tile::kStages - 1;",
        "const int next = step + Tile::kStages;",
    ),
    Mutation("selectors swapped", "ptx::mma_sp<T, 0>", "ptx::mma_sp<T, 1>"),
    Mutation("metadata of the wrong half", "step} * 2 + half)", "step} * 2 + 1 - half)"),
    Mutation("no swizzle: banks conflict", "(chunk ^ (row & 7))", "(chunk)"),
    Mutation(
        "reads rows behind the last", "row0 + row < p.rows && column < p.in;", "column < p.in;"
    ),
    Mutation("writes rows behind the last", "|| row >= p.rows) continue;", ") continue;"),
]
