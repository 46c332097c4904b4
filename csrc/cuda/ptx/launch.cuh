// Starting a kernel, and how large the GPU is that it starts on.
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

// Multiprocessors of the current device; 0 where there is none.
inline int multiprocessors() {
  int device = 0, count = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return 0;
  const cudaError_t error = cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
  return error == cudaSuccess ? count : 0;
}

}  // namespace secateur::ptx
