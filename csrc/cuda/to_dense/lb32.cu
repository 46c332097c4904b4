// lb32 written out: a warp a tile. The values come by coalesced copies, each lane puts its own in
// place.
#include "cuda/kernel.h"
#include "cuda/lane_linear/lane_sum.cuh"
#include "cuda/to_dense/write.cuh"

namespace {

using namespace secateur;
using namespace secateur::to_dense;

using Dense = DenseTile<64>;
constexpr int kValueBytes = kTileRows * 64 * 2, kWarpBytes = Dense::kBytes + kValueBytes;

__global__ void __launch_bounds__(kThreads, 8) expand(Problem p) {
  std::int64_t tile = 0;
  if (!my_tile(p, tile)) return;
  const int lane = ptx::lane();
  const Shared<std::uint8_t> memory = ptx::shared() + ptx::warp() * kWarpBytes;
  const Dense dense = {memory};
  const Shared<Element> values = (memory + Dense::kBytes).as<Element>();
  const std::uint32_t begin = ptx::load_nc(p.starts + tile),
                      end = ptx::load_nc(p.starts + tile + 1);
  for (int at = lane * kChunk; at < static_cast<int>(end - begin); at += 32 * kChunk)
    ptx::cp_async<16>(values + at, p.values + begin + at);
  std::uint32_t mask = ptx::load_nc(p.masks + tile * 32 + lane);
  Shared<Element> next = values + lane_linear::inclusive_sum(ptx::popc(mask));
  dense.clear();
  ptx::cp_async_wait_all();
  ptx::syncwarp();
#pragma unroll 1
  while (mask != 0) {  // from the last
    const int bit = ptx::highest(mask);
    mask ^= 1U << bit;
    next = next + -1;
    dense.put(lane / 4 + (bit & 2) * 4, (bit >> 3) * 16 + (bit & 4) * 2 + lane % 4 * 2 + (bit & 1),
              ptx::load(next));
  }
  dense.write(p, tile / p.across * kTileRows, tile % p.across * 64);
}

const char* refuses(const ToDenseArgs& args) {
  if (args.starts == nullptr) return "starts: wanted the table of lb32";
  if (reinterpret_cast<std::uintptr_t>(args.values) % 16 != 0)
    return "values: wanted aligned to 16 bytes";
  return refuses_any(args);
}
int run(const ToDenseArgs& args, void* stream) {
  return launch(expand, problem_of(args, 64), kWarpBytes, stream);
}

constexpr cuda::Config kConfig = {kThreads, kWarps * kWarpBytes, 1, kTileRows * kWarps, 0, 64};

}  // namespace

SECATEUR_CUDA_KERNEL(ToDenseArgs, 80, "f16,bf16", "lb32", kConfig, refuses, workspace_bytes, run);
