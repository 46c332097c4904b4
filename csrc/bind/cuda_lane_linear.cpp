#include <vector>

#include "bind/cuda_launch.h"
#include "bind/cuda_masks.h"
#include "cuda/lane_linear/lane_linear.h"

namespace secateur::bind::cuda {
namespace {

// x: [rows, in], columns side by side; index holds the masks from byte offsets[0] on and, of lb32,
// the table from offsets[1] on, else 0; bias is float32. Lengths are checked in Python, where the
// header is known.
Tensor lane_linear(std::string kernels, Tensor x, Tensor values, Tensor index,
                   std::vector<std::int64_t> offsets, std::int64_t n, std::int64_t most,
                   OptionalTensor bias, OptionalTensor residual, std::int64_t out_features,
                   std::string act) {
  // #lizard forgives: the schema dictates the arguments.
  STD_TORCH_CHECK(x.is_cuda() && x.dim() == 2 && (x.size(1) == 1 || x.stride(1) == 1),
                  "x must be [rows, in] on a GPU, its columns side by side");
  const auto type = type_of(x);
  STD_TORCH_CHECK(type == Type::f16 || type == Type::bf16, "x must be float16 or bfloat16");
  const std::int64_t rows = x.size(0), in_features = x.size(1);
  check_masks(index, x, offsets, n, out_features, in_features);
  expect("values", values, x, *type, mask_words(n, out_features, in_features) * n);
  if (bias) expect("bias", *bias, x, Type::f32, out_features);
  if (residual) expect("residual", *residual, x, *type, rows * out_features);
  const Tensor y = torch::stable::new_empty(x, {rows, out_features});
  if (y.numel() == 0) return y;

  secateur::cuda::LaneLinearArgs args = {};
  args.values = values.const_data_ptr();
  args.masks = words_at(index, offsets[0]);
  args.starts = words_at(index, offsets[1]);
  args.x = x.const_data_ptr();
  args.y = y.mutable_data_ptr();
  args.bias = static_cast<const float*>(start(bias));
  args.residual = start(residual);
  args.rows = rows;
  args.in_features = in_features;
  args.out_features = out_features;
  args.x_stride = x.stride(0);
  args.y_stride = out_features;
  args.n = static_cast<std::int32_t>(n);
  args.most = static_cast<std::int32_t>(most);
  args.type = static_cast<std::int32_t>(*type);
  args.act = static_cast<std::int32_t>(act_of(act));
  launch(kernels, args, x);
  return y;
}

}  // namespace
}  // namespace secateur::bind::cuda

STABLE_TORCH_LIBRARY_IMPL(secateur, CUDA, m) {
  m.impl("cuda_lane_linear", TORCH_BOX(&secateur::bind::cuda::lane_linear));
}
