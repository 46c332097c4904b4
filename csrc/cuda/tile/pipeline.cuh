// Stages of shared memory that are filled by cp.async while earlier ones are read.
#pragma once

#include "cuda/ptx.cuh"

namespace secateur::tile {

// Calls fetch(stage) and then use(stage), `steps` times each and in the same order; a fetch is
// kStages - 1 steps ahead of its use. `fetch` starts copies, or stores; it must not read what
// another thread has copied. Behind the last use other warps may still read their stage.
template <int kStages, int kStageBytes, class Fetch, class Use>
__device__ __forceinline__ void pipeline(int steps, ptx::Shared<std::uint8_t> memory, Fetch fetch,
                                         Use use) {
#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) fetch(memory + step * kStageBytes);
    ptx::cp_async_commit();
  }
  int filled = (kStages - 1) * kStageBytes, read = 0;  // bytes from `memory`
  const auto next = [](int at) { return at == (kStages - 1) * kStageBytes ? 0 : at + kStageBytes; };
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    ptx::cp_async_wait<kStages - 2>();
    ptx::barrier();  // the stage has come for all, and the one before is free for all
    if (step + kStages - 1 < steps) fetch(memory + filled);
    ptx::cp_async_commit();
    use(memory + read);
    filled = next(filled);
    read = next(read);
  }
}

}  // namespace secateur::tile
