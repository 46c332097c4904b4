// n32: every lane has exactly n values of each of its two groups, two in a word, a word of each
// lane side by side: nothing to add up, no bank conflicts. They go through a dense group in shared
// memory, so that work follows n.
#include "cuda/lane_linear/product.cuh"
#include "cuda/lane_linear/scratch.cuh"

namespace {

using namespace secateur;
using namespace secateur::lane_linear;

struct Balanced : N32 {
  static constexpr int kScratchBytes = Scratch::kBytes;
  static int most(const LaneLinearArgs& args) { return kMasks * args.n; }

  template <class T>
  class Tile {
   public:
    __device__ __forceinline__ Tile(Shared<std::uint8_t> tile, Shared<std::uint8_t> scratch, int n,
                                    int)
        : dense_{scratch} {
      expand(tile, 0, n);
#pragma unroll
      for (int i = 0; i < Scratch::kWords; ++i) upper_[i] = dense_.word(i);
      expand(tile, 1, n);
    }
    // Words 2 s and 2 s + 1 of a group are half of the registers of fragment s: of row g the even
    // ones, of row g + 8 the odd ones.
    __device__ __forceinline__ void take(std::uint32_t (&a)[2][4], int pair) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        a[i / 2][i % 2 * 2] = upper_[pair * 4 + i];
        a[i / 2][i % 2 * 2 + 1] = dense_.word(pair * 4 + i);
      }
    }

   private:
    __device__ __forceinline__ void expand(Shared<std::uint8_t> tile, int group, int n) {
      const Shared<std::uint32_t> words = tile.as<std::uint32_t>() + ptx::lane();
      std::uint32_t mask = ptx::load(words + group * 32);
      Shared<std::uint32_t> end = words + kMasks + (group + 1) * n * 16;
      dense_.clear();
#pragma unroll 1
      for (int i = 0; i < n; i += 2) {  // from the last
        end = end + -32;
        const std::uint32_t two = ptx::load(end);
        put_highest(mask, T{static_cast<std::uint16_t>(two >> 16)});
        put_highest(mask, T{static_cast<std::uint16_t>(two)});
      }
    }
    __device__ __forceinline__ void put_highest(std::uint32_t& mask, T value) {
      const int place = ptx::highest(mask);
      mask ^= 1U << place;
      dense_.put(place, value);
    }

    Scratch dense_;
    std::uint32_t upper_[Scratch::kWords];
  };
};

const char* refuses(const LaneLinearArgs& args) {
  if (args.n < 2 || args.n > Block::kMostKept || args.n % 2 != 0)
    return "n: wanted an even number from 2 to 24; lb32 holds what is denser";
  return refuses_any(args);
}
int run(const LaneLinearArgs& args, void* stream) { return run_any<Balanced>(args, stream); }

constexpr cuda::Config kConfig = config_of<Balanced>(N32::kMasks * Block::kMostKept);

}  // namespace

SECATEUR_CUDA_KERNEL(LaneLinearArgs, 80, "f16,bf16", "n32", kConfig, refuses, workspace_bytes, run);
