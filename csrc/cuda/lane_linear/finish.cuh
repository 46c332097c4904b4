// From sums in registers to y: put together from the warps and from the parts of the columns, then
// bias, activation and residual.
#pragma once

#include "cuda/lane_linear/problem.cuh"
#include "cuda/tile/act.cuh"

namespace secateur::lane_linear {

using ptx::Shared;

// Sums of a block: [kRows][kPitch] floats. The margin puts the lanes of a fragment in different
// banks.
template <int kRows>
struct Sums {
  static constexpr int kPitch = Block::kOut + 4, kBytes = kRows * kPitch * 4;
  static constexpr int kEach = kRows * Block::kOut / Block::kThreads;  // of a thread

  Shared<float> memory;
  std::int64_t out0, row0;

  __device__ __forceinline__ int row(int i) const {
    return (ptx::thread() + i * Block::kThreads) / Block::kOut;
  }
  __device__ __forceinline__ int out(int i) const { return ptx::thread() % Block::kOut; }
  __device__ __forceinline__ float get(int i) const {
    return ptx::load(memory + row(i) * kPitch + out(i));
  }

  __device__ __forceinline__ void put(const float (&sums)[kRows / 8][4]) const {
    const int g = ptx::lane() / 4, t = ptx::lane() % 4;
#pragma unroll
    for (int i = 0; i < kRows / 8; ++i)
#pragma unroll
      for (int r = 0; r < 4; ++r)
        ptx::store(memory + (i * 8 + 2 * t + r % 2) * kPitch + ptx::warp() * Block::kTileOut + g +
                       8 * (r / 2),
                   sums[i][r]);
  }
};

// Bias, activation and residual of one element, and y.
template <class T>
__device__ __forceinline__ void emit(const Problem<T>& p, std::int64_t row, std::int64_t out,
                                     float sum) {
  if (p.bias != nullptr) sum += ptx::load_nc(p.bias + out);
  float y[1] = {sum};
  tile::activate(p.act, y);
  if (p.residual != nullptr)
    y[0] += ptx::to_float(ptx::load_nc(p.residual + row * p.y_stride + out));
  ptx::store(p.y + row * p.y_stride + out, ptx::from_float<T>(y[0]));
}

// Writes the block's part of the sums; whether it was the last, and all parts are there to see.
template <int kRows, class T>
__device__ __forceinline__ bool last_part(const Problem<T>& p, const Sums<kRows>& mine,
                                          std::int64_t tile, float* parts) {
#pragma unroll
  for (int i = 0; i < Sums<kRows>::kEach; ++i)
    ptx::store(parts + std::int64_t{ptx::block_index().z} * kRows * Block::kOut +
                   mine.row(i) * Block::kOut + mine.out(i),
               mine.get(i));
  ptx::fence();
  ptx::barrier();
  const auto told = mine.memory.template as<std::uint32_t>();
  if (ptx::thread() == 0)
    ptx::store(told, ptx::atomic_inc(p.counters + tile, static_cast<unsigned>(p.splits - 1)));
  ptx::barrier();
  const bool last = ptx::load(told) == static_cast<unsigned>(p.splits - 1);
  ptx::fence();
  return last;
}

// The parts are added in their own order, whichever block was the last: the same sum every time.
template <int kRows, class T>
__device__ __forceinline__ void finish(const Problem<T>& p, const Sums<kRows>& mine) {
  const std::int64_t tile =
      std::int64_t{ptx::block_index().y} * ptx::grid_dim().x + ptx::block_index().x;
  float* parts = p.partials + tile * p.splits * kRows * Block::kOut;
  const bool parted = p.splits > 1;
  if (parted && !last_part(p, mine, tile, parts)) return;
#pragma unroll 1
  for (int i = 0; i < Sums<kRows>::kEach; ++i) {
    const std::int64_t row = mine.row0 + mine.row(i), out = mine.out0 + mine.out(i);
    if (row >= p.rows || out >= p.out) continue;
    float sum = parted ? 0.0F : mine.get(i);
    for (int part = 0; parted && part < p.splits; ++part)
      sum += ptx::load_cg(parts + (std::int64_t{part} * kRows + mine.row(i)) * Block::kOut +
                          mine.out(i));
    emit(p, row, out, sum);
  }
}

}  // namespace secateur::lane_linear
