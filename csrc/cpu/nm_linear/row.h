// nm x one row of x, for every ISA.
#pragma once

#include "cpu/nm_linear/columns.h"
#include "cpu/row/dot.h"
#include "cpu/row/row.h"

namespace {

struct NmRowBlocks {
  const LinearArgs& args;
  GroupStarts groups;

  explicit NmRowBlocks(const LinearArgs& a) : args(a), groups(*a.weight) {}

  void times_row(std::int64_t row_block, std::int64_t k_block, const float* x, float* y) const {
    for_each_row(args, row_block, k_block, groups,
                 [&](int i, const float* w, const std::uint8_t* column, int kept) {
                   y[i] += dot_kept(w, column, kept, x);
                 });
  }
};

}  // namespace
