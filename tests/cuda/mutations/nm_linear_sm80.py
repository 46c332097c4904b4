"""Faults of the tiled products, in the parts that all of them are made of."""

from tests.support.cuda.mutate import Mutation

# Both layouts, and parts; few, for each fault compiles them anew.
BUILT = ["nm_linear_sm80_64x64", "nm_linear_sm80_frag_64x32"]
MUTATIONS = [
    Mutation(
        "waits for one group too few",
        "ptx::cp_async_wait<kStages - 2>();",
        "ptx::cp_async_wait<kStages - 1>();",
        "tile/pipeline.cuh",
    ),
    Mutation(
        "no barrier behind the wait", "    ptx::barrier();  //", "    //", "tile/pipeline.cuh"
    ),
    Mutation(
        "fetches into the stage that is being read",
        "int filled = (kStages - 1) * kStageBytes, read = 0;",
        "int filled = 0, read = 0;",
        "tile/pipeline.cuh",
    ),
    Mutation(
        "selectors swapped: the metadata of the other 16 rows",
        "if (i % 2 == 0)",
        "if (i % 2 != 0)",
        "tile/multiply.cuh",
    ),
    Mutation(
        "metadata of the other slice, in torch's order",
        "S::kMetaAt + slice * S::kMetaSliceBytes",
        "S::kMetaAt + (slice ^ 1) * S::kMetaSliceBytes",
        "tile/weight.cuh",
    ),
    Mutation(
        "halves of 16 rows swapped, in fragment order",
        "* 2 + i % 2;",
        "* 2 + 1 - i % 2;",
        "tile/weight.cuh",
    ),
    Mutation(
        "metadata outside of the weight stay zeros",
        "return meta == 0 ? 0xeeeeeeeeU : meta;",
        "return meta;",
        "tile/weight.cuh",
    ),
    Mutation(
        "no swizzle: banks conflict",
        "(chunk ^ by) * kChunkBytes",
        "(chunk + 0 * by) * kChunkBytes",
        "tile/shape.cuh",
    ),
    Mutation(
        "rows of sums without spare words: banks conflict",
        "kSumRowWords = Tile::kOut + 4;",
        "kSumRowWords = Tile::kOut;",
        "tile/shape.cuh",
    ),
    Mutation(
        "lanes gather halves in one order: banks conflict",
        "const bool swapped = (ptx::lane() & 4) != 0;",
        "const bool swapped = false;",
        "tile/epilogue.cuh",
    ),
    Mutation(
        "reads rows of x behind the last",
        "rows_left_ = left(args.rows, row);",
        "rows_left_ = left(args.rows + 1, row);",
        "tile/tokens.cuh",
    ),
    Mutation(
        "reads columns of x behind the last",
        "columns_left_ = left(args.in, column);",
        "columns_left_ = left(args.in + S::kPerChunk, column);",
        "tile/tokens.cuh",
    ),
    Mutation(
        "writes rows behind the last",
        "if (row0 + row >= result.rows) return;",
        "if (row0 + row > result.rows) return;",
        "tile/epilogue.cuh",
    ),
    Mutation(
        "writes 16 bytes over the end of a row of y",
        "result_.wide && out_ + N <= result_.out;",
        "result_.wide;",
        "tile/epilogue.cuh",
    ),
    Mutation(
        "the activation before the bias",
        "v[i] * (scale_[i] * of_row) + bias_[i];",
        "v[i] * (scale_[i] * of_row);",
        "tile/epilogue.cuh",
    ),
    Mutation(
        "sums stored while others read the last stage",
        "  ptx::barrier();  // no warp reads",
        "  // no warp reads",
        "tile/product.cuh",
    ),
    Mutation(
        "the last block adds its own part alone",
        "part < parts_; ++part)",
        "part < 1; ++part)",
        "tile/split.cuh",
    ),
    Mutation(
        "whoever comes first is taken for the last",
        "ptx::atomic_inc(counter_, before) == before",
        "ptx::atomic_inc(counter_, before) == 0",
        "tile/split.cuh",
    ),
    Mutation(
        "parts are not fenced from the count",
        "    ptx::fence();\n    ptx::barrier();",
        "    ptx::barrier();",
        "tile/split.cuh",
    ),
    Mutation(
        "the last count is not fenced from the parts",
        "      ptx::fence();\n      ptx::store(flag",
        "      ptx::store(flag",
        "tile/split.cuh",
    ),
    Mutation(
        "the counters do not return to zero",
        "ptx::atomic_inc(counter_, before) == before",
        "ptx::atomic_add(counter_, 1U) == before",
        "tile/split.cuh",
    ),
    Mutation(
        "offsets of 32 bits",
        "const std::int64_t at = row * result_.stride + out_;",
        "const int at = static_cast<int>(row * result_.stride + out_);",
        "tile/epilogue.cuh",
    ),
    Mutation(
        "a part of the columns is left out",
        "args.steps} * (part + 1) / args.parts",
        "args.steps / args.parts} * (part + 1)",
        "tile/product.cuh",
    ),
    Mutation(
        "the last strip of tiles is taken for a whole one",
        "row_tiles - first < kTall ? row_tiles - first : kTall",
        "kTall",
        "tile/raster.cuh",
    ),
]
