// lb32 from 50 to 80 % pruned: each lane takes its values one after the other, by a predicated load
// for each position, straight into the operands.
#include "cuda/lane_linear/lane_sum.cuh"
#include "cuda/lane_linear/product.cuh"

namespace {

using namespace secateur;
using namespace secateur::lane_linear;

struct Gather : Lb32 {
  static constexpr int kScratchBytes = 0;
  static int most(const LaneLinearArgs& args) { return most_of(args); }

  template <class T>
  class Tile {
   public:
    __device__ __forceinline__ Tile(Shared<std::uint8_t> tile, Shared<std::uint8_t>, int)
        : mask_(ptx::load(tile.as<std::uint32_t>() + ptx::lane())) {
      const int kept = ptx::popc(mask_);
      next_ = (tile + kMasks * 4).template as<T>() + (inclusive_sum(kept) - kept);
    }
    __device__ __forceinline__ void take(std::uint32_t (&a)[2][4], int pair) {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int bit = pair * 16 + i * 2;
        const std::uint32_t low = ptx::take_if(next_, mask_ & (1U << bit));
        const std::uint32_t high = ptx::take_if(next_, mask_ & (2U << bit));
        a[i / 4][i % 4] = ptx::byte_perm(low, high, 0x5410);  // high's lower half above low's
      }
    }

   private:
    std::uint32_t mask_;
    Shared<T> next_;
  };
};

const char* refuses(const LaneLinearArgs& args) { return refuses_lb32(args); }
std::int64_t workspace_bytes(const LaneLinearArgs& args) {
  return workspace_bytes_of(args, Gather::kIn);
}
int run(const LaneLinearArgs& args, void* stream) { return run_any<Gather>(args, stream); }

constexpr cuda::Config kConfig = config_of<Gather>(Block::kMostValues);

}  // namespace

SECATEUR_CUDA_KERNEL(LaneLinearArgs, 80, "f16,bf16", "lb32", kConfig, refuses, workspace_bytes,
                     run);
