// What the threads of a block or of a warp do together: barriers, shuffles, votes.
#pragma once

#include "cuda/ptx/types.cuh"

namespace secateur::ptx {

// __syncthreads().
__device__ __forceinline__ void barrier() { __syncthreads(); }
// Barrier 1 to 15 for `threads` threads, whole warps; barrier 0 is barrier()'s.
__device__ __forceinline__ void barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
// Counts as having come, without waiting.
__device__ __forceinline__ void barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void syncwarp(unsigned mask = kFullMask) { __syncwarp(mask); }

// T: 4 or 8 bytes.
template <class T>
__device__ __forceinline__ T shfl(T value, int lane, unsigned mask = kFullMask) {
  return __shfl_sync(mask, value, lane);
}
template <class T>
__device__ __forceinline__ T shfl_up(T value, unsigned delta, unsigned mask = kFullMask) {
  return __shfl_up_sync(mask, value, delta);
}
template <class T>
__device__ __forceinline__ T shfl_down(T value, unsigned delta, unsigned mask = kFullMask) {
  return __shfl_down_sync(mask, value, delta);
}
template <class T>
__device__ __forceinline__ T shfl_xor(T value, int lanes, unsigned mask = kFullMask) {
  return __shfl_xor_sync(mask, value, lanes);
}
// value + that of the lane `delta` below, where there is one: a step of a scan.
__device__ __forceinline__ int add_up(int value, unsigned delta) {
  asm volatile(
      "{\n\t.reg .s32 r;\n\t.reg .pred p;\n\tshfl.sync.up.b32 r|p, %0, %1, 0, 0xffffffff;\n\t"
      "@p add.s32 %0, %0, r;\n\t}"
      : "+r"(value)
      : "r"(delta));
  return value;
}

__device__ __forceinline__ unsigned ballot(bool vote, unsigned mask = kFullMask) {
  return __ballot_sync(mask, vote);
}
__device__ __forceinline__ bool any(bool vote, unsigned mask = kFullMask) {
  return __any_sync(mask, vote) != 0;
}
__device__ __forceinline__ bool all(bool vote, unsigned mask = kFullMask) {
  return __all_sync(mask, vote) != 0;
}

}  // namespace secateur::ptx
