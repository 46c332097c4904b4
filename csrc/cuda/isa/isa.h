// The contract of the conformance kernels: each does instructions of ptx.cuh on given bits, and
// gives back the bits that came. On the emulated GPU they test its models, on a real one they tell
// whether the models are true. A block is a case. A kernel's line of the table says its shape:
//   types      the instructions in words; `which` counts through them
//   threads    of a case; tile_in, tile_out: words that a thread is given and gives back
#pragma once

#include <cstdint>

namespace secateur::cuda {

struct IsaArgs {
  const void* in;   // u32 [cases, threads, tile_in]
  void* out;        // u32 [cases, threads, tile_out]
  void* workspace;  // as many bytes as the kernel asked for
  std::int64_t cases;
  std::int32_t which;
};

}  // namespace secateur::cuda
