// How a csr index is walked: per (row block, K block) its runs of rows with equally many weights.
#pragma once

#include "cpu/kernel.h"
#include "cpu/values.h"
#include "cpu/vec.h"

namespace {

// Where a kernel stands in one block. Rows of a run keep `nnz` weights each, one row after another.
struct CsrCursor {
  Values w;
  const std::uint8_t* column;
  const std::uint16_t* row;
  const secateur::Run* run;
  const secateur::Run* last;

  CsrCursor(const secateur::LinearArgs& a, std::int64_t row_block, std::int64_t k_block)
      : w(a, row_block) {
    const secateur::Header& h = *a.weight;
    const auto& b =
        secateur::section<secateur::Block>(h, h.table)[row_block * secateur::k_blocks(h) + k_block];
    w.skip(b.first_value);
    column = secateur::section<std::uint8_t>(h, h.columns) + b.first_value;
    row = secateur::section<std::uint16_t>(h, h.rows) + b.first_row;
    run = secateur::section<secateur::Run>(h, h.runs) + b.first_run;
    last = run + b.runs;
  }

  SECATEUR_INLINE bool done() const { return run == last || run->nnz == 0; }

  SECATEUR_INLINE void next_rows(int rows, int nnz) {
    row += rows;
    w.skip(rows * nnz);
    column += rows * nnz;
  }

  SECATEUR_INLINE void next_row(int nnz) { next_rows(1, nnz); }
};

}  // namespace
