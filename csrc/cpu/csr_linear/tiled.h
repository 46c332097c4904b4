// csr x many rows of x.
#pragma once

#include "cpu/csr_linear/blocks.h"
#include "cpu/tile/tiled.h"

namespace {

struct CsrBlocks {
  const LinearArgs& args;

  explicit CsrBlocks(const LinearArgs& a) : args(a) {}

  template <class T>
  void times_panel(std::int64_t row_block, std::int64_t k_block, const float* panel,
                   float* sums) const {
    alignas(64) float wide[kMostKept + kLanes];
    for (CsrCursor c(args, row_block, k_block); !c.done(); ++c.run) {
      const int nnz = c.run->nnz;
      for (int i = 0; i < c.run->rows; ++i, c.next_row(nnz)) {
        float* at = sums + *c.row * T::kRows;
        T tile;
        tile.start(at);
        row_times_panel(tile, nnz, c.w.floats(nnz, *c.row, wide), c.column, panel);
        tile.finish(at);
      }
    }
  }
};

}  // namespace
