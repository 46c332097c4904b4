// One output row against a panel of x rows: accumulators in registers, one broadcast a weight.
// Bound: load ports, (vectors + 1/2) / 2 cycles a kept weight; docs/packed-weight.md derives it.
#pragma once

#include <cstring>

#include "cpu/vec.h"

namespace {

// AVX-512 has 32 registers as well, and reaches 64 rows with half as many vectors.
#if defined(SECATEUR_NEON)
constexpr int kAccumulators = 16;
#else
constexpr int kAccumulators = 8;
#endif

// Vectors of x rows in one tile, and independent sets of accumulators. One set is a chain of one
// FMA latency a weight, so few vectors need several sets.
template <int kVectors, int kSets>
struct Tile {
  static constexpr int kRows = kVectors * kLanes;
  static_assert(2 * kVectors * kSets <= 3 * kAccumulators,
                "accumulators must leave registers for the weights");

  Vec sum[kSets][kVectors];

  SECATEUR_INLINE void start(const float* at) {
    SECATEUR_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[0][v] = load(at + v * kLanes);
    clear_others();
  }

  SECATEUR_INLINE void start(Vec bias) {
    SECATEUR_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[0][v] = bias;
    clear_others();
  }

  template <int kSet, class W>
  SECATEUR_INLINE void add(W w, const float* x) {
    SECATEUR_UNROLL
    for (int v = 0; v < kVectors; ++v)
      sum[kSet % kSets][v] = multiply_add(sum[kSet % kSets][v], w, load(x + v * kLanes));
  }

  // All sums to the first set.
  SECATEUR_INLINE void join() {
    SECATEUR_UNROLL
    for (int s = 1; s < kSets; ++s) {
      SECATEUR_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[0][v] += sum[s][v];
    }
  }

  SECATEUR_INLINE void store_to(float* at) const {
    SECATEUR_UNROLL
    for (int v = 0; v < kVectors; ++v) store(at + v * kLanes, sum[0][v]);
  }

 private:
  SECATEUR_INLINE void clear_others() {
    SECATEUR_UNROLL
    for (int s = 1; s < kSets; ++s) {
      SECATEUR_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[s][v] = Vec{};
    }
  }
};

// How many rows before its own a row is expected. There may be no such row, and any number instead.
constexpr int kRowsAhead = 6;

// Where a row block's sums are kept between its K blocks: one buffer, from start to end.
template <class T>
struct Buffered {
  float* sums;  // [row_block, T::kRows]

  // Rows without weights in a K block keep what they have.
  static constexpr bool every_row() { return false; }
  SECATEUR_INLINE void expect(std::int64_t) const {}  // they are in L2, which is near enough
  SECATEUR_INLINE void start(T& tile, std::int64_t row) const { tile.start(sums + row * T::kRows); }
  SECATEUR_INLINE void finish(T& tile, std::int64_t row) const {
    tile.join();
    tile.store_to(sums + row * T::kRows);
  }

  // The same of a few vectors of a row, from vector `from` on.
  template <int kCount>
  SECATEUR_INLINE void start(Vec (&sum)[kCount], std::int64_t row, int from) const {
    SECATEUR_UNROLL
    for (int v = 0; v < kCount; ++v) sum[v] = load(sums + row * T::kRows + (from + v) * kLanes);
  }
  template <int kCount>
  SECATEUR_INLINE void finish(Vec (&sum)[kCount], std::int64_t row, int from) const {
    SECATEUR_UNROLL
    for (int v = 0; v < kCount; ++v) store(sums + row * T::kRows + (from + v) * kLanes, sum[v]);
  }
};

// nnz weights, at the local columns `column`, against the panel of their K block.
template <class T>
SECATEUR_INLINE void row_times_panel(T& tile, int nnz, const float* w, const std::uint8_t* column,
                                     const float* panel) {
  int j = 0;
  for (; j + 4 <= nnz; j += 4) {
    const Vec quad = load_quad(w + j);
    std::uint32_t k;
    std::memcpy(&k, column + j, sizeof k);
    tile.template add<0>(splat_of_quad<0>(quad), panel + (k & 255U) * T::kRows);
    tile.template add<1>(splat_of_quad<1>(quad), panel + (k >> 8 & 255U) * T::kRows);
    tile.template add<2>(splat_of_quad<2>(quad), panel + (k >> 16 & 255U) * T::kRows);
    tile.template add<3>(splat_of_quad<3>(quad), panel + (k >> 24) * T::kRows);
  }
  for (; j < nnz; ++j) tile.template add<0>(splat(w[j]), panel + column[j] * T::kRows);
}

}  // namespace
