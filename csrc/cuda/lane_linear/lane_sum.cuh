// Where a lane's values are among those of its warp.
#pragma once

#include "cuda/ptx.cuh"

namespace secateur::lane_linear {

using ptx::Shared;

// The sum over this lane and those below it; five shuffles. Of small counts, two in a word are
// summed at once.
__device__ __forceinline__ int inclusive_sum(int count) {
#pragma unroll
  for (unsigned delta = 1; delta < 32; delta *= 2) count = ptx::add_up(count, delta);
  return count;
}

// The last values of a lane end here, in a step of two tiles of lb32.
struct LaneEnds {
  std::uint32_t masks[2];
  int kept[2], end[2];  // end: in values, from the first tile's start

  // `words`: of the lane in the first tile; the second is there if tiles > 1.
  __device__ __forceinline__ LaneEnds(Shared<std::uint32_t> words, int tiles) {
    masks[0] = ptx::load(words);
    masks[1] = tiles > 1 ? ptx::load(words + 32) : 0;
    kept[0] = ptx::popc(masks[0]);
    kept[1] = ptx::popc(masks[1]);
    const int sums = inclusive_sum(kept[0] | kept[1] << 16);
    const int all = ptx::shfl(sums, 31) & 0xffff;
    end[0] = sums & 0xffff;
    end[1] = (all + 7) / 8 * 8 + (sums >> 16);  // a tile begins at a multiple of 8
  }
};

}  // namespace secateur::lane_linear
