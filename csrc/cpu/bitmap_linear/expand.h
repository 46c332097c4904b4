// Kept weights, stored one after another, spread to the columns that a mask names. A mask has a bit
// for each lane, the first column lowest; columns it does not name get zero.
#pragma once

#include <array>
#include <bit>
#include <cstring>

#include "cpu/narrow.h"
#include "cpu/vec.h"

namespace {

// The mask of the columns from kLanes * group on, of one row's bits.
SECATEUR_INLINE unsigned mask_at(const std::uint8_t* bits, std::int64_t group) {
  if constexpr (kLanes == 16) {
    std::uint16_t two;
    std::memcpy(&two, bits + 2 * group, sizeof two);
    return two;
  } else if constexpr (kLanes == 8) {
    return bits[group];
  } else {
    return bits[group / 2] >> (group % 2 * 4) & 15U;
  }
}

#if defined(__AVX512F__)

template <class V>
SECATEUR_INLINE Vec expand(const V* w, unsigned mask) {
  return _mm512_maskz_expand_ps(static_cast<__mmask16>(mask), load(w));
}

#elif defined(__AVX2__)

// For each mask of 8 columns, what vpshufb takes: the bytes of each kept value, 0x80 for a zero.
// kHalves: 2 where 4 columns are spread at a time, each half from its own 16 bytes.
template <int kBytes, int kHalves>
consteval auto shuffles() {
  std::array<std::array<std::uint8_t, 8 * kBytes>, 256> table{};
  for (unsigned mask = 0; mask < 256; ++mask) {
    int next = 0;
    for (int column = 0; column < 8; ++column) {
      if (column % (8 / kHalves) == 0) next = 0;
      const bool kept = (mask >> column & 1U) != 0;
      for (int byte = 0; byte < kBytes; ++byte)
        table[mask][column * kBytes + byte] =
            static_cast<std::uint8_t>(kept ? next * kBytes + byte : 0x80);
      next += kept ? 1 : 0;
    }
  }
  return table;
}

SECATEUR_INLINE Vec expand(const float* w, unsigned mask) {
  alignas(64) static constexpr auto kTable = shuffles<4, 2>();
  const __m128 low = _mm_loadu_ps(w), high = _mm_loadu_ps(w + std::popcount(mask & 15U));
  const __m256i both = _mm256_castps_si256(_mm256_set_m128(high, low));
  return (Vec)_mm256_shuffle_epi8(both, *(const __m256i*)kTable[mask].data());
}

SECATEUR_INLINE __m128i expand_halves(const void* w, unsigned mask) {
  alignas(64) static constexpr auto kTable = shuffles<2, 1>();
  return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i*)w), *(const __m128i*)kTable[mask].data());
}
SECATEUR_INLINE Vec expand(const Bf16* w, unsigned mask) {
  return (Vec)_mm256_slli_epi32(_mm256_cvtepu16_epi32(expand_halves(w, mask)), 16);
}
SECATEUR_INLINE Vec expand(const F16* w, unsigned mask) {
  return _mm256_cvtph_ps(expand_halves(w, mask));
}
SECATEUR_INLINE Vec expand(const I8* w, unsigned mask) {
  alignas(64) static constexpr auto kTable = shuffles<1, 1>();
  const __m128i bytes = _mm_shuffle_epi8(_mm_loadl_epi64((const __m128i*)w),
                                         _mm_loadl_epi64((const __m128i*)kTable[mask].data()));
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

#else

template <class V>
SECATEUR_INLINE Vec expand(const V* w, unsigned mask) {
  const Vec kept = load(w);
  Vec spread{};
  SECATEUR_UNROLL
  for (int lane = 0; lane < kLanes; ++lane) {
    const bool there = (mask >> lane & 1U) != 0;
    spread[lane] = there ? kept[std::popcount(mask & ((1U << lane) - 1U))] : 0.0F;
  }
  return spread;
}

#endif

}  // namespace
