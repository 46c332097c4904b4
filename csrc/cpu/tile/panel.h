// x, row-major, to a panel: panel[k * Tile + t] = x[t, k], so that one weight meets Tile rows of x
// in consecutive memory, whatever type x had. Rows beyond the last are zeros; they are never
// stored.
#pragma once

#include "cpu/narrow.h"
#include "cpu/vec.h"

namespace {

template <int Tile, class X>
void pack_panel(const X* x, std::int64_t stride, std::int64_t rows, std::int64_t features,
                float* __restrict panel) {
  const std::int64_t whole = features / kLanes * kLanes;
  for (int t = 0; t < Tile; t += kLanes) {
    for (std::int64_t k = 0; k < whole; k += kLanes) {
      Vec v[kLanes];
      SECATEUR_UNROLL
      for (int i = 0; i < kLanes; ++i) v[i] = t + i < rows ? load(x + (t + i) * stride + k) : Vec{};
      transpose(v);
      SECATEUR_UNROLL
      for (int i = 0; i < kLanes; ++i) store(panel + (k + i) * Tile + t, v[i]);
    }
    for (std::int64_t k = whole; k < features; ++k)
      for (int i = 0; i < kLanes; ++i)
        panel[k * Tile + t + i] = t + i < rows ? to_float(x + (t + i) * stride + k) : 0.0F;
  }
}

}  // namespace
