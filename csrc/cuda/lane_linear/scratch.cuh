// A dense tile in shared memory for one warp: [16 words][32 lanes], each lane's own 32 elements.
// Each lane keeps to one bank, so that no store to it conflicts, wherever its elements go; and a
// lane reads back only what it wrote itself.
#pragma once

#include "cuda/ptx.cuh"

namespace secateur::lane_linear {

using ptx::Shared;

struct Scratch {
  static constexpr int kWords = 16, kBytes = kWords * 32 * 4;

  Shared<std::uint8_t> at;

  // Everything to zero, by stores of 16 bytes that reach into other lanes' words.
  __device__ __forceinline__ void clear() const {
    ptx::syncwarp();
#pragma unroll
    for (int i = 0; i < kBytes / 512; ++i)
      ptx::store((at + i * 512 + ptx::lane() * 16).template as<ptx::Vec<std::uint32_t, 4>>(),
                 {0, 0, 0, 0});
    ptx::syncwarp();
  }
  // Of 64 place + 2 place, whose bits do not meet, the bits of place / 2 at 128 and place % 2 at 2.
  template <class T>
  __device__ __forceinline__ void put(int place, T value) const {
    const int offset = place * 66 & 0x782;
    ptx::store((at + offset + ptx::lane() * 4).template as<T>(), value);
  }
  __device__ __forceinline__ std::uint32_t word(int i) const {
    return ptx::load((at + i * 128 + ptx::lane() * 4).template as<std::uint32_t>());
  }
};

}  // namespace secateur::lane_linear
