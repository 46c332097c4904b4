// Which of the tiled 2:4 products a problem gets, and in how many parts it sums: by arithmetic on
// the kernels' own Config, the same on every machine. What was measured goes before it, elsewhere.
#pragma once

#include <cstdint>

#include "cuda/abi.h"

// The name of the kernel with the least predicted time among those named nm_linear_sm* that read
// `layout` and do not refuse; "" if there is none. Its parts are put in `split`.
//   args, args_bytes   NmLinearArgs; its pointers' alignments matter, its `split` does not
//   sm                 compute capability, 80 for 8.0
//   multiprocessors    of the GPU
SECATEUR_CUDA_EXPORT const char* secateur_cuda_nm_linear_pick(const void* args,
                                                              std::int64_t args_bytes,
                                                              const char* layout, int sm,
                                                              int multiprocessors, int* split);
