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
  static_assert(kVectors * kSets <= kAccumulators,
                "accumulators must leave registers for the weights");

  Vec sum[kSets][kVectors];

  SECATEUR_INLINE void start(float* at) {
    SECATEUR_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[0][v] = load(at + v * kLanes);
    SECATEUR_UNROLL
    for (int s = 1; s < kSets; ++s) {
      SECATEUR_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[s][v] = Vec{};
    }
  }

  template <int kSet, class W>
  SECATEUR_INLINE void add(W w, const float* x) {
    SECATEUR_UNROLL
    for (int v = 0; v < kVectors; ++v)
      sum[kSet % kSets][v] = multiply_add(sum[kSet % kSets][v], w, load(x + v * kLanes));
  }

  SECATEUR_INLINE void finish(float* at) {
    SECATEUR_UNROLL
    for (int s = 1; s < kSets; ++s) {
      SECATEUR_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[0][v] += sum[s][v];
    }
    SECATEUR_UNROLL
    for (int v = 0; v < kVectors; ++v) store(at + v * kLanes, sum[0][v]);
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
