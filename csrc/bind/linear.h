// From a dispatcher call to a kernel, the same way for every sparse linear op.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <string>

#include "cpu/isa.h"

namespace secateur::bind {

using torch::stable::Tensor;
using OptionalTensor = std::optional<Tensor>;

struct LinearCall {
  Tensor x, values, index;
  OptionalTensor bias, residual, scale, dense, transposed;
  std::int64_t out_features;
  std::string act;
};

// `reference` is the op to which dtypes without a kernel are handed ("secateur::..._reference").
Tensor linear(const KernelTable& table, Format format, const char* reference,
              const LinearCall& call);

// The function of a format's op as the dispatcher calls it.
template <class Op>
Tensor from_dispatcher(Tensor x, Tensor values, Tensor index, OptionalTensor bias,
                       OptionalTensor residual, OptionalTensor scale, OptionalTensor dense,
                       OptionalTensor transposed, std::int64_t out_features, std::string act) {
  // #lizard forgives: the schema dictates the arguments.
  return linear(Op::table(), Op::format, Op::reference,
                {x, values, index, bias, residual, scale, dense, transposed, out_features, act});
}

}  // namespace secateur::bind

// The binding of a format's linear op: all that its file in bind/ says.
#define SECATEUR_BIND_LINEAR(fmt)                                                   \
  namespace secateur {                                                              \
  const KernelTable& fmt##_linear_table();                                          \
  namespace bind {                                                                  \
  namespace {                                                                       \
  struct Op {                                                                       \
    static const KernelTable& table() { return fmt##_linear_table(); }              \
    static constexpr Format format = Format::fmt;                                   \
    static constexpr const char* reference = "secateur::" #fmt "_linear_reference"; \
  };                                                                                \
  }                                                                                 \
  STABLE_TORCH_LIBRARY_IMPL(secateur, CPU, m) {                                     \
    m.impl(#fmt "_linear", TORCH_BOX(&from_dispatcher<Op>));                        \
    m.impl(#fmt "_linear_infer", TORCH_BOX(&from_dispatcher<Op>));                  \
  }                                                                                 \
  }                                                                                 \
  }
