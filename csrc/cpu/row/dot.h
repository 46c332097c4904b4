// Kept weights of one row times one row of x, for every ISA: x is fetched a float at a time, four
// to a vector. Bound: load ports, 1 + 1/8 + 1/4 loads a weight. No gather: it is slow wherever
// timed.
#pragma once

#include <cstring>

#include "cpu/narrow.h"
#include "cpu/vec.h"

namespace {

typedef float Quad __attribute__((vector_size(16)));
typedef float UnalignedQuad __attribute__((vector_size(16), aligned(4), may_alias));

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
static_assert(kLanes == 4);
template <class V>
SECATEUR_INLINE Quad quad(const V* p) {
  return load(p);
}
#endif

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
