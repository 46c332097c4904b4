// A warp's sums, and what one stage adds to them.
#pragma once

#include "cuda/tile/weight.cuh"

namespace secateur::tile {

template <class Tile, class T>
struct Warp {
  using S = Shape<Tile, T>;
  int out, row;                                         // where its part of the block's tile begins
  typename S::Sum sums[S::kOutTiles][S::kRowTiles][4];  // fragments d of mma

  __device__ __forceinline__ Warp()
      : out(ptx::warp() % S::kOutWarps * Tile::kWarpOut),
        row(ptx::warp() / S::kOutWarps * Tile::kWarpRows) {
    clear();
  }

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < S::kOutTiles; ++i)
#pragma unroll
      for (int j = 0; j < S::kRowTiles; ++j)
#pragma unroll
        for (int r = 0; r < 4; ++r) sums[i][j][r] = 0;
  }
};

template <class Tile, class T>
__device__ __forceinline__ void mma_tile(Warp<Tile, T>& warp, int j, const Fragments<Tile, T>& w,
                                         const std::uint32_t (&b)[4]) {
  using S = Shape<Tile, T>;
#pragma unroll
  for (int i = 0; i < S::kOutTiles; ++i) {
    if constexpr (S::kMetaTiles == S::kOutTiles) {
      ptx::mma_sp<T, 0>(warp.sums[i][j], w.a[i], b, w.e[i]);
    } else {
      if (i % 2 == 0)
        ptx::mma_sp<T, 0>(warp.sums[i][j], w.a[i], b, w.e[i / 2]);
      else
        ptx::mma_sp<T, 1>(warp.sums[i][j], w.a[i], b, w.e[i / 2]);
    }
  }
}

template <class Weight, class Tile, class T>
__device__ __forceinline__ void multiply(Warp<Tile, T>& warp, ptx::Shared<std::uint8_t> stage) {
  using S = Shape<Tile, T>;
  const int lane = ptx::lane();
#pragma unroll
  for (int slice = 0; slice < S::kSlices; ++slice) {
    Fragments<Tile, T> weight;
    Weight::load(weight, stage, warp.out, slice);
#pragma unroll
    for (int j = 0; j < S::kRowTiles; ++j) {
      std::uint32_t b[4];
      ptx::ldmatrix(
          b, stage + (S::kXAt + swizzle<Tile::kStepBytes>(warp.row + j * kRowsOfMma + lane % 8,
                                                          slice * 4 + lane / 8)));
      mma_tile(warp, j, weight, b);
    }
  }
}

}  // namespace secateur::tile
