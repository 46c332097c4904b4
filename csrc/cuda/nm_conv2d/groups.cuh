// Groups of a convolution: blocks that differ in their third index are of different groups.
#pragma once

#include "cuda/nm_conv2d/pixels.cuh"
#include "cuda/tile/product.cuh"

namespace secateur::tile {

// A group's rows of a weight that holds all groups, one below the other.
template <class Base>
class OfGroup : public Base {
 public:
  struct Args : Base::Args {
    std::int64_t group_rows;
  };

  __device__ __forceinline__ OfGroup(const Args& args, std::int64_t out0, int first_step)
      : Base(args, out0 + ptx::block_index().z * args.group_rows, first_step) {}
};

// The arguments as the blocks of group z see them.
template <class Args>
__device__ __forceinline__ Args group(Args args, int channels) {
  const auto z = static_cast<std::int64_t>(ptx::block_index().z);
  const std::int64_t first = z * args.result.out;
  args.x.x += z * channels;
  args.result.y += first;
  if (args.result.residual != nullptr) args.result.residual += first;
  if (args.result.bias != nullptr) args.result.bias += first;
  return args;
}

}  // namespace secateur::tile
