// How an nm index is walked: every row keeps width / M * N weights of a K block, so a row's values
// and codes lie at computed places; a code is a weight's place in its group, 2 bits (M <= 4) or 4.
#pragma once

#include <cstring>

#include "cpu/kernel.h"
#include "cpu/values.h"
#include "cpu/vec.h"

namespace {

struct NmBlock {
  Values w;                    // of the block's first row
  const std::uint32_t* codes;  // likewise
  int rows;
  int kept;   // weights of a row
  int words;  // words of codes of a row

  NmBlock(const secateur::LinearArgs& a, std::int64_t row_block, std::int64_t k_block)
      : w(a, row_block) {
    const secateur::Header& h = *a.weight;
    const std::int64_t first_row = row_block * h.row_block, first_k = k_block * h.k_block;
    const std::int64_t width = secateur::smaller(h.k_block, h.in_features - first_k);
    const auto words_of = [&](std::int64_t columns) {
      return secateur::ceil_div(columns / h.m * h.n * code_bits(h), 32);
    };
    const std::int64_t last_width = h.in_features - (secateur::k_blocks(h) - 1) * h.k_block;
    const std::int64_t words_of_row =
        (secateur::k_blocks(h) - 1) * words_of(h.k_block) + words_of(last_width);
    rows = static_cast<int>(secateur::smaller(h.row_block, h.out_features - first_row));
    kept = static_cast<int>(width / h.m * h.n);
    words = static_cast<int>(words_of(width));
    w.skip(first_row * (h.in_features / h.m * h.n) + rows * (first_k / h.m * h.n));
    codes = secateur::section<std::uint32_t>(h, h.columns) + first_row * words_of_row +
            rows * k_block * words_of(h.k_block);
  }

  static int code_bits(const secateur::Header& h) { return h.m <= 4 ? 2 : 4; }

  SECATEUR_INLINE void skip(int count) {
    w.skip(static_cast<std::int64_t>(count) * kept);
    codes += static_cast<std::int64_t>(count) * words;
  }
  SECATEUR_INLINE void next_row() { skip(1); }
};

// Where each kept weight's group starts in the K block: first[j] = j / N * M.
struct GroupStarts {
  std::uint8_t first[kMostKept + 16];

  explicit GroupStarts(const secateur::Header& h) {
    for (int j = 0; j < kMostKept + 16; ++j) first[j] = static_cast<std::uint8_t>(j / h.n * h.m);
  }
};

// Eight codes, packed kBits apart, to eight bytes.
template <int kBits>
SECATEUR_INLINE std::uint64_t spread(std::uint64_t codes) {
  if constexpr (kBits == 2) {
    codes = (codes | codes << 24) & 0x000000FF000000FFU;
    codes = (codes | codes << 12) & 0x000F000F000F000FU;
    return (codes | codes << 6) & 0x0303030303030303U;
  } else {
    codes = (codes | codes << 16) & 0x0000FFFF0000FFFFU;
    codes = (codes | codes << 8) & 0x00FF00FF00FF00FFU;
    return (codes | codes << 4) & 0x0F0F0F0F0F0F0F0FU;
  }
}

// One word of codes to local columns, a byte each: where its group starts, plus the code. They are
// added without carries, since a column is below 256.
template <int kBits>
SECATEUR_INLINE void columns_of_word(std::uint32_t word, const std::uint8_t* first,
                                     std::uint8_t* column) {
#if defined(__AVX2__)
  const __m128i packed = _mm_cvtsi32_si128(static_cast<int>(word));
  if constexpr (kBits == 2) {
    // Each byte four times; in every pair of bytes 16 bits, whose parts are shifted into place.
    const __m128i four =
        _mm_shuffle_epi8(packed, _mm_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3));
    const __m128i pairs = _mm_blend_epi16(four, _mm_srli_epi16(four, 4), 0b10101010);
    const __m128i even = _mm_and_si128(pairs, _mm_set1_epi16(0x0003));
    const __m128i odd = _mm_and_si128(_mm_srli_epi16(pairs, 2), _mm_set1_epi16(0x0300));
    const __m128i start = _mm_loadu_si128(reinterpret_cast<const __m128i*>(first));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(column),
                     _mm_add_epi8(start, _mm_or_si128(even, odd)));
  } else {
    const __m128i two = _mm_unpacklo_epi8(packed, _mm_srli_epi16(packed, 4));
    const __m128i code = _mm_and_si128(two, _mm_set1_epi8(0x0F));
    const __m128i start = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(first));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(column), _mm_add_epi8(start, code));
  }
#else
  for (int j = 0; j < 32 / kBits; j += 8, word >>= 16) {
    std::uint64_t start;
    std::memcpy(&start, first + j, sizeof start);
    start += spread<kBits>(kBits == 2 ? word & 0xFFFFU : word);
    std::memcpy(column + j, &start, sizeof start);
  }
#endif
}

// Codes of one row to local columns. Writes up to a whole word's worth past the last.
template <int kBits>
SECATEUR_INLINE void decode(const std::uint32_t* codes, int words, const GroupStarts& groups,
                            std::uint8_t* column) {
  constexpr int kEach = 32 / kBits;
  for (int i = 0; i < words; ++i)
    columns_of_word<kBits>(codes[i], groups.first + i * kEach, column + i * kEach);
}

}  // namespace
