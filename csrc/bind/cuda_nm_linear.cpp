#include "bind/cuda_launch.h"
#include "bind/cuda_pairs.h"
#include "cuda/nm_linear/nm_linear.h"

namespace secateur::bind::cuda {
namespace {

using torch::headeronly::ScalarType;

// x: [rows, in], columns side by side; index holds the metadata from byte meta_offset on; bias and
// the scales are float32, and so are y and the residual of int8 x; else they are as x. Shapes and
// dtypes with friendlier words are checked in Python.
Tensor nm_linear(std::string kernels, Tensor x, Tensor values, Tensor index,
                 std::int64_t meta_offset, OptionalTensor bias, OptionalTensor residual,
                 OptionalTensor scale, OptionalTensor x_scale, std::int64_t out_features,
                 std::int64_t padded_out, std::int64_t padded_in, std::string act) {
  // #lizard forgives: the schema dictates the arguments.
  STD_TORCH_CHECK(x.is_cuda() && x.dim() == 2 && (x.size(1) == 1 || x.stride(1) == 1),
                  "x must be [rows, in] on a GPU, its columns side by side");
  const auto type = type_of(x);
  STD_TORCH_CHECK(type.has_value(), "x must be float16, bfloat16 or int8");
  const bool int8 = *type == Type::i8;
  STD_TORCH_CHECK(int8 || !x_scale, "x_scale goes with int8 x; multiply a floating x by it");
  const std::int64_t rows = x.size(0), in_features = x.size(1);
  STD_TORCH_CHECK(padded_out >= out_features && padded_in >= in_features,
                  "the padded weight must be as large as the weight");
  expect("values", values, x, *type, padded_out * padded_in / 2);
  check_metadata(index, x, meta_offset, padded_out, padded_in);
  if (bias) expect("bias", *bias, x, Type::f32, out_features);
  if (scale) expect("scale", *scale, x, Type::f32, out_features);
  if (x_scale) expect("x_scale", *x_scale, x, Type::f32, rows);
  if (residual) expect("residual", *residual, x, int8 ? Type::f32 : *type, rows * out_features);
  const auto y_type = int8 ? ScalarType::Float : x.scalar_type();
  const Tensor y = torch::stable::new_empty(x, {rows, out_features}, y_type);
  if (y.numel() == 0) return y;

  secateur::cuda::NmLinearArgs args = {};
  args.values = values.const_data_ptr();
  args.meta = static_cast<const std::uint8_t*>(index.const_data_ptr()) + meta_offset;
  args.x = x.const_data_ptr();
  args.y = y.mutable_data_ptr();
  args.bias = static_cast<const float*>(start(bias));
  args.residual = start(residual);
  args.scale = static_cast<const float*>(start(scale));
  args.x_scale = static_cast<const float*>(start(x_scale));
  args.rows = rows;
  args.in_features = in_features;
  args.out_features = out_features;
  args.padded_in = padded_in;
  args.padded_out = padded_out;
  args.x_stride = rows > 1 ? x.stride(0) : in_features;
  args.y_stride = out_features;
  args.type = static_cast<std::int32_t>(*type);
  args.act = static_cast<std::int32_t>(act_of(act));
  launch(kernels, args, x);
  return y;
}

}  // namespace
}  // namespace secateur::bind::cuda

STABLE_TORCH_LIBRARY_IMPL(secateur, CUDA, m) {
  m.impl("cuda_nm_linear", TORCH_BOX(&secateur::bind::cuda::nm_linear));
}
