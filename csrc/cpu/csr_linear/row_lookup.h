// csr x one row of x, AVX-512: the K block's piece of x lies in 8, 12 or 16 registers.
// Bound: shuffle ports, 4 to 8 lookups for 16 weights; from DRAM, 5 bytes a weight.
#pragma once

#include "cpu/csr_linear/blocks.h"
#include "cpu/row/avx512.h"
#include "cpu/row/row.h"

namespace {

template <int kTables>
SECATEUR_INLINE __m512 dot_lookup(const CsrCursor& c, int nnz, const Lookup<kTables>& x) {
  const auto* w = c.w.as<float>();
  __m512 sum = _mm512_setzero_ps();
  const int whole = nnz / 16 * 16;
  for (int j = 0; j < whole; j += 16)
    sum = _mm512_fmadd_ps(_mm512_loadu_ps(w + j), x(c.column + j), sum);
  if (whole == nnz) return sum;
  const auto there = first_lanes(nnz - whole);
  // Masked, not multiplied by zero: the lanes beyond may look up an infinity.
  return _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(there, w + whole), x(c.column + whole), sum,
                               there);
}

template <int kTables>
void lookup_block(CsrCursor c, const Lookup<kTables>& x, float* y) {
  for (; !c.done(); ++c.run) {
    const int nnz = c.run->nnz;
    int i = 0;
    for (; i + 4 <= c.run->rows; i += 4) {
      __m512 sum[4];
      SECATEUR_UNROLL
      for (int r = 0; r < 4; ++r, c.next_row(nnz)) sum[r] = dot_lookup(c, nnz, x);
      alignas(16) float four[4];
      _mm_store_ps(four, sums_of_4(sum));
      for (int r = 0; r < 4; ++r) y[c.row[r - 4]] += four[r];
    }
    for (; i < c.run->rows; ++i, c.next_row(nnz))
      y[*c.row] += _mm512_reduce_add_ps(dot_lookup(c, nnz, x));
  }
}

struct CsrLookupBlocks {
  const LinearArgs& args;

  explicit CsrLookupBlocks(const LinearArgs& a) : args(a) {}

  void times_row(std::int64_t row_block, std::int64_t k_block, const float* x, float* y) const {
    const Header& h = *args.weight;
    const std::int64_t width = secateur::smaller(h.k_block, h.in_features - k_block * h.k_block);
    const CsrCursor c(args, row_block, k_block);
    if (width <= 128) return lookup_block(c, Lookup<8>(x, width), y);
    if (width <= 192) return lookup_block(c, Lookup<12>(x, width), y);
    lookup_block(c, Lookup<16>(x, width), y);
  }
};

}  // namespace
