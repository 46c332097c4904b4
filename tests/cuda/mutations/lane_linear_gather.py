"""Faults of lane_linear_gather, and of what all kernels of lane_linear are made of."""

from tests.support.cuda.mutate import Mutation

PRODUCT = "lane_linear/product.cuh"
PROBLEM = "lane_linear/problem.cuh"
LAYOUTS = "lane_linear/layouts.cuh"
FINISH = "lane_linear/finish.cuh"
LANE_SUM = "lane_linear/lane_sum.cuh"
X_TILE = "lane_linear/x_tile.cuh"

MUTATIONS = [
    Mutation(
        "waits for one group too few",
        "ptx::cp_async_wait<Block::kStages - 2>();",
        "ptx::cp_async_wait<Block::kStages - 1>();",
        PRODUCT,
    ),
    Mutation("no barrier behind the wait", "ptx::barrier();  // the stage has come", "//", PRODUCT),
    Mutation(
        "a stage has room for a fixed number of values",
        "args.most > 0 ? args.most : Block::kMostValues;",
        "576;",
        PROBLEM,
    ),
    Mutation("a lane begins behind its own values", "ends_.end[i] - ends_.kept[i]", "ends_.end[i]"),
    Mutation("the second tile begins right behind the first", "(all + 7) / 8 * 8", "all", LANE_SUM),
    Mutation(
        "a last tile alone has one behind it",
        "tiles > 1 ? ptx::load(words + 32) : 0",
        "ptx::load(words + 32)",
        LANE_SUM,
    ),
    Mutation("the halves of a register swapped", "0x5410", "0x1054"),
    Mutation("rows g and g + 8 swapped", "a[i / 4][i % 4] =", "a[i / 4][i % 4 ^ 1] ="),
    Mutation("the scan lacks its last step", "delta < 32", "delta < 16", LANE_SUM),
    Mutation("no swizzle: banks conflict", "(chunk ^ (row & 7)) * 16", "chunk * 16", X_TILE),
    Mutation(
        "copies rows of x behind the last",
        "i * kApart < rows_ ? inside * 2 : 0",
        "inside * 2",
        X_TILE,
    ),
    Mutation(
        "copies columns of x behind the last",
        "columns_ > Block::kChunk ? Block::kChunk : columns_;",
        "Block::kChunk;",
        X_TILE,
    ),
    Mutation(
        "a step ends with its first tile",
        "end_ = ptx::load_nc(at_ + tiles());",
        "end_ = ptx::load_nc(at_ + 1);",
        LAYOUTS,
    ),
    Mutation(
        "writes rows behind the last",
        "if (row >= p.rows || out >= p.out)",
        "if (out >= p.out)",
        FINISH,
    ),
    Mutation("a warp without rows works", "active = out < p.out;", "active = true;", PRODUCT),
    Mutation("no activation", "tile::activate(p.act, y);", "", FINISH),
    Mutation(
        "the counter of parts does not go back to 0",
        "static_cast<unsigned>(p.splits - 1)));",
        "~0U));",
        FINISH,
    ),
    Mutation(
        "parts are announced before all are written",
        "  ptx::barrier();\n  const auto told",
        "  const auto told",
        FINISH,
    ),
    Mutation(
        "a part begins where another does",
        "ptx::block_index().z) * p.steps_each",
        "ptx::block_index().z) * (p.steps_each - 1)",
        PRODUCT,
    ),
]
