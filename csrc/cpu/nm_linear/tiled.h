// nm x many rows of x.
#pragma once

#include "cpu/nm_linear/columns.h"
#include "cpu/tile/tiled.h"

namespace {

struct NmBlocks {
  const LinearArgs& args;
  GroupStarts groups;

  explicit NmBlocks(const LinearArgs& a) : args(a), groups(*a.weight) {}

  template <class T, class Sums>
  void times_panel(std::int64_t row_block, std::int64_t k_block, const float* panel,
                   const Sums& sums) const {
    for_each_row(args, row_block, k_block, groups,
                 [&](int i, const float* w, const std::uint8_t* column, int kept) {
                   T tile;
                   sums.expect(i + kRowsAhead);
                   sums.start(tile, i);
                   row_times_panel(tile, kept, w, column, panel);
                   sums.finish(tile, i);
                 });
  }
};

}  // namespace
