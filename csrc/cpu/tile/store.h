// Feature-major sums back to row-major y, with the activation and the residual on the way.
#pragma once

#include "cpu/act.h"
#include "cpu/kernel.h"
#include "cpu/narrow.h"
#include "cpu/vec.h"

namespace {

using secateur::Act;

struct Store {
  void* y;               // y[0, first output of this block]
  const void* residual;  // the same element of the residual, or null
  std::int64_t stride;   // elements between rows of y and of the residual
  std::int64_t rows;     // rows of y to write, at most the tile
  std::int64_t outputs;  // consecutive outputs
  Act act;
  Type type;                    // of y and of the residual
  bool residual_first = false;  // it is added before the activation
};

// Where the outputs of `a` from (row, output) on go.
SECATEUR_INLINE Store store_at(const secateur::LinearArgs& a, std::int64_t row, std::int64_t output,
                               std::int64_t rows, std::int64_t outputs) {
  const std::int64_t stride = a.weight->out_features, first = row * stride + output;
  const void* residual = a.residual ? at(a.residual, a.x_type, first) : nullptr;
  return {at(a.y, a.x_type, first), residual, stride, rows, outputs, a.act, a.x_type};
}

template <class Y>
SECATEUR_INLINE void store_vec(const Store& s, Y* y, std::int64_t at, Vec v) {
  const Y* residual = static_cast<const Y*>(s.residual);
  if (residual && s.residual_first) v += load(residual + at);
  v = activate(s.act, v);
  if (residual && !s.residual_first) v += load(residual + at);
  store(y + at, v);
}

template <class Y>
SECATEUR_INLINE void store_scalar(const Store& s, Y* y, std::int64_t at, float f) {
  const float r = s.residual ? to_float(static_cast<const Y*>(s.residual) + at) : 0.0F;
  if (s.residual && s.residual_first) f += r;
  f = activate(s.act, splat(f))[0];
  from_float(y + at, s.residual && !s.residual_first ? f + r : f);
}

// One row of finished sums.
inline void store_row(const float* sums, const Store& s) {
  typed(s.type, s.y, [&](auto* y) {
    std::int64_t o = 0;
    for (; o + kLanes <= s.outputs; o += kLanes) store_vec(s, y, o, load(sums + o));
    for (; o < s.outputs; ++o) store_scalar(s, y, o, sums[o]);
  });
}

template <int Tile, class Y>
void store_tile(const float* __restrict sums, const Store& s, Y* y) {
  const std::int64_t whole = s.outputs / kLanes * kLanes;
  for (std::int64_t t = 0; t < s.rows; t += kLanes) {
    const int rows = s.rows - t < kLanes ? static_cast<int>(s.rows - t) : kLanes;
    for (std::int64_t o = 0; o < whole; o += kLanes) {
      Vec v[kLanes];
      SECATEUR_UNROLL
      for (int i = 0; i < kLanes; ++i) v[i] = load(sums + (o + i) * Tile + t);
      transpose(v);
      if (rows == kLanes) {
        SECATEUR_UNROLL
        for (int i = 0; i < kLanes; ++i) store_vec(s, y, (t + i) * s.stride + o, v[i]);
      } else {
        for (int i = 0; i < rows; ++i) store_vec(s, y, (t + i) * s.stride + o, v[i]);
      }
    }
    for (std::int64_t o = whole; o < s.outputs; ++o)
      for (int i = 0; i < rows; ++i)
        store_scalar(s, y, (t + i) * s.stride + o, sums[o * Tile + t + i]);
  }
}

}  // namespace
