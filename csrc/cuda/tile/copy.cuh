// What loaders share: copying a chunk or zeros, and knowing what is left.
#pragma once

#include "cuda/tile/shape.cuh"

namespace secateur::tile {

// cp.async of a chunk, or zeros: then `from` may point anywhere.
template <class V>
__device__ __forceinline__ void copy_chunk(ptx::Shared<std::uint8_t> to, const V* from,
                                           bool inside) {
  ptx::cp_async<kChunkBytes>(to, from, inside ? kChunkBytes : 0);
}

// How many of `of` lie behind `at`, as far as a tile cares.
__device__ __forceinline__ int left(std::int64_t of, std::int64_t at) {
  constexpr std::int64_t kMany = 1 << 30;
  return static_cast<int>(of - at < kMany ? of - at : kMany);
}

}  // namespace secateur::tile
