// Feature-major sums back to row-major y, with the activation and the residual on the way.
#pragma once

#include "cpu/act.h"
#include "cpu/kernel.h"
#include "cpu/vec.h"

namespace {

using secateur::Act;

struct Store {
  float* y;               // y[0, first output of this block]
  const float* residual;  // the same element of the residual, or null
  std::int64_t stride;    // elements between rows of y and of the residual
  std::int64_t rows;      // rows of y to write, at most the tile
  std::int64_t outputs;   // consecutive outputs
  Act act;
};

SECATEUR_INLINE void store_vec(const Store& s, std::int64_t at, Vec v) {
  v = activate(s.act, v);
  if (s.residual) v += load(s.residual + at);
  store(s.y + at, v);
}

SECATEUR_INLINE void store_scalar(const Store& s, std::int64_t at, float f) {
  f = activate(s.act, splat(f))[0];
  s.y[at] = s.residual ? f + s.residual[at] : f;
}

// One row of finished sums.
SECATEUR_INLINE void store_row(const float* sums, std::int64_t outputs, Act act,
                               const float* residual, float* y) {
  const Store s{y, residual, outputs, 1, outputs, act};
  std::int64_t o = 0;
  for (; o + kLanes <= outputs; o += kLanes) store_vec(s, o, load(sums + o));
  for (; o < outputs; ++o) store_scalar(s, o, sums[o]);
}

template <int Tile>
void store_tile(const float* __restrict sums, const Store& s) {
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
        for (int i = 0; i < kLanes; ++i) store_vec(s, (t + i) * s.stride + o, v[i]);
      } else {
        for (int i = 0; i < rows; ++i) store_vec(s, (t + i) * s.stride + o, v[i]);
      }
    }
    for (std::int64_t o = whole; o < s.outputs; ++o)
      for (int i = 0; i < rows; ++i)
        store_scalar(s, (t + i) * s.stride + o, sums[o * Tile + t + i]);
  }
}

}  // namespace
