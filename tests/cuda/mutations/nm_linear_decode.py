"""Faults of nm_linear_decode."""

from tests.support.cuda.mutate import Mutation

X = "nm_linear/decode_x.cuh"

MUTATIONS = [
    Mutation(
        "no barrier behind the stage",
        "    ptx::barrier();\n    const int begin",
        "    const int begin",
    ),
    Mutation(
        "stages x over a piece that is being read",
        "if (piece > 0) ptx::barrier();",
        "if (piece < 0) ptx::barrier();",
    ),
    Mutation(
        "stores sums over x that is being read",
        "  ptx::barrier();  // x has been read by all\n",
        "",
    ),
    Mutation(
        "no barrier before warps' sums are read",
        "  ptx::barrier();\n  const std::int64_t out0 =",
        "  const std::int64_t out0 =",
    ),
    Mutation("selectors swapped", "ptx::mma_sp<T, 1>", "ptx::mma_sp<T, 0>"),
    Mutation(
        "metadata of the other half, int8",
        "tile.half[1].v, b.v, tile.meta[1]",
        "tile.half[1].v, b.v, tile.meta[0]",
    ),
    Mutation(
        "the tile after next",
        "values += parts * (kHalves * 32);",
        "values += (parts + 1) * (kHalves * 32);",
    ),
    Mutation(
        "loads tiles behind the last",
        "i + 2 * kDepth <= stream.count",
        "i + 2 * kDepth <= stream.count + 1",
    ),
    Mutation("reads x of rows that are not staged", "(row < rows ? row : rows - 1)", "row"),
    Mutation("reads behind the end of a row", "if (column + i < x.in)", "if (column < x.in)", X),
    Mutation(
        "reads 16 bytes where a row ends",
        "if (x.aligned && column + kElements <= x.in)",
        "if (x.aligned && column < x.in)",
        X,
    ),
    Mutation(
        "takes every row for aligned", "decode::kChunkBytes == 0;", "decode::kChunkBytes >= 0;"
    ),
    Mutation("banks conflict in the stage", "unit / 2 % kChunks", "unit * 0 % kChunks", X),
    Mutation("words of x in the row's order", "* 4, words[i]", "* 1, words[i]", X),
    Mutation("banks conflict in the sums", "kBandOut + 4;", "kBandOut;"),
    Mutation(
        "a split's block adds before it is the last",
        "::atomic_inc(p.counters + ptx::block_index().x, others) == others;",
        "::atomic_inc(p.counters + ptx::block_index().x, others) != others;",
    ),
    Mutation(
        "the counter stays",
        "block_index().x, others) == others",
        "block_index().x, 1U << 20) == others",
    ),
    Mutation(
        "no barrier before a block counts as done",
        "  ptx::barrier();  // warps' sums have been read, and the block's stored, by all\n",
        "",
    ),
    Mutation(
        "another problem counts where sums lie", "p.counters + cuda::kMostColumns", "p.counters + 8"
    ),
    Mutation("no activation", "  tile::activate(p.act, v);\n", ""),
    Mutation(
        "writes outputs behind the last",
        "if (out >= p.out) return;",
        "if (out >= p.padded_out) return;",
    ),
    Mutation(
        "leaves the first part out",
        "for (int s = 0; s < p.split; ++s)",
        "for (int s = p.split == 5; s < p.split; ++s)",
    ),
]
