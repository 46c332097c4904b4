#include <algorithm>
#include <vector>

#include "bind/cuda_launch.h"
#include "bind/cuda_pairs.h"
#include "cuda/nm_conv2d/nm_conv2d.h"

namespace secateur::bind::cuda {
namespace {

using Ints = std::vector<std::int64_t>;

// Elements between the pixels of an image [batch, height, width, channels], which lie evenly apart,
// channels side by side; of a side of 1 no stride means anything. Nothing where they do not.
std::optional<std::int64_t> pixel_stride(const Tensor& t) {
  if (t.size(3) != 1 && t.stride(3) != 1) return std::nullopt;
  std::optional<std::int64_t> stride;
  std::int64_t pixels = 1;
  for (const std::int64_t axis : {2, 1, 0}) {
    if (t.size(axis) == 1) continue;
    if (!stride) stride = t.stride(axis);
    if (t.stride(axis) != *stride * pixels) return std::nullopt;
    pixels *= t.size(axis);
  }
  return stride ? stride : t.size(3);
}

void expect_pair(const char* name, const Ints& numbers) {
  STD_TORCH_CHECK(numbers.size() == 2, name, " must be two numbers, down and right, got ",
                  static_cast<std::int64_t>(numbers.size()));
}

// x: [batch, height, width, channels], so is y; bias is float32; index holds the metadata from byte
// meta_offset on. padding is what lies above and to the left, the rest follows from out_size.
// Shapes and dtypes with friendlier words are checked in Python.
Tensor nm_conv2d(std::string kernels, Tensor x, Tensor values, Tensor index,
                 std::int64_t meta_offset, OptionalTensor bias, OptionalTensor residual,
                 std::int64_t out_channels, Ints out_size, Ints kernel_size, Ints stride,
                 Ints padding, Ints dilation, std::int64_t groups, std::int64_t padded_out,
                 std::int64_t padded_in, std::string act, bool residual_first) {
  // #lizard forgives: the schema dictates the arguments.
  STD_TORCH_CHECK(x.is_cuda() && x.dim() == 4,
                  "x must be [batch, height, width, channels] on a GPU");
  const auto type = type_of(x);
  STD_TORCH_CHECK(type == Type::f16 || type == Type::bf16, "x must be float16 or bfloat16");
  expect_pair("out_size", out_size);
  expect_pair("kernel_size", kernel_size);
  expect_pair("stride", stride);
  expect_pair("padding", padding);
  expect_pair("dilation", dilation);
  STD_TORCH_CHECK(std::min({out_size[0], out_size[1], out_channels}) >= 0,
                  "out_size and out_channels must not be negative");
  STD_TORCH_CHECK(padded_out >= out_channels && padded_in >= 0,
                  "the padded weight must be as large as the weight");
  expect("values", values, x, *type, padded_out * padded_in / 2);
  check_metadata(index, x, meta_offset, padded_out, padded_in);
  if (bias) expect("bias", *bias, x, Type::f32, out_channels);
  const Tensor y = torch::stable::new_empty(x, {x.size(0), out_size[0], out_size[1], out_channels});
  if (residual) expect("residual", *residual, x, *type, y.numel());
  if (y.numel() == 0) return y;
  const std::optional<std::int64_t> x_stride = pixel_stride(x);
  STD_TORCH_CHECK(x_stride && x.numel() > 0,
                  "x must have pixels, evenly apart, and its channels side by side; x is NHWC");

  secateur::cuda::NmConv2dArgs args = {};
  args.values = values.const_data_ptr();
  args.meta = static_cast<const std::uint8_t*>(index.const_data_ptr()) + meta_offset;
  args.x = x.const_data_ptr();
  args.y = y.mutable_data_ptr();
  args.bias = static_cast<const float*>(start(bias));
  args.residual = start(residual);
  args.batch = x.size(0);
  args.height = x.size(1);
  args.width = x.size(2);
  args.in_channels = x.size(3);
  args.out_height = out_size[0];
  args.out_width = out_size[1];
  args.out_channels = out_channels;
  args.groups = groups;
  args.kernel_height = kernel_size[0];
  args.kernel_width = kernel_size[1];
  args.stride_height = stride[0];
  args.stride_width = stride[1];
  args.dilation_height = dilation[0];
  args.dilation_width = dilation[1];
  args.pad_top = padding[0];
  args.pad_left = padding[1];
  args.padded_in = padded_in;
  args.padded_out = padded_out;
  args.x_stride = *x_stride;
  args.y_stride = out_channels;
  args.type = static_cast<std::int32_t>(*type);
  args.act = static_cast<std::int32_t>(act_of(act));
  args.residual_first = residual_first ? 1 : 0;
  launch(kernels, args, x);
  return y;
}

}  // namespace
}  // namespace secateur::bind::cuda

STABLE_TORCH_LIBRARY_IMPL(secateur, CUDA, m) {
  m.impl("cuda_nm_conv2d", TORCH_BOX(&secateur::bind::cuda::nm_conv2d));
}
