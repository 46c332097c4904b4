// The contract of nm_conv2d on CUDA: what a kernel is given. Plain C: one field a line, as
// nm_linear.h is. Images are NHWC. With g = groups, K = kernel, S = stride, D = dilation, P = pad:
//   y[n, p, q, o] = act(bias[o] + sum over r, s, c of
//                       w[o, r, s, c] * x[n, p*S - P + r*D, q*S - P + s*D, first(o) + c]
//                       + residual[n, p, q, o] if residual_first) + residual[n, p, q, o] otherwise
// where x outside of the image is zero, and first(o) is the first channel of o's group. Sums in
// float. What lies below and to the right of the image is padding too, as far as out_height and
// out_width reach: the two sides need not be padded alike.
//
// The weight is [out_channels, in_features] with in_features = K_h * K_w * in_channels / g, the
// channel fastest, 2:4 along it; in layout torch24 or fragment24 of nm_linear.h, each group's rows
// padded to a multiple of 32: padded_out is that times g.
#pragma once

#include <cstdint>

#include "common/types.h"

namespace secateur::cuda {

struct NmConv2dArgs {
  const void* values;
  const void* meta;
  const void* x;         // [batch, height, width, in_channels], of `type`
  void* y;               // [batch, out_height, out_width, out_channels], of `type`
  const float* bias;     // [out_channels] or null
  const void* residual;  // as y, or null
  void* workspace;       // as many bytes as the kernel asked for
  std::int64_t batch;
  std::int64_t height;
  std::int64_t width;
  std::int64_t in_channels;
  std::int64_t out_height;
  std::int64_t out_width;
  std::int64_t out_channels;
  std::int64_t groups;
  std::int64_t kernel_height;
  std::int64_t kernel_width;
  std::int64_t stride_height;
  std::int64_t stride_width;
  std::int64_t dilation_height;
  std::int64_t dilation_width;
  std::int64_t pad_top;
  std::int64_t pad_left;
  std::int64_t padded_in;
  std::int64_t padded_out;
  std::int64_t x_stride;  // elements between pixels of x
  std::int64_t y_stride;  // elements between pixels of y and of the residual
  std::int32_t type;      // secateur::Type of x, y and the values
  std::int32_t act;       // secateur::Act
  std::int32_t residual_first;
  std::int32_t split;  // parts that the sum is cut in; 0: the kernel chooses
};

}  // namespace secateur::cuda
