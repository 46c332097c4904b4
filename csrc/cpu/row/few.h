// The kernel for few rows of x of any format: up to four rows of x go through a row block of the
// weight together, so that it is read from memory once. `Blocks` adds one row block's outputs.
#pragma once

#include <cstring>

#include "cpu/kernel.h"
#include "cpu/row/dot.h"
#include "cpu/tile/store.h"
#include "cpu/vec.h"

namespace {

using secateur::Header;
using secateur::LinearArgs;
using secateur::Part;

constexpr int kRowsTogether = 4;  // rows of x

// The rows of x that are multiplied together, as floats, zeros after the last up to a whole vector.
struct FewRows {
  const float* row[kRowsTogether];
  int count;
  float* spare;  // scratch beyond few_scratch, for a kernel that asked for more
};

// Where their sums go: one row block of each.
struct FewSums {
  float* row[kRowsTogether];
};

SECATEUR_INLINE std::int64_t padded(std::int64_t features) {
  return secateur::ceil_div(features, kLanes) * kLanes;
}

FewRows few_rows(const LinearArgs& a, std::int64_t from, int count, float* wide) {
  const std::int64_t features = a.weight->in_features, length = padded(features);
  FewRows x{{}, count, wide + kRowsTogether * length};
  for (int i = 0; i < count; ++i, wide += length) {
    const void* row = at(a.x, a.x_type, (from + i) * a.x_stride);
    x.row[i] = static_cast<const float*>(row);
    if (a.x_type == Type::f32 && length == features) continue;
    const std::int64_t whole = features / kLanes * kLanes;
    widen(row, a.x_type, whole, 1.0F, wide, false);
    alignas(64) float rest[kLanes];
    widen(at(row, a.x_type, whole), a.x_type, features - whole, 1.0F, rest, false);
    for (std::int64_t k = whole; k < length; ++k) wide[k] = k < features ? rest[k - whole] : 0.0F;
    x.row[i] = wide;
  }
  return x;
}

template <class Blocks>
void few_run(const LinearArgs& a, const Part& part, float* scratch) {
  const Header& h = *a.weight;
  float* wide = scratch + kRowsTogether * h.row_block;
  FewSums sums;
  for (int i = 0; i < kRowsTogether; ++i) sums.row[i] = scratch + i * h.row_block;
  for (std::int64_t t = part.row_begin; t < part.row_end; t += kRowsTogether) {
    const auto count = static_cast<int>(secateur::smaller(kRowsTogether, part.row_end - t));
    const FewRows x = few_rows(a, t, count, wide);
    const Blocks blocks(a, x);
    for (std::int64_t b = part.block_begin; b < part.block_end; ++b) {
      const std::int64_t first = b * h.row_block;
      const std::int64_t outputs = secateur::smaller(h.row_block, h.out_features - first);
      for (int i = 0; i < count; ++i)
        for (std::int64_t o = 0; o < outputs; ++o)
          sums.row[i][o] = a.bias ? a.bias[first + o] : 0.0F;
      blocks.times_rows(b, outputs, sums);
      for (int i = 0; i < count; ++i) store_row(sums.row[i], store_at(a, t + i, first, 1, outputs));
    }
  }
}

[[maybe_unused]] int few_rank(const Header&, std::int64_t) { return 1; }

[[maybe_unused]] std::int64_t few_scratch(const Header& h, std::int64_t) {
  return kRowsTogether * (h.row_block + padded(h.in_features)) + 2 * kLanes;
}

}  // namespace
