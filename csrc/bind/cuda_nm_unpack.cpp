#include "bind/cuda_launch.h"
#include "bind/cuda_pairs.h"
#include "cuda/nm_unpack/nm_unpack.h"

namespace secateur::bind::cuda {
namespace {

// Gives [out, in] of the values' type, zeros where nothing is kept; adds to the bits of faults. The
// metadata begin at byte meta_offset of index.
Tensor nm_unpack(std::string kernels, Tensor values, Tensor index, Tensor faults,
                 std::int64_t meta_offset, std::int64_t out_features, std::int64_t in_features,
                 std::int64_t padded_out, std::int64_t padded_in) {
  // #lizard forgives: the schema dictates the arguments.
  STD_TORCH_CHECK(values.is_cuda(), "values must be on a GPU");
  const auto type = type_of(values);
  STD_TORCH_CHECK(type.has_value(), "values must be float16, bfloat16 or int8");
  STD_TORCH_CHECK(out_features >= 0 && in_features >= 0, "sizes must not be negative");
  expect("values", values, values, *type, padded_out * padded_in / 2);
  check_metadata(index, values, meta_offset, padded_out, padded_in);
  check_faults(faults, values);
  const Tensor weight = torch::stable::new_empty(values, {out_features, in_features});

  secateur::cuda::NmUnpackArgs args = {};
  args.values = values.const_data_ptr();
  args.meta = static_cast<const std::uint8_t*>(index.const_data_ptr()) + meta_offset;
  args.weight = weight.mutable_data_ptr();
  args.faults = static_cast<std::uint32_t*>(faults.mutable_data_ptr());
  args.out_features = out_features;
  args.in_features = in_features;
  args.padded_out = padded_out;
  args.padded_in = padded_in;
  args.weight_stride = in_features;
  args.type = static_cast<std::int32_t>(*type);
  launch(kernels, args, values);
  return weight;
}

}  // namespace
}  // namespace secateur::bind::cuda

STABLE_TORCH_LIBRARY_IMPL(secateur, CUDA, m) {
  m.impl("cuda_nm_unpack", TORCH_BOX(&secateur::bind::cuda::nm_unpack));
}
