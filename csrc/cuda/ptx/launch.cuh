// Starting a kernel.
#pragma once

#include <cuda_runtime.h>

#include "cuda/ptx/types.cuh"

namespace secateur::ptx {

constexpr int kPlainSharedBytes = 48 * 1024;  // more has to be asked for

// 0, or CUDA's error code. `stream`: a cudaStream_t. The kernel takes its arguments by value.
template <class... P, class... A>
int launch(void (*kernel)(P...), Dim3 grid, Dim3 block, int shared_bytes, void* stream, A... args) {
  if (shared_bytes > kPlainSharedBytes) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
    if (error != cudaSuccess) return error;
  }
  kernel<<<dim3(grid.x, grid.y, grid.z), dim3(block.x, block.y, block.z),
           static_cast<std::size_t>(shared_bytes), static_cast<cudaStream_t>(stream)>>>(args...);
  return cudaGetLastError();
}

}  // namespace secateur::ptx
