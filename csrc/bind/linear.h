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

}  // namespace secateur::bind
