// From a dense tile in a warp's shared memory to the weight.
#pragma once

#include "cuda/ptx.cuh"
#include "cuda/to_dense/to_dense.h"

namespace secateur::to_dense {

using cuda::ToDenseArgs;
using ptx::Shared;

constexpr int kWarps = 4, kThreads = 32 * kWarps, kTileRows = 16, kChunk = 8;
using Chunk = ptx::Vec<std::uint32_t, 4>;
using Element = ptx::f16;  // any type of two bytes: its bits

struct Problem {
  const Element* values;
  const std::uint32_t* masks;
  const std::uint32_t* starts;
  Element* weight;
  std::int64_t in, out, stride;
  std::int64_t tiles;
  int across;  // tiles of a row of them
  int n;
};

// [16 rows][kColumns], with a chunk between rows: stores of a column's elements spread over the
// banks.
template <int kColumns>
struct DenseTile {
  static constexpr int kPitch = (kColumns + kChunk) * 2, kBytes = kTileRows * kPitch;
  static constexpr int kRowChunks = kColumns / kChunk, kChunks = kTileRows * kRowChunks;

  Shared<std::uint8_t> at;

  __device__ __forceinline__ void clear() const {
    for (int i = ptx::lane(); i < kBytes / 16; i += 32)
      ptx::store((at + i * 16).template as<Chunk>(), {0, 0, 0, 0});
    ptx::syncwarp();
  }
  __device__ __forceinline__ void put(int row, int column, Element value) const {
    ptx::store((at + row * kPitch + column * 2).template as<Element>(), value);
  }
  // What is inside of the weight, 16 bytes a lane, a row's beside each other.
  __device__ __forceinline__ void write(const Problem& p, std::int64_t row0,
                                        std::int64_t column0) const {
    ptx::syncwarp();
#pragma unroll 4
    for (int i = ptx::lane(); i < kChunks; i += 32) {
      const int row = i / kRowChunks, chunk = i % kRowChunks;
      const std::int64_t left = p.in - column0 - chunk * kChunk;
      if (row0 + row >= p.out || left <= 0) continue;
      const Shared<std::uint8_t> from = at + row * kPitch + chunk * 16;
      Element* to = p.weight + (row0 + row) * p.stride + column0 + chunk * kChunk;
      if (left >= kChunk)
        ptx::store_once(reinterpret_cast<Chunk*>(to), ptx::load(from.template as<Chunk>()));
      else
#pragma unroll 1
        for (int j = 0; j < left; ++j)
          ptx::store_once(to + j, ptx::load(from.template as<Element>() + j));
    }
  }
};

// The warp's tile; false if there is none for it.
__device__ __forceinline__ bool my_tile(const Problem& p, std::int64_t& tile) {
  tile = std::int64_t{ptx::block_index().x} * kWarps + ptx::warp();
  return tile < p.tiles;
}

inline Problem problem_of(const ToDenseArgs& args, int columns) {
  const std::int64_t across = (args.in_features + columns - 1) / columns;
  const std::int64_t down = (args.out_features + kTileRows - 1) / kTileRows;
  return {static_cast<const Element*>(args.values),
          args.masks,
          args.starts,
          static_cast<Element*>(args.weight),
          args.in_features,
          args.out_features,
          args.stride,
          across * down,
          static_cast<int>(across),
          args.n};
}

inline const char* refuses_any(const ToDenseArgs& args) {
  const auto type = static_cast<Type>(args.type);
  if (type != Type::f16 && type != Type::bf16) return "type: wanted f16 or bf16";
  if (reinterpret_cast<std::uintptr_t>(args.weight) % 16 != 0 || args.stride % kChunk != 0)
    return "weight, stride: wanted aligned to 16 bytes, 8 elements, which are written at once";
  if (args.in_features > INT32_MAX) return "in_features: wanted below 2^31";
  return nullptr;
}

inline std::int64_t workspace_bytes(const ToDenseArgs&) { return 0; }

inline int launch(void (*kernel)(Problem), const Problem& problem, int warp_bytes, void* stream) {
  if (problem.tiles == 0) return 0;
  const auto blocks = static_cast<unsigned>((problem.tiles + kWarps - 1) / kWarps);
  return ptx::launch(kernel, {blocks, 1, 1}, {kThreads, 1, 1}, kWarps * warp_bytes, stream,
                     problem);
}

}  // namespace secateur::to_dense
