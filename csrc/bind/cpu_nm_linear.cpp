#include "bind/linear.h"

namespace secateur::bind {
namespace {

Tensor nm_linear(Tensor x, Tensor values, Tensor index, OptionalTensor bias,
                 OptionalTensor residual, OptionalTensor scale, OptionalTensor dense,
                 OptionalTensor transposed, std::int64_t out_features, std::string act) {
  return linear(nm_linear_table(), Format::nm, "secateur::nm_linear_reference",
                {x, values, index, bias, residual, scale, dense, transposed, out_features, act});
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(secateur, CPU, m) {
  m.impl("nm_linear", TORCH_BOX(&nm_linear));
  m.impl("nm_linear_infer", TORCH_BOX(&nm_linear));
}

}  // namespace secateur::bind
