// csr x one row of x, for every ISA.
#pragma once

#include "cpu/csr_linear/blocks.h"
#include "cpu/row/dot.h"
#include "cpu/row/row.h"

namespace {

template <class V>
[[gnu::noinline]] void rows_times_x(const CsrCursor& c, const float* x, float* y) {
  const V* w = c.w.as<V>();
  const std::uint8_t* column = c.column;
  const std::uint16_t* row = c.row;
  const float* scale = c.w.scale;
  for (const secateur::Run* run = c.run; run != c.last && run->nnz > 0; ++run) {
    const int nnz = run->nnz;
    for (int i = 0; i < run->rows; ++i, ++row, w += nnz, column += nnz) {
      ask_ahead(w, nnz * sizeof(V));
      ask_ahead(column, 1);
      const float sum = dot_kept(w, column, nnz, x);
      y[*row] += scale ? sum * scale[*row] : sum;
    }
  }
}

struct CsrRowBlocks {
  const LinearArgs& args;

  explicit CsrRowBlocks(const LinearArgs& a) : args(a) {}

  void times_row(std::int64_t row_block, std::int64_t k_block, const float* x, float* y) const {
    const CsrCursor c(args, row_block, k_block);
    typed(args.value_type, args.values, [&]<class V>(const V*) { rows_times_x<V>(c, x, y); });
  }
};

}  // namespace
