// sell x few rows of x: eight outputs at a time, one weight of each at a step, so that nothing is
// summed across lanes and rows of a few weights cost no more than long ones. x is fetched a float
// at a time. Bound: load ports, 1 + 1/4 + 1/4 loads a weight; from DRAM, 5 bytes a weight.
#pragma once

#include "cpu/row/few.h"

namespace {

constexpr int kSlice = 8;              // rows
constexpr std::int64_t kAhead = 2048;  // bytes: pages end every 4096, and hardware stops there

// One (row block, K block): rows sorted, most kept first.
struct SellBlock {
  const char* value;
  std::int64_t size;  // bytes of a value
  const std::uint8_t* column;
  const std::uint16_t* row;
  const std::uint16_t* kept;  // of each row
  const float* scale;         // of the row block's first row, or null

  SellBlock(const LinearArgs& a, std::int64_t row_block, std::int64_t k_block,
            std::int64_t outputs) {
    const Header& h = *a.weight;
    const std::int64_t deep = secateur::k_blocks(h);
    const std::uint32_t first =
        secateur::section<std::uint32_t>(h, h.table)[row_block * deep + k_block];
    const std::int64_t rows_before = row_block * h.row_block * deep + k_block * outputs;
    size = secateur::bytes_of(a.value_type);
    value = static_cast<const char*>(a.values) + first * size;
    column = secateur::section<std::uint8_t>(h, h.columns) + first;
    row = secateur::section<std::uint16_t>(h, h.rows) + rows_before;
    kept = secateur::section<std::uint16_t>(h, h.runs) + rows_before;
    scale = a.scale ? a.scale + row_block * h.row_block : nullptr;
  }
};

// The weights from here on.
template <class V>
struct SellCursor {
  const V* w;
  const std::uint8_t* column;

  SECATEUR_INLINE void skip(int weights) {
    w += weights;
    column += weights;
  }

  // One weight of each of a slice's rows.
  SECATEUR_INLINE void step(const float* x, Quad& low, Quad& high) {
    low += quad(w) * fetch(x, column);
    high += quad(w + 4) * fetch(x, column + 4);
    skip(kSlice);
  }

  // One weight of each of the slice's first rows, fewer than all.
  SECATEUR_INLINE void step_of(int rows, const float* x, Quad& low, Quad& high) {
    if (rows >= 4) low += quad(w) * fetch(x, column);
    if (rows % 4 != 0) {
      const int at = rows / 4 * 4;
      (rows < 4 ? low : high) += QuadStart(rows - at).products(w + at, column + at, x);
    }
    skip(rows);
  }
};

// `kept` weights of each of a slice's rows, to one sum for each row.
template <class V>
SECATEUR_INLINE void slice_times_x(SellCursor<V>& at, const std::uint16_t* kept, int rows,
                                   const float* x, float* sums) {
  Quad low[2] = {}, high[2] = {};
  const int whole = rows == kSlice ? kept[kSlice - 1] : 0;
  for (int s = whole / 2; s > 0; --s) {
    __builtin_prefetch(reinterpret_cast<const char*>(at.w) + kAhead);
    __builtin_prefetch(at.column + kAhead);
    at.step(x, low[0], high[0]);
    at.step(x, low[1], high[1]);
  }
  if (whole % 2 != 0) at.step(x, low[0], high[0]);
  for (int s = whole; s < kept[0]; ++s) {
    while (kept[rows - 1] <= s) --rows;
    at.step_of(rows, x, low[1], high[1]);
  }
  low[0] += low[1];
  high[0] += high[1];
  std::memcpy(sums, low, sizeof low[0]);
  std::memcpy(sums + 4, high, sizeof high[0]);
}

template <class V>
[[gnu::noinline]] void block_times_x(const SellBlock& b, std::int64_t outputs, const float* x,
                                     float* y) {
  SellCursor<V> at{reinterpret_cast<const V*>(b.value), b.column};
  for (std::int64_t from = 0; from < outputs && b.kept[from] != 0; from += kSlice) {
    const auto rows = static_cast<int>(secateur::smaller(kSlice, outputs - from));
    float sums[kSlice];
    slice_times_x(at, b.kept + from, rows, x, sums);
    for (int r = 0; r < rows; ++r) {
      const int row = b.row[from + r];
      y[row] += std::is_same_v<V, I8> ? sums[r] * b.scale[row] : sums[r];
    }
  }
}

struct SellBlocks {
  const LinearArgs& args;
  const FewRows& x;

  SellBlocks(const LinearArgs& a, const FewRows& few) : args(a), x(few) {}

  void times_rows(std::int64_t row_block, std::int64_t outputs, const FewSums& sums) const {
    const Header& h = *args.weight;
    for (std::int64_t k = 0; k < secateur::k_blocks(h); ++k) {
      const SellBlock b(args, row_block, k, outputs);
      typed(args.value_type, args.values, [&]<class V>(const V*) {
        for (int i = 0; i < x.count; ++i)
          block_times_x<V>(b, outputs, x.row[i] + k * h.k_block, sums.row[i]);
      });
    }
  }
};

}  // namespace
