// The gradient of an nm weight's kept values.
#pragma once

#include "cpu/dw/dw.h"
#include "cpu/nm_linear/columns.h"

namespace {

struct NmWalk {
  const LinearArgs args;
  const GroupStarts groups;

  explicit NmWalk(const DwArgs& a) : args(a.walked()), groups(*a.weight) {}

  template <class Row>
  SECATEUR_INLINE void operator()(std::int64_t row_block, std::int64_t k_block, Row row) const {
    for_each_row(args, row_block, k_block, groups,
                 [&](int i, const float* w, const std::uint8_t* column, int kept) {
                   row(i, const_cast<float*>(w), column, kept);
                 });
  }
};

}  // namespace
