// csr x one row of x, for every ISA.
#pragma once

#include "cpu/csr_linear/blocks.h"
#include "cpu/row/dot.h"
#include "cpu/row/row.h"

namespace {

struct CsrRowBlocks {
  const LinearArgs& args;

  explicit CsrRowBlocks(const LinearArgs& a) : args(a) {}

  void times_row(std::int64_t row_block, std::int64_t k_block, const float* x, float* y) const {
    for (CsrCursor c(args, row_block, k_block); !c.done(); ++c.run) {
      const int nnz = c.run->nnz;
      for (int i = 0; i < c.run->rows; ++i, c.next_row(nnz)) {
        for (int at = 0; at < 4 * nnz; at += 64)
          __builtin_prefetch(reinterpret_cast<const char*>(c.w) + kAhead + at);
        __builtin_prefetch(c.column + kAhead / 4);
        y[*c.row] += dot_kept(c.w, c.column, nnz, x);
      }
    }
  }
};

}  // namespace
