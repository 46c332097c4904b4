// lb32 above 80 % pruned: each lane puts the values it has into a dense tile in shared memory that
// was zeroed, and reads its operands back. Its instructions follow the fullest lane of a tile, and
// not the positions.
//
// The dense tile is in the order of operands, not of rows: what a lane reads back by plain loads of
// 4 bytes it wrote itself, so there is no barrier between, and stores never conflict. ldmatrix,
// from a tile in rows, passes the banks as often and takes both.
#include "cuda/lane_linear/lane_sum.cuh"
#include "cuda/lane_linear/product.cuh"
#include "cuda/lane_linear/scratch.cuh"

namespace {

using namespace secateur;
using namespace secateur::lane_linear;

struct Scattered : Lb32 {
  static constexpr int kScratchBytes = Scratch::kBytes;
  static int most(const LaneLinearArgs& args) { return kTiles * most_of(args); }

  template <class T>
  class Tile {
   public:
    __device__ __forceinline__ Tile(Shared<std::uint8_t> packed, Shared<std::uint8_t> scratch, int,
                                    int tiles)
        : ends_(packed.as<std::uint32_t>() + ptx::lane(), tiles),
          values_((packed + kTiles * kMasks * 4).template as<T>()),
          dense_{scratch} {}
    __device__ __forceinline__ void take(std::uint32_t (&a)[2][4], int pair) {
      if (pair % 2 == 0) expand(pair / 2);
#pragma unroll
      for (int i = 0; i < 8; ++i) a[i / 4][i % 4] = dense_.word(pair % 2 * 8 + i);
    }

   private:
    __device__ __forceinline__ void expand(int tile) {
      std::uint32_t mask = ends_.masks[tile];
      Shared<T> end = values_ + ends_.end[tile];
      dense_.clear();
#pragma unroll 1
      while (mask != 0) {  // from the last
        const int place = ptx::highest(mask);
        mask ^= 1U << place;
        end = end + -1;
        dense_.put(place, ptx::load(end));
      }
      ptx::syncwarp();
    }

    LaneEnds ends_;
    Shared<T> values_;
    Scratch dense_;
  };
};

const char* refuses(const LaneLinearArgs& args) { return refuses_lb32(args); }
int run(const LaneLinearArgs& args, void* stream) { return run_any<Scattered>(args, stream); }

constexpr cuda::Config kConfig = config_of<Scattered>(Lb32::kTiles * kMostBeside64);

}  // namespace

SECATEUR_CUDA_KERNEL(LaneLinearArgs, 80, "f16,bf16", "lb32", kConfig, refuses, workspace_bytes,
                     run);
