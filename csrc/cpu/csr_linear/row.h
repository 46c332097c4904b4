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
  for (const secateur::Run* run = c.run; run != c.last && run->nnz != 0; ++run) {
    const int nnz = run->nnz;
    for (const std::uint16_t* last = row + run->rows; row != last; ++row) {
      float sum = dot_kept(w, column, nnz, x);
      if constexpr (std::is_same_v<V, I8>) sum *= c.w.scale[*row];
      y[*row] += sum;
      w += nnz;
      column += nnz;
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
