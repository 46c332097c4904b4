// How a bsr index is walked: per (row block, K block) its block rows. A block row is a dense strip:
// its kept columns, and for each of them one weight for every row, one column after another.
#pragma once

#include <cstring>

#include "cpu/kernel.h"
#include "cpu/vec.h"

namespace {

// Weights of `height` rows at `count` local columns: w[j * height + i] stands in row i, column[j].
struct Strip {
  const float* w;
  const std::uint8_t* column;
  int height;
  int count;
};

// Where a kernel stands in one (row block, K block).
struct BsrCursor {
  const float* w;
  const std::uint8_t* start;   // first column of each block
  const std::uint16_t* count;  // blocks of each block row
  int r, c;                    // of a block that no edge cuts
  int rows, width;             // of this (row block, K block)
  int row = 0;                 // first row of the block row

  BsrCursor(const secateur::LinearArgs& a, std::int64_t row_block, std::int64_t k_block) {
    const secateur::Header& h = *a.weight;
    const std::int64_t deep = secateur::k_blocks(h);
    const std::int64_t first_row = row_block * h.row_block, first_k = k_block * h.k_block;
    r = h.n;
    c = h.m;
    rows = static_cast<int>(secateur::smaller(h.row_block, h.out_features - first_row));
    width = static_cast<int>(secateur::smaller(h.k_block, h.in_features - first_k));
    const auto& cut = secateur::section<secateur::BsrCut>(h, h.table)[row_block * deep + k_block];
    w = static_cast<const float*>(a.values) + cut.first_value;
    start = secateur::section<std::uint8_t>(h, h.columns) + cut.first_block;
    count = secateur::section<std::uint16_t>(h, h.runs) + row_block * deep * (h.row_block / r) +
            k_block * secateur::ceil_div(rows, r);
  }

  SECATEUR_INLINE bool done() const { return row >= rows; }
  SECATEUR_INLINE int height() const { return rows - row < r ? rows - row : r; }

  // The last block of the last K block may be cut.
  SECATEUR_INLINE int columns() const {
    const int end = *count > 0 ? start[*count - 1] + c : 0;
    return *count * c - (end > width ? end - width : 0);
  }

  SECATEUR_INLINE void next() {
    w += height() * columns();
    start += *count;
    ++count;
    row += r;
  }
};

// The columns of a block row, one byte each; in the index itself where a block is one column wide.
struct Columns {
  alignas(64) std::uint8_t byte[256 + 8];

  SECATEUR_INLINE const std::uint8_t* of(const BsrCursor& at) {
    if (at.c == 1) return at.start;
    std::uint8_t* to = byte;
    for (int b = 0; b < *at.count; ++b, to += at.c)
      for (int j = 0; j < at.c; j += 8) {
        // Eight bytes that count up; what runs past the block is written over or not read.
        const std::uint64_t eight =
            static_cast<std::uint64_t>(at.start[b] + j) * 0x0101010101010101U + 0x0706050403020100U;
        std::memcpy(to + j, &eight, sizeof eight);
      }
    return byte;
  }

  SECATEUR_INLINE Strip strip(const BsrCursor& at) {
    return {at.w, of(at), at.height(), at.columns()};
  }
};

}  // namespace
