// Which tile of y a block takes, so that blocks that run at the same time share what they read.
#pragma once

#include "cuda/ptx.cuh"

namespace secateur::tile {

struct Place {
  int out, row;  // in tiles
};

// Strips of kTall tiles of rows, gone through feature by feature: about as many blocks as run at a
// time read kTall tiles of x and a few of the weight, both from the L2 cache.
constexpr int kTall = 8;
constexpr std::int64_t kMostTiles = std::int64_t{1} << 28;

__host__ __device__ __forceinline__ Place place(unsigned block, unsigned out_tiles,
                                                unsigned row_tiles) {
  const unsigned in_strip = kTall * out_tiles;
  const unsigned first = block / in_strip * kTall, at = block % in_strip;
  const unsigned tall = row_tiles - first < kTall ? row_tiles - first : kTall;
  return {static_cast<int>(at / tall), static_cast<int>(first + at % tall)};
}

}  // namespace secateur::tile
