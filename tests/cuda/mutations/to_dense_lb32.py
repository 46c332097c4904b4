"""Faults of to_dense_lb32, and of how both kernels of to_dense write."""

from tests.support.cuda.mutate import Mutation

WRITE = "to_dense/write.cuh"

MUTATIONS = [
    Mutation("does not wait for the values", "  ptx::cp_async_wait_all();\n", ""),
    Mutation(
        "other lanes' copies are not waited for", "wait_all();\n  ptx::syncwarp();", "wait_all();"
    ),
    Mutation("rows g and g + 8 swapped", "(bit & 2) * 4", "(~bit & 2) * 4"),
    Mutation("columns of the second half of a fragment", "(bit & 4) * 2", "(bit & 4)"),
    Mutation("the tile is not cleared", "  dense.clear();\n", ""),
    Mutation("writes columns behind the last", "if (left >= kChunk)", "if (left > 0)", WRITE),
    Mutation("writes rows behind the last", "row0 + row >= p.out || left <= 0", "left <= 0", WRITE),
    Mutation(
        "writes before all lanes have put",
        "const {\n    ptx::syncwarp();\n#pragma",
        "const {\n#pragma",
        WRITE,
    ),
]
