// What a CUDA kernel says of itself, and how its file enters the table. Torch-free.
//
// csrc/cuda/<op>/<file>.cu is the kernel <op>_<file>. It includes the op's contract, <op>.h, whose
// struct of arguments is plain C; it ends in SECATEUR_CUDA_KERNEL({...}). Which kernel a problem
// gets is nobody's business here.
#pragma once

#include <cstdint>

#include "common/types.h"

namespace secateur::cuda {

// For models of cost, and for listings; what a launch takes is the kernel's own affair.
struct Config {
  int threads;                       // of a block
  int shared_bytes;                  // of a block, at most
  int stages;                        // of the pipeline; 1: none
  int tile_out, tile_rows, tile_in;  // of the problem, that a block works on at a time
};

struct Kernel {
  const char* op;
  const char* name;    // <op>_<file>
  int min_sm;          // 80: compute capability 8.0 and up
  const char* types;   // of x, in words parted by commas: "f16,bf16"
  const char* layout;  // of the weight, a word of the op's contract
  Config config;
  std::int64_t args_bytes;  // of the op's struct
  // Why it cannot run the problem, as a sentence that names the argument; null if it can. Pointers
  // are not followed, sizes and alignments are looked at.
  const char* (*refuses)(const void* args);
  std::int64_t (*workspace_bytes)(
      const void* args);                       // at args' `workspace`, zeroed once by its owner
  int (*run)(const void* args, void* stream);  // 0, or an error code of CUDA
};

// The functions of a kernel as the table holds them, from functions of the op's own struct.
template <class Args, const char* (*kRefuses)(const Args&)>
const char* erased_refuses(const void* args) {
  return kRefuses(*static_cast<const Args*>(args));
}
template <class Args, std::int64_t (*kBytes)(const Args&)>
std::int64_t erased_bytes(const void* args) {
  return kBytes(*static_cast<const Args*>(args));
}
template <class Args, int (*kRun)(const Args&, void*)>
int erased_run(const void* args, void* stream) {
  return kRun(*static_cast<const Args*>(args), stream);
}

constexpr int kInvalidValue = 1;  // cudaErrorInvalidValue: run() was given what refuses() names

struct KernelTable {
  const Kernel* const* kernels;
  int count;
  const Kernel* const* begin() const { return kernels; }
  const Kernel* const* end() const { return kernels + count; }
};
// Every kernel of the library; made by CMake from the folders.
KernelTable kernels();
// Null if there is none of that name.
const Kernel* find(const char* name);

}  // namespace secateur::cuda

// The last lines of a kernel's file; the build gives each file its op and name.
//   Args                      the op's struct
//   min_sm, types, layout, config   as in Kernel
//   refuses, workspace_bytes, run   functions of a const Args&; run also takes the stream, a void*
#define SECATEUR_CUDA_KERNEL(Args, min_sm, types, layout, config, refuses, workspace_bytes, run) \
  extern const secateur::cuda::Kernel SECATEUR_KERNEL;                                           \
  const secateur::cuda::Kernel SECATEUR_KERNEL = {                                               \
      SECATEUR_KERNEL_OP,                                                                        \
      SECATEUR_KERNEL_NAME,                                                                      \
      min_sm,                                                                                    \
      types,                                                                                     \
      layout,                                                                                    \
      config,                                                                                    \
      sizeof(Args),                                                                              \
      secateur::cuda::erased_refuses<Args, refuses>,                                             \
      secateur::cuda::erased_bytes<Args, workspace_bytes>,                                       \
      secateur::cuda::erased_run<Args, run>}
