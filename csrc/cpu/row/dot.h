// Kept weights of one row times one row of x, for every ISA: x is fetched a float at a time, four
// to a vector. Bound: load ports, 1 + 1/8 + 1/4 loads a weight. No gather: it is slow wherever
// timed.
#pragma once

#include <cstring>

#include "cpu/narrow.h"
#include "cpu/vec.h"

namespace {

typedef float Quad __attribute__((vector_size(16)));

SECATEUR_INLINE Quad fetch(const float* x, std::uint32_t k) {
  return Quad{x[k & 255U], x[k >> 8 & 255U], x[k >> 16 & 255U], x[k >> 24]};
}

// Four values as floats.
SECATEUR_INLINE Quad quad(const float* p) { return *reinterpret_cast<const UnalignedQuad*>(p); }
#if defined(__AVX2__)
SECATEUR_INLINE Quad quad(const Bf16* p) {
  return (Quad)_mm_slli_epi32(_mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i*)p)), 16);
}
SECATEUR_INLINE Quad quad(const F16* p) { return _mm_cvtph_ps(_mm_loadl_epi64((const __m128i*)p)); }
SECATEUR_INLINE Quad quad(const I8* p) {
  return _mm_cvtepi32_ps(_mm_cvtepi8_epi32(_mm_loadu_si32(p)));
}
#else
template <class V>
SECATEUR_INLINE Quad quad(const V* p) {
  if constexpr (kLanes == 4)
    return load(p);
  else
    return Quad{to_float(p), to_float(p + 1), to_float(p + 2), to_float(p + 3)};
}
#endif

template <int kQuad>
SECATEUR_INLINE Quad quad_of(Vec v) {
  constexpr int kFrom = 4 * kQuad;
  return __builtin_shufflevector(v, v, kFrom, kFrom + 1, kFrom + 2, kFrom + 3);
}

// The sum of a vector's quads.
template <int kQuad = 0>
SECATEUR_INLINE Quad folded(Vec v) {
  if constexpr (4 * (kQuad + 1) < kLanes)
    return quad_of<kQuad>(v) + folded<kQuad + 1>(v);
  else
    return quad_of<kQuad>(v);
}

// The sum of a vector's lanes.
SECATEUR_INLINE float total(Vec v) {
  const Quad sum = folded(v);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// By four columns, one after another.
SECATEUR_INLINE Quad fetch(const float* x, const std::uint8_t* column) {
  std::uint32_t k;
  std::memcpy(&k, column, sizeof k);
  return fetch(x, k);
}

typedef std::int32_t QuadMask __attribute__((vector_size(16)));

// The first `count` of a quad of products, 1 to 3; the rest is zero, whatever lies there.
struct QuadStart {
  QuadMask there;
  std::uint32_t columns;

  SECATEUR_INLINE explicit QuadStart(int count) : columns((1U << 8 * count) - 1U) {
    static constexpr std::int32_t kLanesThere[8] = {-1, -1, -1, -1};
    std::memcpy(&there, kLanesThere + 4 - count, sizeof there);
  }

  // Columns beyond are of another row, or of another block, and x may end before them.
  template <class V>
  SECATEUR_INLINE Quad products(const V* w, const std::uint8_t* column, const float* x) const {
    std::uint32_t k;
    std::memcpy(&k, column, sizeof k);
    return (Quad)((QuadMask)(quad(w) * fetch(x, k & columns)) & there);
  }
};

// Lane r: the sum of sum[r].
SECATEUR_INLINE Quad sums_of(const Quad (&sum)[4]) {
  const Quad ab = __builtin_shufflevector(sum[0], sum[1], 0, 2, 4, 6) +
                  __builtin_shufflevector(sum[0], sum[1], 1, 3, 5, 7);
  const Quad cd = __builtin_shufflevector(sum[2], sum[3], 0, 2, 4, 6) +
                  __builtin_shufflevector(sum[2], sum[3], 1, 3, 5, 7);
  return __builtin_shufflevector(ab, cd, 0, 2, 4, 6) + __builtin_shufflevector(ab, cd, 1, 3, 5, 7);
}

// The dot products of kRows rows of nnz weights each, one row after another, in the first lanes.
template <int kRows, class V>
SECATEUR_INLINE Quad dots_kept(const V* w, const std::uint8_t* column, int nnz, const float* x) {
  Quad sum[4]{};
  for (int q = nnz / 4; q > 0; --q, w += 4, column += 4) {
    SECATEUR_UNROLL
    for (int r = 0; r < kRows; ++r) sum[r] += quad(w + r * nnz) * fetch(x, column + r * nnz);
  }
  if (nnz % 4 != 0) {
    const QuadStart rest(nnz % 4);
    SECATEUR_UNROLL
    for (int r = 0; r < kRows; ++r) sum[r] += rest.products(w + r * nnz, column + r * nnz, x);
  }
  return sums_of(sum);
}

template <class V>
SECATEUR_INLINE float dot_kept(const V* w, const std::uint8_t* column, int nnz, const float* x) {
  Quad a{}, b{};
  int j = 0;
  for (; j + 8 <= nnz; j += 8) {
    std::uint64_t k;
    std::memcpy(&k, column + j, sizeof k);
    a += quad(w + j) * fetch(x, static_cast<std::uint32_t>(k));
    b += quad(w + j + 4) * fetch(x, static_cast<std::uint32_t>(k >> 32));
  }
  float tail = 0.0F;
  for (; j < nnz; ++j) tail += to_float(w + j) * x[column[j]];
  a += b;
  return (a[0] + a[1]) + (a[2] + a[3]) + tail;
}

}  // namespace
