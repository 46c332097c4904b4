// n32 written out: a warp a tile. A word of values is each lane's next two, read as they come.
#include "cuda/kernel.h"
#include "cuda/to_dense/write.cuh"

namespace {

using namespace secateur;
using namespace secateur::to_dense;

using Dense = DenseTile<128>;

__global__ void __launch_bounds__(kThreads, 8) expand(Problem p) {
  std::int64_t tile = 0;
  if (!my_tile(p, tile)) return;
  const int lane = ptx::lane();
  const Dense dense = {ptx::shared() + ptx::warp() * Dense::kBytes};
  const auto* words = reinterpret_cast<const std::uint32_t*>(p.values) + tile * p.n * 32 + lane;
  dense.clear();
#pragma unroll 1
  for (int group = 0; group < 2; ++group) {
    std::uint32_t mask = ptx::load_nc(p.masks + tile * 64 + group * 32 + lane);
    const int row = lane / 4 + group * 8, column = lane % 4 * 32;
#pragma unroll 4
    for (int i = 0; i < p.n / 2; ++i, words += 32) {
      const std::uint32_t two = ptx::load_nc(words);
      for (int half = 0; half < 2; ++half) {
        const int place = ptx::ffs(mask) - 1;
        mask &= mask - 1;
        dense.put(row, column + place, Element{static_cast<std::uint16_t>(two >> 16 * half)});
      }
    }
  }
  dense.write(p, tile / p.across * kTileRows, tile % p.across * 128);
}

const char* refuses(const ToDenseArgs& args) {
  if (args.n < 2 || args.n > 30 || args.n % 2 != 0) return "n: wanted an even number from 2 to 30";
  return refuses_any(args);
}
int run(const ToDenseArgs& args, void* stream) {
  return launch(expand, problem_of(args, 128), Dense::kBytes, stream);
}

constexpr cuda::Config kConfig = {kThreads, kWarps * Dense::kBytes, 1, kTileRows * kWarps, 0, 128};

}  // namespace

SECATEUR_CUDA_KERNEL(ToDenseArgs, 80, "f16,bf16", "n32", kConfig, refuses, workspace_bytes, run);
