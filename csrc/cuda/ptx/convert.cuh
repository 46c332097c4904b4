// Between float and 16-bit elements, rounded to nearest, ties to even.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/ptx/types.cuh"

namespace secateur::ptx {

__device__ __forceinline__ float to_float(f16 x) { return __half2float(__ushort_as_half(x.bits)); }
__device__ __forceinline__ float to_float(bf16 x) {
  return __uint_as_float(static_cast<std::uint32_t>(x.bits) << 16);
}
__device__ __forceinline__ float to_float(float x) { return x; }

template <class T>
__device__ __forceinline__ T from_float(float x) {
  if constexpr (std::is_same_v<T, f16>)
    return {__half_as_ushort(__float2half_rn(x))};
  else if constexpr (std::is_same_v<T, bf16>)
    return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
  else
    return x;
}

// Two elements in a register, the first in its lower half.
template <class T>
__device__ __forceinline__ std::uint32_t pack_pair(float first, float second) {
  std::uint32_t r;
  if constexpr (std::is_same_v<T, f16>)
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(second), "f"(first));
  else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(second), "f"(first));
  return r;
}
template <class T>
__device__ __forceinline__ Vec<float, 2> unpack_pair(std::uint32_t pair) {
  return {to_float(T{static_cast<std::uint16_t>(pair)}),
          to_float(T{static_cast<std::uint16_t>(pair >> 16)})};
}

// The nearest tf32, ties away from zero, as the tensor core takes it.
__device__ __forceinline__ std::uint32_t to_tf32(float x) {
  std::uint32_t r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
  return r;
}
// The nearest whole number, ties to even, cut to [-128, 127].
__device__ __forceinline__ s8 to_s8(float x) {
  std::int32_t r;
  asm("cvt.rni.sat.s8.f32 %0, %1;" : "=r"(r) : "f"(x));
  return static_cast<s8>(r);
}

}  // namespace secateur::ptx
