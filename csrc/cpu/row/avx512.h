// AVX-512 words of the one-row kernels: a piece of x held in registers, and sums of four rows.
#pragma once

#include <immintrin.h>

#include "cpu/vec.h"

namespace {

// kTables * 16 floats in registers, found by table lookup (vpermi2ps): no load from x at all.
template <int kTables>
struct Lookup {
  static_assert(kTables == 8 || kTables == 12 || kTables == 16, "pairs of pairs of registers");
  __m512 x[kTables];

  SECATEUR_INLINE Lookup(const float* from, std::int64_t count) {
    SECATEUR_UNROLL
    for (int i = 0; i < kTables; ++i) {
      x[i] = _mm512_maskz_loadu_ps(first_lanes(count - 16 * i), from + 16 * i);
    }
  }

  // 32 floats by the low 5 bits, 64 by one more.
  template <int kFrom>
  SECATEUR_INLINE __m512 of_64(__m512i k, __mmask16 bit5) const {
    const __m512 low = _mm512_permutex2var_ps(x[kFrom], k, x[kFrom + 1]);
    const __m512 high = _mm512_permutex2var_ps(x[kFrom + 2], k, x[kFrom + 3]);
    return _mm512_mask_blend_ps(bit5, low, high);
  }

  SECATEUR_INLINE __m512 operator()(const std::uint8_t* column) const {
    const __m512i k =
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(column)));
    const __mmask16 bit5 = _mm512_test_epi32_mask(k, _mm512_set1_epi32(32));
    const __mmask16 bit6 = _mm512_test_epi32_mask(k, _mm512_set1_epi32(64));
    __m512 found = _mm512_mask_blend_ps(bit6, of_64<0>(k, bit5), of_64<4>(k, bit5));
    if constexpr (kTables > 8) {
      const __mmask16 bit7 = _mm512_test_epi32_mask(k, _mm512_set1_epi32(128));
      __m512 upper = of_64<8>(k, bit5);
      if constexpr (kTables > 12) upper = _mm512_mask_blend_ps(bit6, upper, of_64<12>(k, bit5));
      found = _mm512_mask_blend_ps(bit7, found, upper);
    }
    return found;
  }
};

// Four vectors to their four sums.
SECATEUR_INLINE __m128 sums_of_4(const __m512 (&v)[4]) {
  __m256 half[4];
  SECATEUR_UNROLL
  for (int i = 0; i < 4; ++i)
    half[i] = _mm256_add_ps(_mm512_castps512_ps256(v[i]), _mm512_extractf32x8_ps(v[i], 1));
  const __m256 pairs =
      _mm256_hadd_ps(_mm256_hadd_ps(half[0], half[1]), _mm256_hadd_ps(half[2], half[3]));
  return _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
}

}  // namespace
