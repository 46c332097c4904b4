// Activations, each within 4 eps of |x| (eps = 2^-23), as csrc/cpu/act.h has them.
#pragma once

#include "common/types.h"
#include "cuda/ptx.cuh"

namespace secateur::tile {

constexpr float kLog2E = 1.44269504F;

// x * sigmoid(v)
__device__ __forceinline__ float sigmoid_times(float v, float x) {
  return x * ptx::reciprocal(1.0F + ptx::exp2(-kLog2E * v));
}

// Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016): the approximation by tanh, written
// with the logistic function: (1 + tanh u) / 2 = 1 / (1 + e^-2u).
__device__ __forceinline__ float gelu_tanh(float x) {
  const float u = 0.797884561F * (x + 0.044715F * x * x * x);
  return sigmoid_times(2.0F * u, x);
}

// The same paper: x * Phi(x), Phi through erfc(z) = t e^(p(t) - z^2), t = 1 / (1 + z / 2); p is the
// fit that csrc/cpu/act.h explains.
__device__ __forceinline__ float gelu(float x) {
  float z = 0.707106781F * (x < 0.0F ? -x : x);
  z = z > 10.0F ? 10.0F : z;
  const float t = ptx::reciprocal(1.0F + 0.5F * z);
  constexpr float kFit[] = {0.289731205F, -0.130299434F, -0.529163599F, 0.469770819F,
                            0.226124689F, 1.02729368F,   -1.26740861F};
  float p = -0.0860487372F;
#pragma unroll
  for (int i = 0; i < 7; ++i) p = p * t + kFit[i];
  const float tail = 0.5F * t * ptx::exp2(kLog2E * (p - z * z));
  return x * (x < 0.0F ? tail : 1.0F - tail);
}

__device__ __forceinline__ float relu(float x) { return x < 0.0F ? 0.0F : x; }  // NaN stays NaN
__device__ __forceinline__ float relu6(float x) { return x > 6.0F ? 6.0F : relu(x); }

template <int N, class F>
__device__ __forceinline__ void each(float (&v)[N], F f) {
#pragma unroll
  for (int i = 0; i < N; ++i) v[i] = f(v[i]);
}

template <int N>
__device__ __forceinline__ void activate(Act act, float (&v)[N]) {
  switch (act) {
    case Act::none:
      return;
    case Act::relu:
      return each(v, relu);
    case Act::gelu:
      return each(v, gelu);
    case Act::gelu_tanh:
      return each(v, gelu_tanh);
    case Act::silu:
      return each(v, [](float x) { return sigmoid_times(x, x); });
    case Act::relu6:
      return each(v, relu6);
  }
}

}  // namespace secateur::tile
