// Where the sums of a convolution's outputs come from and go to: the bias before the first K block,
// y after the last, and a buffer in between. Outputs of a row of y lie together, so that the
// registers that hold a tile's sums are stored as they are.
#pragma once

#include "cpu/conv/args.h"
#include "cpu/tile/store.h"

namespace {

// `length` consecutive outputs of one channel. Reads whole vectors of sums.
template <class Y>
SECATEUR_INLINE void store_pixels(const Store& s, Y* y, std::int64_t at, const float* sums,
                                  std::int64_t length) {
  std::int64_t i = 0;
  for (; i + kLanes <= length; i += kLanes) store_vec(s, y, at + i, load(sums + i));
  if (i == length) return;
  if (length > kLanes && s.residual != s.y) {  // once more, from a vector before the end
    store_vec(s, y, at + length - kLanes, load(sums + length - kLanes));
    return;
  }
  for (; i < length; ++i) store_scalar(s, y, at + i, sums[i]);
}

// Sums of one row block, its rows taken in any order.
template <class T>
struct ImageSums {
  float* sums;        // [row_block, T::kRows]
  const float* bias;  // of the block's first output, or null
  bool first, last;   // of the K blocks; not last: nothing goes to y
  Store to;           // y at the block's first output and the tile's first position; stride: pixels
  bool quick;         // no activation that takes long
  bool whole;         // all positions of the tile are outputs, not the first to.rows alone

  static constexpr int kVectors = T::kRows / kLanes;

  bool every_row() const { return first || last; }

  // Channels of y lie a page or more apart, and no prefetcher of the processor's follows: without
  // this a 1x1 with many outputs took up to three times as long on Zen 3.
  SECATEUR_INLINE void expect(std::int64_t row) const {
    if (!last) return;
    const float* y = static_cast<const float*>(to.y) + row * to.stride;
    SECATEUR_UNROLL
    for (int v = 0; v < T::kRows; v += 16) __builtin_prefetch(y + v, 1);
    if (!to.residual) return;
    const float* residual = static_cast<const float*>(to.residual) + row * to.stride;
    SECATEUR_UNROLL
    for (int v = 0; v < T::kRows; v += 16) __builtin_prefetch(residual + v);
  }

  SECATEUR_INLINE void start(T& tile, std::int64_t row) const {
    if (first)
      tile.start(bias ? splat(bias[row]) : Vec{});
    else
      tile.start(sums + row * T::kRows);
  }

  SECATEUR_INLINE void finish(T& tile, std::int64_t row) const {
    tile.join();
    finish(tile.sum[0], row, 0);
  }

  // The same of a few vectors of a row, from vector `from` on; the row's last come last.
  template <int kCount>
  SECATEUR_INLINE void start(Vec (&sum)[kCount], std::int64_t row, int from) const {
    if (first) {
      const Vec b = bias ? splat(bias[row]) : Vec{};
      SECATEUR_UNROLL
      for (int v = 0; v < kCount; ++v) sum[v] = b;
      return;
    }
    SECATEUR_UNROLL
    for (int v = 0; v < kCount; ++v) sum[v] = load(sums + row * T::kRows + (from + v) * kLanes);
  }

  template <int kCount>
  SECATEUR_INLINE void finish(Vec (&sum)[kCount], std::int64_t row, int from) const {
    if (!last || !quick) return to_buffer(sum, row, from);
    const std::int64_t at = row * to.stride + from * kLanes;
    const std::int64_t left = to.rows - from * kLanes;
    const float* residual = to.residual ? static_cast<const float*>(to.residual) + at : nullptr;
    if (residual && to.residual_first) add(sum, residual, left);
    activate_all(sum);
    if (residual && !to.residual_first) add(sum, residual, left);
    to_y(sum, static_cast<float*>(to.y) + at, left);
  }

  template <int kCount>
  SECATEUR_INLINE void to_buffer(const Vec (&sum)[kCount], std::int64_t row, int from) const {
    SECATEUR_UNROLL
    for (int v = 0; v < kCount; ++v) store(sums + row * T::kRows + (from + v) * kLanes, sum[v]);
    if (last && from + kCount == kVectors) finish_row(row);
  }

  template <int kCount>
  SECATEUR_INLINE void to_y(const Vec (&sum)[kCount], float* y, std::int64_t left) const {
    if (whole) {
      SECATEUR_UNROLL
      for (int v = 0; v < kCount; ++v) store(y + v * kLanes, sum[v]);
      return;
    }
    SECATEUR_UNROLL
    for (int v = 0; v < kCount; ++v) store_first(y + v * kLanes, sum[v], left - v * kLanes);
  }

  // The activations that take a moment.
  template <int kCount>
  SECATEUR_INLINE void activate_all(Vec (&sum)[kCount]) const {
    if (to.act == Act::none) return;
    SECATEUR_UNROLL
    for (int v = 0; v < kCount; ++v) sum[v] = relu(sum[v]);
    if (to.act == Act::relu) return;
    SECATEUR_UNROLL
    for (int v = 0; v < kCount; ++v) sum[v] = relu6(sum[v]);
  }

  template <int kCount>
  SECATEUR_INLINE void add(Vec (&sum)[kCount], const float* residual, std::int64_t left) const {
    SECATEUR_UNROLL
    for (int v = 0; v < kCount; ++v) {
      const float* r = residual + v * kLanes;
      sum[v] += whole ? load(r) : load_first(r, left - v * kLanes);
    }
  }

  [[gnu::noinline]] void finish_row(std::int64_t row) const {
    store_pixels(to, static_cast<float*>(to.y), row * to.stride, sums + row * T::kRows, to.rows);
  }
};

}  // namespace
