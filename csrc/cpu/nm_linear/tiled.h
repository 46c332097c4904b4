// nm x many rows of x.
#pragma once

#include "cpu/nm_linear/columns.h"
#include "cpu/tile/tiled.h"

namespace {

struct NmBlocks {
  const LinearArgs& args;
  GroupStarts groups;

  explicit NmBlocks(const LinearArgs& a) : args(a), groups(*a.weight) {}

  template <class T>
  void times_panel(std::int64_t row_block, std::int64_t k_block, const float* panel,
                   float* sums) const {
    for_each_row(args, row_block, k_block, groups,
                 [&](int i, const float* w, const std::uint8_t* column, int kept) {
                   float* at = sums + static_cast<std::int64_t>(i) * T::kRows;
                   T tile;
                   tile.start(at);
                   row_times_panel(tile, kept, w, column, panel);
                   tile.finish(at);
                 });
  }
};

}  // namespace
