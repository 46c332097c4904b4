// What the conformance kernels share: a thread's words of its case, and the way to a launch.
#pragma once

#include "cuda/isa/isa.h"
#include "cuda/kernel.h"
#include "cuda/ptx.cuh"

namespace secateur::cuda::isa {

struct Problem {
  const std::uint32_t* in;
  std::uint32_t* out;
  std::uint32_t* workspace;
  int cases, which;
};

// The number of this thread among those of all cases.
__device__ __forceinline__ std::int64_t thread_of_all() {
  return std::int64_t{ptx::block_index().x} * ptx::block_dim().x + ptx::thread();
}

template <int kIn, int kOut>
struct Words {
  std::uint32_t in[kIn];
  std::uint32_t out[kOut];

  __device__ __forceinline__ explicit Words(const Problem& p) {
    for (int i = 0; i < kIn; ++i) in[i] = ptx::load(p.in + thread_of_all() * kIn + i);
    for (int i = 0; i < kOut; ++i) out[i] = 0;
  }
  __device__ __forceinline__ void store(const Problem& p) const {
    for (int i = 0; i < kOut; ++i) ptx::store(p.out + thread_of_all() * kOut + i, out[i]);
  }
};

template <int kInstructions>
const char* refuses(const IsaArgs& args) {
  if (args.which < 0 || args.which >= kInstructions) return "which: wanted a place in `types`";
  if (args.cases < 0 || args.cases > 65536) return "cases: wanted 0 to 65536";
  if (args.in == nullptr || args.out == nullptr) return "in, out: wanted no null";
  return nullptr;
}

inline std::int64_t no_workspace(const IsaArgs&) { return 0; }

inline int start(void (*kernel)(Problem), const Config& config, const IsaArgs& args, void* stream) {
  if (args.cases == 0) return 0;
  const Problem problem = {
      static_cast<const std::uint32_t*>(args.in), static_cast<std::uint32_t*>(args.out),
      static_cast<std::uint32_t*>(args.workspace), static_cast<int>(args.cases), args.which};
  return ptx::launch(kernel, {static_cast<unsigned>(args.cases), 1, 1},
                     {static_cast<unsigned>(config.threads), 1, 1}, config.shared_bytes, stream,
                     problem);
}

}  // namespace secateur::cuda::isa
