// How an nm index is walked: every row keeps width / M * N weights of a K block, so a row's values
// and codes lie at computed places; a code is a weight's place in its group, 2 bits (M <= 4) or 4.
#pragma once

#include "cpu/kernel.h"
#include "cpu/vec.h"

namespace {

constexpr int kMostKept = 256;  // of one row in one K block

struct NmBlock {
  const float* w;              // of the block's first row
  const std::uint32_t* codes;  // likewise
  int rows;
  int kept;   // weights of a row
  int words;  // words of codes of a row

  NmBlock(const secateur::LinearArgs& a, std::int64_t row_block, std::int64_t k_block) {
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
    w = a.values + first_row * (h.in_features / h.m * h.n) + rows * (first_k / h.m * h.n);
    codes = secateur::section<std::uint32_t>(h, h.columns) + first_row * words_of_row +
            rows * k_block * words_of(h.k_block);
  }

  static int code_bits(const secateur::Header& h) { return h.m <= 4 ? 2 : 4; }

  SECATEUR_INLINE void next_row() {
    w += kept;
    codes += words;
  }
};

// Where each kept weight's group starts in the K block: first[j] = j / N * M.
struct GroupStarts {
  std::uint8_t first[kMostKept + 16];

  explicit GroupStarts(const secateur::Header& h) {
    for (int j = 0; j < kMostKept + 16; ++j) first[j] = static_cast<std::uint8_t>(j / h.n * h.m);
  }
};

// Codes of one row to local columns; writes up to a whole word's worth past the last.
template <int kBits>
SECATEUR_INLINE void decode(const std::uint32_t* codes, int words, const GroupStarts& groups,
                            std::uint8_t* column) {
  constexpr int kPerWord = 32 / kBits;
  for (int i = 0; i < words; ++i) {
    SECATEUR_UNROLL
    for (int j = 0; j < kPerWord; ++j) {
      const std::uint32_t code = codes[i] >> (kBits * j) & ((1U << kBits) - 1U);
      column[i * kPerWord + j] =
          static_cast<std::uint8_t>(groups.first[i * kPerWord + j] + code);
    }
  }
}

}  // namespace
