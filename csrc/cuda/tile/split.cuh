// Columns summed in parts by several blocks; the last to come adds the parts, always in the same
// order: a sum does not depend on which block was last.
#pragma once

#include "cuda/tile/multiply.cuh"

namespace secateur::tile {

// At the head of the workspace, whatever the problem, so that problems may share one: they come
// back to zero, and no part is ever written there.
constexpr int kMostCounters = 4096;

template <class Tile, class T>
constexpr std::int64_t part_bytes() {
  return std::int64_t{Tile::kOut} * Tile::kRows * 4;
}

// Where block (tile, part) puts its sums: [tile][part][fragment][thread], 16 bytes each.
template <class Tile, class T>
class Parts {
  using S = Shape<Tile, T>;
  using Fragment = ptx::Vec<typename S::Sum, 4>;

 public:
  __device__ __forceinline__ Parts(void* workspace, int tile, int parts)
      : counter_(static_cast<std::uint32_t*>(workspace) + tile),
        sums_(reinterpret_cast<Fragment*>(static_cast<std::uint32_t*>(workspace) + kMostCounters) +
              std::int64_t{tile} * parts * kOfPart + ptx::thread()),
        parts_(parts) {}

  __device__ __forceinline__ void store(const Warp<Tile, T>& warp, int part) {
#pragma unroll
    for (int i = 0; i < S::kOutTiles; ++i)
#pragma unroll
      for (int j = 0; j < S::kRowTiles; ++j)
        ptx::store(at(part, i, j), ptx::bits_as<Fragment>(warp.sums[i][j]));
  }

  // Whether this block is the last of its tile. All threads ask. What each has stored comes before
  // its fence, that before the barrier and the count; and the last count, with the fence behind it,
  // comes before what all threads read.
  __device__ __forceinline__ bool last(ptx::Shared<std::uint32_t> flag) {
    ptx::fence();
    ptx::barrier();
    if (ptx::thread() == 0) {
      const auto before = static_cast<std::uint32_t>(parts_ - 1);
      const bool is_last = ptx::atomic_inc(counter_, before) == before;
      ptx::fence();
      ptx::store(flag, is_last ? 1U : 0U);
    }
    ptx::barrier();
    return ptx::load(flag) != 0;
  }

  __device__ __forceinline__ void sum(Warp<Tile, T>& warp) {
    warp.clear();
#pragma unroll 1
    for (int part = 0; part < parts_; ++part)
#pragma unroll
      for (int i = 0; i < S::kOutTiles; ++i)
#pragma unroll
        for (int j = 0; j < S::kRowTiles; ++j) {
          const auto more = ptx::load_cg(at(part, i, j));
#pragma unroll
          for (int r = 0; r < 4; ++r) warp.sums[i][j][r] += more[r];
        }
  }

 private:
  static constexpr int kOfPart = S::kThreads * S::kOutTiles * S::kRowTiles;

  __device__ __forceinline__ Fragment* at(int part, int i, int j) {
    return sums_ + (std::int64_t{part} * kOfPart + (i * S::kRowTiles + j) * S::kThreads);
  }

  std::uint32_t* counter_;
  Fragment* sums_;
  int parts_;
};

}  // namespace secateur::tile
