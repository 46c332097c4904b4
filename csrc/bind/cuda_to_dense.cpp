#include <vector>

#include "bind/cuda_launch.h"
#include "bind/cuda_masks.h"
#include "cuda/to_dense/to_dense.h"

namespace secateur::bind::cuda {
namespace {

// Gives [out, in rounded up to 8]: what stands behind the columns is not written. `offsets` and n
// are those of cuda_lane_linear. Lengths are checked in Python, where the header is known.
Tensor to_dense(std::string kernels, Tensor values, Tensor index, std::vector<std::int64_t> offsets,
                std::int64_t n, std::int64_t out_features, std::int64_t in_features) {
  const auto type = type_of(values);
  STD_TORCH_CHECK(values.is_cuda() && (type == Type::f16 || type == Type::bf16),
                  "values must be float16 or bfloat16, on a GPU");
  STD_TORCH_CHECK(out_features >= 0 && in_features >= 0, "sizes must not be negative");
  check_masks(index, values, offsets, n, out_features, in_features);
  expect("values", values, values, *type, mask_words(n, out_features, in_features) * n);
  const std::int64_t stride = (in_features + 7) / 8 * 8;
  const Tensor weight = torch::stable::new_empty(values, {out_features, stride});
  if (weight.numel() == 0) return weight;

  secateur::cuda::ToDenseArgs args = {};
  args.values = values.const_data_ptr();
  args.masks = words_at(index, offsets[0]);
  args.starts = words_at(index, offsets[1]);
  args.weight = weight.mutable_data_ptr();
  args.in_features = in_features;
  args.out_features = out_features;
  args.stride = stride;
  args.n = static_cast<std::int32_t>(n);
  args.type = static_cast<std::int32_t>(*type);
  launch(kernels, args, values);
  return weight;
}

}  // namespace
}  // namespace secateur::bind::cuda

STABLE_TORCH_LIBRARY_IMPL(secateur, CUDA, m) {
  m.impl("cuda_to_dense", TORCH_BOX(&secateur::bind::cuda::to_dense));
}
