// Who a thread is, and where its block's shared memory begins.
#pragma once

#include "cuda/ptx/types.cuh"

namespace secateur::ptx {

__device__ __forceinline__ Dim3 thread_index() { return {threadIdx.x, threadIdx.y, threadIdx.z}; }
__device__ __forceinline__ Dim3 block_index() { return {blockIdx.x, blockIdx.y, blockIdx.z}; }
__device__ __forceinline__ Dim3 block_dim() { return {blockDim.x, blockDim.y, blockDim.z}; }
__device__ __forceinline__ Dim3 grid_dim() { return {gridDim.x, gridDim.y, gridDim.z}; }

// For blocks of one dimension.
__device__ __forceinline__ int thread() { return static_cast<int>(threadIdx.x); }
__device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) & 31; }
__device__ __forceinline__ int warp() { return static_cast<int>(threadIdx.x) >> 5; }

extern __shared__ __align__(1024) unsigned char secateur_shared[];

// The block's dynamic shared memory, as many bytes as launch() was told. There is no other.
template <class T = std::uint8_t>
__device__ __forceinline__ Shared<T> shared() {
  return {static_cast<std::uint32_t>(__cvta_generic_to_shared(secateur_shared))};
}

}  // namespace secateur::ptx
