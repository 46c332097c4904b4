// The gradient of a csr weight's kept values.
#pragma once

#include "cpu/csr_linear/blocks.h"
#include "cpu/dw/dw.h"

namespace {

struct CsrWalk {
  const LinearArgs args;

  explicit CsrWalk(const DwArgs& a) : args(a.walked()) {}

  template <class Row>
  SECATEUR_INLINE void operator()(std::int64_t row_block, std::int64_t k_block, Row row) const {
    for (CsrCursor c(args, row_block, k_block); !c.done(); ++c.run) {
      const int nnz = c.run->nnz;
      for (int i = 0; i < c.run->rows; ++i, c.next_row(nnz))
        row(*c.row, const_cast<float*>(c.w.as<float>()), c.column, nnz);
    }
  }
};

}  // namespace
