// bsr x one row of x, for every ISA: the weights of one column are consecutive, so a vector of them
// meets one x, broadcast; nothing is gathered. Bound: load ports, one load for a vector of weights
// and one for its x; from DRAM, 4 bytes a weight and one a block.
#pragma once

#include "cpu/bsr_linear/blocks.h"
#include "cpu/row/dot.h"
#include "cpu/row/row.h"

namespace {

template <int kFrom, int... L>
SECATEUR_INLINE Vec joined(Vec low, Vec high, std::integer_sequence<int, L...>) {
  return __builtin_shufflevector(low, high, (L < kFrom ? L : kLanes + L)...);
}

// The x of several columns in one vector, each as often as there are rows (fewer than lanes).
template <int kRows, int kColumn = 0>
SECATEUR_INLINE Vec spread_x(const float* x, const std::uint8_t* column) {
  const Vec v = splat(x[column[kColumn]]);
  if constexpr ((kColumn + 1) * kRows >= kLanes)
    return v;
  else
    return joined<(kColumn + 1) * kRows>(v, spread_x<kRows, kColumn + 1>(x, column),
                                         std::make_integer_sequence<int, kLanes>{});
}

template <int kRows>
SECATEUR_INLINE void low_strip(const Strip& s, const float* x, float* y) {
  constexpr int kColumns = kLanes / kRows;
  Vec a{}, b{};
  int j = 0;
  for (; j + 2 * kColumns <= s.count; j += 2 * kColumns) {
    a += load(s.w + j * kRows) * spread_x<kRows>(x, s.column + j);
    b += load(s.w + (j + kColumns) * kRows) * spread_x<kRows>(x, s.column + j + kColumns);
  }
  if (j + kColumns <= s.count) {
    a += load(s.w + j * kRows) * spread_x<kRows>(x, s.column + j);
    j += kColumns;
  }
  float sum[kRows] = {};
  for (; j < s.count; ++j)
    for (int i = 0; i < kRows; ++i) sum[i] += s.w[j * kRows + i] * x[s.column[j]];
  a += b;
  SECATEUR_UNROLL
  for (int l = 0; l < kLanes; ++l) sum[l % kRows] += a[l];
  for (int i = 0; i < kRows; ++i) y[i] += sum[i];
}

// kVectors of rows at a time, from row `from` on; independent sums, since one is a chain.
template <int kVectors>
SECATEUR_INLINE void high_strip(const Strip& s, int from, const float* x, float* y) {
  constexpr int kSets = kVectors >= 4 ? 2 : 4;
  Vec sum[kSets][kVectors] = {};
  const float* w = s.w + from;
  int j = 0;
  for (; j + kSets <= s.count; j += kSets) {
    SECATEUR_UNROLL
    for (int set = 0; set < kSets; ++set, w += s.height) {
      const Vec at = splat(x[s.column[j + set]]);
      SECATEUR_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[set][v] += load(w + v * kLanes) * at;
    }
  }
  for (; j < s.count; ++j, w += s.height) {
    const Vec at = splat(x[s.column[j]]);
    SECATEUR_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[0][v] += load(w + v * kLanes) * at;
  }
  SECATEUR_UNROLL
  for (int set = 1; set < kSets; ++set) {
    SECATEUR_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[0][v] += sum[set][v];
  }
  const int rows = s.height - from;  // lanes beyond hold the next column's weights
  if (rows >= kVectors * kLanes) {
    SECATEUR_UNROLL
    for (int v = 0; v < kVectors; ++v)
      store(y + from + v * kLanes, load(y + from + v * kLanes) + sum[0][v]);
  } else {
    static_assert(kLanes <= secateur::kValuePadding, "a vector of weights may reach past the last");
    for (int i = 0; i < rows; ++i) y[from + i] += sum[0][0][i];
  }
}

SECATEUR_INLINE void strip_times_row(const Strip& s, const float* x, float* y) {
  if (s.height == 4 && kLanes > 4) return low_strip<4>(s, x, y);
  if (s.height == 8 && kLanes > 8) return low_strip<8>(s, x, y);
  if (s.height == 2) return low_strip<2>(s, x, y);
  int from = 0;
  for (; s.height - from >= 4 * kLanes; from += 4 * kLanes) high_strip<4>(s, from, x, y);
  for (; s.height - from >= 2 * kLanes; from += 2 * kLanes) high_strip<2>(s, from, x, y);
  for (; from < s.height; from += kLanes) high_strip<1>(s, from, x, y);
}

// One row of blocks: weights and x are both consecutive.
SECATEUR_INLINE float dot_blocks(const BsrCursor& at, const float* x) {
  Vec sum{};
  Quad four{};
  float tail = 0.0F;
  const float* w = at.w;
  for (int b = 0; b < *at.count; ++b) {
    const float* from = x + at.start[b];
    const int wide = at.start[b] + at.c > at.width ? at.width - at.start[b] : at.c;
    int j = 0;
    for (; j + kLanes <= wide; j += kLanes) sum += load(w + j) * load(from + j);
    for (; j + 4 <= wide; j += 4) four += quad(w + j) * quad(from + j);
    for (; j < wide; ++j) tail += w[j] * from[j];
    w += wide;
  }
  four += folded(sum);
  return tail + (four[0] + four[1]) + (four[2] + four[3]);
}

struct BsrRowBlocks {
  const LinearArgs& args;

  explicit BsrRowBlocks(const LinearArgs& a) : args(a) {}

  void times_row(std::int64_t row_block, std::int64_t k_block, const float* x, float* y) const {
    Columns columns;
    for (BsrCursor at(args, row_block, k_block); !at.done(); at.next()) {
      if (*at.count == 0) continue;
      if (at.height() > 1)
        strip_times_row(columns.strip(at), x, y + at.row);
      else if (at.c > 1)
        y[at.row] += dot_blocks(at, x);
      else
        y[at.row] += dot_kept(at.w, at.start, *at.count, x);
    }
  }
};

}  // namespace
