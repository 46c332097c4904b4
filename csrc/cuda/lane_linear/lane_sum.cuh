// How many the lanes up to this one have.
#pragma once

#include "cuda/ptx.cuh"

namespace secateur::lane_linear {

// The sum over this lane and those below it; five shuffles.
__device__ __forceinline__ int inclusive_sum(int count) {
#pragma unroll
  for (unsigned delta = 1; delta < 32; delta *= 2) count = ptx::add_up(count, delta);
  return count;
}

}  // namespace secateur::lane_linear
