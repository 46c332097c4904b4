// The one-row kernel of any format. `Blocks` multiplies one (row block, K block) with its piece of
// x.
#pragma once

#include "cpu/kernel.h"
#include "cpu/tile/store.h"
#include "cpu/vec.h"

namespace {

using secateur::Header;
using secateur::LinearArgs;
using secateur::Part;

// Sums of one row block lie in `scratch` until the activation and the residual are applied.
template <class Blocks>
void row_run(const LinearArgs& a, const Part& part, float* scratch) {
  const Header& h = *a.weight;
  const Blocks blocks(a);
  const std::int64_t deep = secateur::k_blocks(h);
  float* wide = scratch + h.row_block + kLanes;
  for (std::int64_t t = part.row_begin; t < part.row_end; ++t) {
    const void* row = at(a.x, a.x_type, t * a.x_stride);
    if (a.x_type != Type::f32) widen(row, a.x_type, h.in_features, 1.0F, wide, false);
    const float* x = a.x_type == Type::f32 ? static_cast<const float*>(row) : wide;
    for (std::int64_t b = part.block_begin; b < part.block_end; ++b) {
      const std::int64_t first = b * h.row_block;
      const std::int64_t outputs = secateur::smaller(h.row_block, h.out_features - first);
      for (std::int64_t o = 0; o < outputs; ++o) scratch[o] = a.bias ? a.bias[first + o] : 0.0F;
      for (std::int64_t k = 0; k < deep; ++k) blocks.times_row(b, k, x + k * h.k_block, scratch);
      store_row(scratch, store_at(a, t, first, 1, outputs));
    }
  }
}

[[maybe_unused]] int row_rank(const Header&, std::int64_t rows) { return rows == 1 ? 2 : 0; }

std::int64_t row_scratch(const Header& h, std::int64_t) {
  return static_cast<std::int64_t>(h.row_block) + h.in_features + 2 * kLanes;
}

}  // namespace
