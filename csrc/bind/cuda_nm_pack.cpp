#include "bind/cuda_launch.h"
#include "bind/cuda_pairs.h"
#include "cuda/nm_pack/nm_pack.h"

namespace secateur::bind::cuda {
namespace {

// Writes values, and the metadata into index from byte meta_offset on; adds to the bits of faults.
// weight: [out, in]; mask: uint8, of its shape, bytes 0 or 1; of both the columns lie side by side.
void nm_pack(std::string kernels, Tensor weight, OptionalTensor mask, Tensor values, Tensor index,
             Tensor faults, std::int64_t meta_offset, std::int64_t padded_out,
             std::int64_t padded_in, bool prune) {
  // #lizard forgives: the schema dictates the arguments.
  check_matrix("weight", weight);
  const auto type = type_of(weight);
  STD_TORCH_CHECK(type.has_value(), "weight must be float16, bfloat16 or int8");
  const std::int64_t out = weight.size(0), in = weight.size(1);
  if (mask) {
    check_matrix("mask", *mask);
    STD_TORCH_CHECK(mask->scalar_type() == torch::headeronly::ScalarType::Byte &&
                        mask->get_device_index() == weight.get_device_index() &&
                        mask->size(0) == out && mask->size(1) == in,
                    "mask must be uint8, of the weight's shape and on its device");
  }
  expect("values", values, weight, *type, padded_out * padded_in / 2);
  check_metadata(index, weight, meta_offset, padded_out, padded_in);
  check_faults(faults, weight);

  secateur::cuda::NmPackArgs args = {};
  args.weight = weight.const_data_ptr();
  args.mask = static_cast<const std::uint8_t*>(start(mask));
  args.values = values.mutable_data_ptr();
  args.meta = static_cast<std::uint8_t*>(index.mutable_data_ptr()) + meta_offset;
  args.faults = static_cast<std::uint32_t*>(faults.mutable_data_ptr());
  args.out_features = out;
  args.in_features = in;
  args.padded_out = padded_out;
  args.padded_in = padded_in;
  args.weight_stride = weight.stride(0);
  args.mask_stride = mask ? mask->stride(0) : 0;
  args.type = static_cast<std::int32_t>(*type);
  args.prune = prune ? 1 : 0;
  launch(kernels, args, weight);
}

}  // namespace
}  // namespace secateur::bind::cuda

STABLE_TORCH_LIBRARY_IMPL(secateur, CUDA, m) {
  m.impl("cuda_nm_pack", TORCH_BOX(&secateur::bind::cuda::nm_pack));
}
