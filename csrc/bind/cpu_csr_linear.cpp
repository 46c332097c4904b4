#include "bind/linear.h"

namespace secateur::bind {
namespace {

Tensor csr_linear(Tensor x, Tensor values, Tensor index, OptionalTensor bias,
                  OptionalTensor residual, OptionalTensor scale, OptionalTensor dense,
                  OptionalTensor transposed, std::int64_t out_features, std::string act) {
  return linear(csr_linear_table(), Format::csr, "secateur::csr_linear_reference",
                {x, values, index, bias, residual, scale, dense, transposed, out_features, act});
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(secateur, CPU, m) {
  m.impl("csr_linear", TORCH_BOX(&csr_linear));
  m.impl("csr_linear_infer", TORCH_BOX(&csr_linear));
}

}  // namespace secateur::bind
