// The many-rows kernel of any format: cuts the rows of x into the widest tiles that pay, packs
// each, and walks row blocks, then K blocks, so that one block's panel stays in L1 and its sums in
// L2. Source of the scheme: Elsen et al., "Fast Sparse ConvNets" (CVPR 2020); K blocks and row runs
// are added here. `Blocks` is the format: it multiplies one (row block, K block) with its panel.
#pragma once

#include "cpu/kernel.h"
#include "cpu/tile/panel.h"
#include "cpu/tile/store.h"
#include "cpu/tile/tile.h"

namespace {

using secateur::Header;
using secateur::LinearArgs;
using secateur::Part;

constexpr int kWidest = kLanes == 16 ? 4 : kAccumulators;  // vectors: 64 rows; portable: 32
// A wider tile reads each weight less often, but its panel of one K block must stay in L1.
#if defined(__AVX512F__)
constexpr std::int64_t kPanelBytes = 49152;
#else
constexpr std::int64_t kPanelBytes = 32768;
#endif

// At least as many accumulators as one latency of an FMA asks for.
constexpr int sets_for(int vectors) {
  const int sets = (kAccumulators + vectors - 1) / vectors;
  return sets < 4 ? sets : 4;
}

// Floats of the panel that one K block is multiplied with.
template <class T>
std::int64_t panel_floats(const Header& h) {
  return secateur::smaller(h.k_block, h.in_features) * T::kRows;
}

template <class T>
void start_sums(const float* bias, std::int64_t outputs, float* sums) {
  for (std::int64_t o = 0; o < outputs; ++o) {
    const Vec b = bias ? splat(bias[o]) : Vec{};
    for (int v = 0; v < T::kRows; v += kLanes) store(sums + o * T::kRows + v, b);
  }
}

// At most T::kRows rows of x, from `row` on, against the row blocks of `part`.
template <class Blocks, class T>
void tile_times_weight(const LinearArgs& a, const Part& part, std::int64_t row, std::int64_t rows,
                       float* scratch) {
  const Header& h = *a.weight;
  const Blocks blocks(a);
  float* panel = scratch;
  float* sums = scratch + static_cast<std::int64_t>(h.in_features) * T::kRows;
  const std::int64_t deep = secateur::k_blocks(h);
  typed(a.x_type, at(a.x, a.x_type, row * a.x_stride),
        [&](auto* x) { pack_panel<T::kRows>(x, a.x_stride, rows, h.in_features, panel); });
  for (std::int64_t b = part.block_begin; b < part.block_end; ++b) {
    const std::int64_t first = b * h.row_block;
    const std::int64_t outputs = secateur::smaller(h.row_block, h.out_features - first);
    start_sums<T>(a.bias ? a.bias + first : nullptr, outputs, sums);
    for (std::int64_t k = 0; k < deep; ++k)
      blocks.template times_panel<T>(b, k, panel + k * h.k_block * T::kRows, Buffered<T>{sums});
    const Store to = store_at(a, row, first, rows, outputs);
    typed(to.type, to.y, [&](auto* y) { store_tile<T::kRows>(sums, to, y); });
  }
}

template <class Blocks, int kVectors>
void tiled_rows(const LinearArgs& a, const Part& part, std::int64_t row, float* scratch) {
  using T = Tile<kVectors, sets_for(kVectors)>;
  const bool fits = panel_floats<T>(*a.weight) * 4 <= kPanelBytes;
  for (; row < part.row_end; row += T::kRows) {
    const std::int64_t left = part.row_end - row;
    // Below three quarters of a tile, two narrower ones waste fewer multiplications by zero.
    if (kVectors > 1 && (!fits || left * 4 <= T::kRows * 3))
      return tiled_rows<Blocks, (kVectors > 1 ? kVectors / 2 : 1)>(a, part, row, scratch);
    tile_times_weight<Blocks, T>(a, part, row, secateur::smaller(left, T::kRows), scratch);
  }
}

template <class Blocks>
void tiled_run(const LinearArgs& a, const Part& part, float* scratch) {
  tiled_rows<Blocks, kWidest>(a, part, part.row_begin, scratch);
}

[[maybe_unused]] int tiled_rank(const Header&, std::int64_t) { return 1; }

[[maybe_unused]] std::int64_t tiled_scratch(const Header& h, std::int64_t) {
  return (static_cast<std::int64_t>(h.in_features) + h.row_block) * kWidest * kLanes;
}

}  // namespace
