// Integer instructions that C++ has no operator for.
#pragma once

#include "cuda/ptx/types.cuh"

namespace secateur::ptx {

__device__ __forceinline__ int popc(std::uint32_t bits) { return __popc(bits); }
__device__ __forceinline__ int popc(std::uint64_t bits) { return __popcll(bits); }
// Zeros above the highest set bit; 32 of 0.
__device__ __forceinline__ int clz(std::uint32_t bits) { return __clz(static_cast<int>(bits)); }
// The place of the highest set bit, one instruction where clz() takes two; -1 of 0.
__device__ __forceinline__ int highest(std::uint32_t bits) {
  std::uint32_t r;
  asm("bfind.u32 %0, %1;" : "=r"(r) : "r"(bits));
  return static_cast<int>(r);
}
// One more than the place of the lowest set bit; 0 of 0.
__device__ __forceinline__ int ffs(std::uint32_t bits) { return __ffs(static_cast<int>(bits)); }
// Four bytes of the eight of {b, a}, a's lowest is 0: one for each nibble of `select`, lowest
// first.
__device__ __forceinline__ std::uint32_t byte_perm(std::uint32_t a, std::uint32_t b,
                                                   std::uint32_t select) {
  return __byte_perm(a, b, select);
}

}  // namespace secateur::ptx
