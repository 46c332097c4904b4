// Kept weights of one row times one row of x, for every ISA: x is fetched a float at a time, four
// to a vector. Bound: load ports, 1 + 1/8 + 1/4 loads a weight. No gather: it is slow wherever
// timed.
#pragma once

#include <cstring>

#include "cpu/vec.h"

namespace {

typedef float Quad __attribute__((vector_size(16)));
typedef float UnalignedQuad __attribute__((vector_size(16), aligned(4), may_alias));

SECATEUR_INLINE Quad fetch(const float* x, std::uint32_t k) {
  return Quad{x[k & 255U], x[k >> 8 & 255U], x[k >> 16 & 255U], x[k >> 24]};
}

SECATEUR_INLINE float dot_kept(const float* w, const std::uint8_t* column, int nnz,
                               const float* x) {
  Quad a{}, b{};
  int j = 0;
  for (; j + 8 <= nnz; j += 8) {
    std::uint64_t k;
    std::memcpy(&k, column + j, sizeof k);
    a += *reinterpret_cast<const UnalignedQuad*>(w + j) * fetch(x, static_cast<std::uint32_t>(k));
    b += *reinterpret_cast<const UnalignedQuad*>(w + j + 4) *
         fetch(x, static_cast<std::uint32_t>(k >> 32));
  }
  float tail = 0.0F;
  for (; j < nnz; ++j) tail += w[j] * x[column[j]];
  a += b;
  return (a[0] + a[1]) + (a[2] + a[3]) + tail;
}

}  // namespace
