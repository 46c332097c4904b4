// Functions that the GPU has an instruction for, which is close and not rounded to nearest.
#pragma once

#include "cuda/ptx/types.cuh"

namespace secateur::ptx {

// 2^x, off by at most 2 units in the last place; subnormal numbers are 0.
__device__ __forceinline__ float exp2(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
// 1 / x, off by at most 1 unit in the last place; subnormal numbers are 0.
__device__ __forceinline__ float reciprocal(float x) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}

}  // namespace secateur::ptx
