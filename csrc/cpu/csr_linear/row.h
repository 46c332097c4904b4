// csr x one row of x, for every ISA: up to four outputs of a run at a time.
#pragma once

#include "cpu/csr_linear/blocks.h"
#include "cpu/row/dot.h"
#include "cpu/row/row.h"

namespace {

// The next kRows rows of a run.
template <int kRows, class V>
SECATEUR_INLINE void rows_times_x(CsrCursor& c, int nnz, const float* x, float* y) {
  const Quad sums = dots_kept<kRows>(c.w.as<V>(), c.column, nnz, x);
  SECATEUR_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const int row = c.row[r];
    float sum = sums[r];
    if constexpr (std::is_same_v<V, I8>) sum *= c.w.scale[row];
    y[row] += sum;
  }
  c.next_rows(kRows, nnz);
}

template <class V>
[[gnu::noinline]] void block_times_x(CsrCursor c, const float* x, float* y) {
  for (; !c.done(); ++c.run) {
    const int nnz = c.run->nnz;
    int rows = c.run->rows;
    for (; rows >= 4; rows -= 4) rows_times_x<4, V>(c, nnz, x, y);
    if (rows & 2) rows_times_x<2, V>(c, nnz, x, y);
    if (rows & 1) rows_times_x<1, V>(c, nnz, x, y);
  }
}

struct CsrRowBlocks {
  const LinearArgs& args;

  explicit CsrRowBlocks(const LinearArgs& a) : args(a) {}

  void times_row(std::int64_t row_block, std::int64_t k_block, const float* x, float* y) const {
    const CsrCursor c(args, row_block, k_block);
    typed(args.value_type, args.values, [&]<class V>(const V*) { block_times_x<V>(c, x, y); });
  }
};

}  // namespace
