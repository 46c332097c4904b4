// csr x many rows of x.
#pragma once

#include "cpu/csr_linear/blocks.h"
#include "cpu/tile/tiled.h"

namespace {

struct CsrBlocks {
  const LinearArgs& args;

  explicit CsrBlocks(const LinearArgs& a) : args(a) {}

  // `sums` says where a row starts from and ends (tile/tile.h).
  template <class T, class Sums>
  void times_panel(std::int64_t row_block, std::int64_t k_block, const float* panel,
                   const Sums& sums) const {
    alignas(64) float wide[kMostKept + kLanes];
    CsrCursor c(args, row_block, k_block);
    for (; !c.done(); ++c.run) {
      const int nnz = c.run->nnz;
      for (int i = 0; i < c.run->rows; ++i, c.next_row(nnz)) {
        T tile;
        sums.expect(c.row[kRowsAhead]);
        sums.start(tile, *c.row);
        row_times_panel(tile, nnz, c.w.floats(nnz, *c.row, wide), c.column, panel);
        sums.finish(tile, *c.row);
      }
    }
    if (!sums.every_row() || c.run == c.last) return;
    for (int i = 0; i < c.run->rows; ++i) {
      T tile;
      sums.expect(c.row[i + kRowsAhead]);
      sums.start(tile, c.row[i]);
      sums.finish(tile, c.row[i]);
    }
  }
};

}  // namespace
