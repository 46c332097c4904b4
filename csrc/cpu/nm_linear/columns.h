// One row's columns at a time, decoded to a small buffer: then nm is csr with equally long rows.
#pragma once

#include "cpu/nm_linear/blocks.h"

namespace {

// Calls row(i, w, column, kept) for every row of the block.
template <class Row>
SECATEUR_INLINE void for_each_row(const secateur::LinearArgs& a, std::int64_t row_block,
                                  std::int64_t k_block, const GroupStarts& groups, Row row) {
  alignas(64) std::uint8_t column[kMostKept + 16];
  alignas(64) float wide[kMostKept + kLanes];
  NmBlock b(a, row_block, k_block);
  const bool four_bits = NmBlock::code_bits(*a.weight) == 4;
  for (int i = 0; i < b.rows; ++i, b.next_row()) {
    if (four_bits)
      decode<4>(b.codes, b.words, groups, column);
    else
      decode<2>(b.codes, b.words, groups, column);
    row(i, b.w.floats(b.kept, i, wide), column, b.kept);
  }
}

}  // namespace
