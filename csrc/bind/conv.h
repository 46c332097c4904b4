// From a dispatcher call to a kernel, the same way for every sparse convolution.
#pragma once

#include <vector>

#include "bind/linear.h"

namespace secateur::bind {

using Ints = std::vector<std::int64_t>;

// `layer` holds what a linear layer's call has too, x and residual as they came.
struct ConvCall {
  LinearCall layer;
  Ints kernel_size, stride, padding, dilation;  // padding: left, right, top, bottom
  std::int64_t groups;
  bool residual_first;
  bool over;  // y may be written to the residual's memory
};

Tensor conv2d(const KernelTable& table, Format format, const char* reference, const ConvCall& call);

// The same; y is in the residual then.
void conv2d_over(const KernelTable& table, Format format, const char* reference, ConvCall call);

// The function of a format's op as the dispatcher calls it.
template <class Op>
Tensor conv2d_from_dispatcher(Tensor x, Tensor values, Tensor index, OptionalTensor bias,
                              OptionalTensor residual, OptionalTensor scale, OptionalTensor dense,
                              OptionalTensor transposed, std::int64_t out_channels,
                              Ints kernel_size, Ints stride, Ints padding, Ints dilation,
                              std::int64_t groups, std::string act, bool residual_first) {
  // #lizard forgives: the schema dictates the arguments.
  return conv2d(Op::table(), Op::format, Op::reference,
                {{x, values, index, bias, residual, scale, dense, transposed, out_channels, act},
                 kernel_size,
                 stride,
                 padding,
                 dilation,
                 groups,
                 residual_first,
                 false});
}

template <class Op>
void conv2d_over_from_dispatcher(Tensor x, Tensor values, Tensor index, OptionalTensor bias,
                                 Tensor residual, OptionalTensor scale, OptionalTensor dense,
                                 OptionalTensor transposed, std::int64_t out_channels,
                                 Ints kernel_size, Ints stride, Ints padding, Ints dilation,
                                 std::int64_t groups, std::string act, bool residual_first) {
  // #lizard forgives: the schema dictates the arguments.
  conv2d_over(Op::table(), Op::format, Op::reference,
              {{x, values, index, bias, residual, scale, dense, transposed, out_channels, act},
               kernel_size,
               stride,
               padding,
               dilation,
               groups,
               residual_first,
               true});
}

}  // namespace secateur::bind

// The binding of a format's convolution: all that its file in bind/ says.
#define SECATEUR_BIND_CONV2D(fmt)                                                   \
  namespace secateur {                                                              \
  const KernelTable& fmt##_conv2d_table();                                          \
  namespace bind {                                                                  \
  namespace {                                                                       \
  struct Op {                                                                       \
    static const KernelTable& table() { return fmt##_conv2d_table(); }              \
    static constexpr Format format = Format::fmt;                                   \
    static constexpr const char* reference = "secateur::" #fmt "_conv2d_reference"; \
  };                                                                                \
  }                                                                                 \
  STABLE_TORCH_LIBRARY_IMPL(secateur, CPU, m) {                                     \
    m.impl(#fmt "_conv2d", TORCH_BOX(&conv2d_from_dispatcher<Op>));                 \
    m.impl(#fmt "_conv2d_infer", TORCH_BOX(&conv2d_from_dispatcher<Op>));           \
    m.impl(#fmt "_conv2d_over", TORCH_BOX(&conv2d_over_from_dispatcher<Op>));       \
  }                                                                                 \
  }                                                                                 \
  }
