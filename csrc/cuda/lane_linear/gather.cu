// lb32 from 50 to 80 % pruned: each lane takes its values one after the other, by a predicated load
// for each position, straight into the operands.
#include "cuda/lane_linear/lane_sum.cuh"
#include "cuda/lane_linear/product.cuh"

namespace {

using namespace secateur;
using namespace secateur::lane_linear;

struct Gather : Lb32 {
  static constexpr int kScratchBytes = 0;
  static int most(const LaneLinearArgs& args) { return kTiles * most_of(args); }

  template <class T>
  class Tile {
   public:
    __device__ __forceinline__ Tile(Shared<std::uint8_t> packed, Shared<std::uint8_t>, int,
                                    int tiles)
        : ends_(packed.as<std::uint32_t>() + ptx::lane(), tiles) {
      const Shared<T> values = (packed + kTiles * kMasks * 4).template as<T>();
#pragma unroll
      for (int i = 0; i < kTiles; ++i) next_[i] = values + (ends_.end[i] - ends_.kept[i]);
    }
    __device__ __forceinline__ void take(std::uint32_t (&a)[2][4], int pair) {
      const std::uint32_t mask = ends_.masks[pair / 2];
      Shared<T>& next = next_[pair / 2];
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int bit = pair % 2 * 16 + i * 2;
        const std::uint32_t low = ptx::take_if(next, mask & (1U << bit));
        const std::uint32_t high = ptx::take_if(next, mask & (2U << bit));
        a[i / 4][i % 4] = ptx::byte_perm(low, high, 0x5410);  // high's lower half above low's
      }
    }

   private:
    LaneEnds ends_;
    Shared<T> next_[kTiles];
  };
};

const char* refuses(const LaneLinearArgs& args) { return refuses_lb32(args); }
int run(const LaneLinearArgs& args, void* stream) { return run_any<Gather>(args, stream); }

constexpr cuda::Config kConfig = config_of<Gather>(Lb32::kTiles * kMostBeside64);

}  // namespace

SECATEUR_CUDA_KERNEL(LaneLinearArgs, 80, "f16,bf16", "lb32", kConfig, refuses, workspace_bytes,
                     run);
