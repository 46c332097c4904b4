// The C functions of both libraries, _C_cuda and the emulated one: what there is, and running it by
// name. They know no torch, so that either library loads anywhere.
#pragma once

#include <cstdint>

#define SECATEUR_CUDA_EXPORT extern "C" __attribute__((visibility("default")))

// Lines of "op name min_sm types layout threads shared_bytes stages tile_out tile_rows tile_in
// args_bytes", one a kernel. Valid for the life of the process.
SECATEUR_CUDA_EXPORT const char* secateur_cuda_kernels();

// `args` is the struct of the kernel's op, csrc/cuda/<op>/<op>.h, and `args_bytes` its size as the
// caller knows it.
// Why the kernel cannot run that, or an empty string.
SECATEUR_CUDA_EXPORT const char* secateur_cuda_refusal(const char* name, const void* args,
                                                       std::int64_t args_bytes);
// -1 if the kernel refuses.
SECATEUR_CUDA_EXPORT std::int64_t secateur_cuda_workspace(const char* name, const void* args,
                                                          std::int64_t args_bytes);
// 0, or an error code of CUDA; 1 (invalid value) if the kernel refuses.
SECATEUR_CUDA_EXPORT int secateur_cuda_run(const char* name, const void* args,
                                           std::int64_t args_bytes, void* stream);
