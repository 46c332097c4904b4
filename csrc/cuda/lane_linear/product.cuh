// The product, for any way of reading a tile: a block of four warps, each with 16 rows of the
// weight, goes along its part of the columns; x and the packed tiles come by cp.async, three
// stages deep. A Reader makes mma operands of a packed tile.
#pragma once

#include "cuda/kernel.h"
#include "cuda/lane_linear/finish.cuh"
#include "cuda/lane_linear/layouts.cuh"

namespace secateur::lane_linear {

// Bytes of shared memory, and where in it things are.
template <class Reader, int kRows>
struct Room {
  static constexpr int kXBytes = kRows * Block::kIn * 2;
  int warp_bytes, stage_bytes;

  __host__ __device__ constexpr explicit Room(int most)
      : warp_bytes(Reader::kTiles * Reader::kMasks * 4 + most * 2),
        stage_bytes(kXBytes + Block::kWarps * warp_bytes) {}
  __host__ __device__ constexpr int scratch(int warp) const {
    return Block::kStages * stage_bytes + warp * Reader::kScratchBytes;
  }
  constexpr int bytes() const { return std::max(scratch(Block::kWarps), Sums<kRows>::kBytes); }
};

// Where a block is in its ring of stages, in bytes.
struct Ring {
  int stage_bytes, at;
  __device__ __forceinline__ void advance() {
    at = at == (Block::kStages - 1) * stage_bytes ? 0 : at + stage_bytes;
  }
};

template <class Reader, int kRows, class T>
__device__ __forceinline__ void multiply(float (&sums)[kRows / 8][4],
                                         typename Reader::template Tile<T>& weight,
                                         Shared<std::uint8_t> x) {
#pragma unroll
  for (int pair = 0; pair < Block::kIn / 32; ++pair) {
    std::uint32_t a[2][4];
    weight.take(a, pair);
#pragma unroll
    for (int j = 0; j < kRows / 8; ++j) {
      std::uint32_t b[4];
      Reader::Order::fragments(b, x, j * 8, pair);
      const std::uint32_t low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
      ptx::mma<T>(sums[j], a[0], low);
      ptx::mma<T>(sums[j], a[1], high);
    }
  }
}

// Sums over `count` steps, of which the first is `first`.
template <class Reader, int kRows, class T>
__device__ __forceinline__ void walk(const Problem<T>& p, const Sums<kRows>& where, int first,
                                     int count, float (&sums)[kRows / 8][4]) {
  const Room<Reader, kRows> room(p.most);
  const Shared<std::uint8_t> memory = ptx::shared();
  const int mine = room.kXBytes + ptx::warp() * room.warp_bytes;
  const std::int64_t out = where.out0 + ptx::warp() * Block::kTileOut;
  const bool active = out < p.out;  // whether the warp has rows of the weight
  XStream<typename Reader::Order, kRows, T> x(p, where.row0, first);
  const int tile = first * Reader::kTiles;  // of a row of them
  const int most = count * Reader::kTiles, left = p.tiles - tile < most ? p.tiles - tile : most;
  TileStream<Reader, T> tiles(p, out / Block::kTileOut * p.tiles + tile, active ? left : 0);
  Ring filled = {room.stage_bytes, 0}, used = filled;
  const auto fetch = [&](bool any) {
    if (any) {
      x.fetch(memory + filled.at);
      if (active) tiles.fetch(memory + filled.at + mine);
      filled.advance();
    }
    ptx::cp_async_commit();
  };
#pragma unroll
  for (int i = 0; i < Block::kStages - 1; ++i) fetch(i < count);
#pragma unroll 1
  for (int i = 0; i < count; ++i) {
    ptx::cp_async_wait<Block::kStages - 2>();
    ptx::barrier();  // the stage has come for all, and the one before is free for all
    fetch(i + Block::kStages - 1 < count);
    if (active) {
      const Shared<std::uint8_t> stage = memory + used.at;
      typename Reader::template Tile<T> weight(stage + mine, memory + room.scratch(ptx::warp()),
                                               p.n, left - i * Reader::kTiles);
      multiply<Reader, kRows, T>(sums, weight, stage);
    }
    used.advance();
  }
  ptx::cp_async_wait_all();
}

template <class T, class Reader, int kRows>
__global__ void __launch_bounds__(Block::kThreads, Block::per_sm(kRows)) product(Problem<T> p) {
  const Sums<kRows> where = {ptx::shared<float>(), std::int64_t{ptx::block_index().y} * Block::kOut,
                             std::int64_t{ptx::block_index().x} * kRows};
  const int first = static_cast<int>(ptx::block_index().z) * p.steps_each;
  const int left = p.steps - first;
  float sums[kRows / 8][4] = {};
  walk<Reader, kRows>(p, where, first, left < p.steps_each ? left : p.steps_each, sums);
  ptx::barrier();  // the stages are free
  where.put(sums);
  ptx::barrier();
  finish(p, where);
}

template <class T, class Reader, int kRows>
int start_tiles(const LaneLinearArgs& args, void* stream) {
  const Cut cut = cut_of(args);
  const int most = Reader::most(args);
  const ptx::Dim3 grid = {static_cast<unsigned>(cut.row_tiles),
                          static_cast<unsigned>(cut.out_tiles), static_cast<unsigned>(cut.splits)};
  return ptx::launch(product<T, Reader, kRows>, grid, {Block::kThreads, 1, 1},
                     Room<Reader, kRows>(most).bytes(), stream,
                     problem_of<T>(args, cut, most, Reader::kTileIn));
}

template <class T, class Reader>
int start(const LaneLinearArgs& args, void* stream) {
  switch (tile_rows(args)) {
    case 8:
      return start_tiles<T, Reader, 8>(args, stream);
    case 16:
      return start_tiles<T, Reader, 16>(args, stream);
    case 32:
      return start_tiles<T, Reader, 32>(args, stream);
    default:
      return start_tiles<T, Reader, 64>(args, stream);
  }
}

template <class Reader>
int run_any(const LaneLinearArgs& args, void* stream) {
  if (args.rows == 0 || args.out_features == 0) return 0;
  return static_cast<Type>(args.type) == Type::f16 ? start<ptx::f16, Reader>(args, stream)
                                                   : start<ptx::bf16, Reader>(args, stream);
}

template <class Reader>
constexpr cuda::Config config_of(int most) {
  return {Block::kThreads,  Room<Reader, Block::kMostRows>(most).bytes(),
          Block::kStages,   Block::kOut,
          Block::kMostRows, Block::kIn};
}

}  // namespace secateur::lane_linear
