// The gradient of the kept weights, from a dispatcher call to a kernel.
#pragma once

#include "bind/linear.h"

namespace secateur::bind {

struct DwCall {
  Tensor grad_y, x, index;
  std::int64_t length;
};

// `reference` is the op to which dtypes without a kernel are handed.
Tensor dw(const KernelTable& table, Format format, const char* reference, const DwCall& call);

template <class Op>
Tensor dw_from_dispatcher(Tensor grad_y, Tensor x, Tensor index, std::int64_t length) {
  return dw(Op::table(), Op::format, Op::reference, {grad_y, x, index, length});
}

}  // namespace secateur::bind

// The binding of a format's gradient: all that its file in bind/ says.
#define SECATEUR_BIND_DW(fmt)                                                          \
  namespace secateur {                                                                 \
  const KernelTable& fmt##_linear_dw_table();                                          \
  namespace bind {                                                                     \
  namespace {                                                                          \
  struct Op {                                                                          \
    static const KernelTable& table() { return fmt##_linear_dw_table(); }              \
    static constexpr Format format = Format::fmt;                                      \
    static constexpr const char* reference = "secateur::" #fmt "_linear_dw_reference"; \
  };                                                                                   \
  }                                                                                    \
  STABLE_TORCH_LIBRARY_IMPL(secateur, CPU, m) {                                        \
    m.impl(#fmt "_linear_dw", TORCH_BOX(&dw_from_dispatcher<Op>));                     \
  }                                                                                    \
  }                                                                                    \
  }
