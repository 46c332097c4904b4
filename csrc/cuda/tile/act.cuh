// Activations of one float, in the epilogues of kernels. On a GPU expf is within 2 ulp, erfcf
// within 4 (CUDA C++ Programming Guide, "Standard Functions").
#pragma once

#include <cmath>

#include "common/types.h"
#include "cuda/ptx.cuh"

namespace secateur::tile {

__device__ __forceinline__ float relu(float x) { return x < 0.0F ? 0.0F : x; }  // NaN stays NaN
__device__ __forceinline__ float sigmoid_times(float v, float x) { return x / (1.0F + expf(-v)); }

// Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016): x Phi(x). erfc keeps the digits of
// the tail, where 1 + erf would lose them.
__device__ __forceinline__ float gelu(float x) { return 0.5F * x * erfcf(-0.707106781F * x); }
// The same paper's approximation; (1 + tanh u) / 2 = 1 / (1 + e^-2u).
__device__ __forceinline__ float gelu_tanh(float x) {
  return sigmoid_times(1.59576912F * (x + 0.044715F * x * x * x), x);
}

__device__ __forceinline__ float activate(Act act, float x) {
  switch (act) {
    case Act::none:
      return x;
    case Act::relu:
      return relu(x);
    case Act::relu6:
      return x > 6.0F ? 6.0F : relu(x);
    case Act::gelu:
      return gelu(x);
    case Act::gelu_tanh:
      return gelu_tanh(x);
    case Act::silu:
      return sigmoid_times(x, x);
  }
  return x;
}

}  // namespace secateur::tile
