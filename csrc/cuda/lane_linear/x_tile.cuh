// x in shared memory: [rows][columns] of a step, in chunks of 16 bytes, and fragments of it.
#pragma once

#include "cuda/lane_linear/problem.cuh"

namespace secateur::lane_linear {

using ptx::Shared;

// In x's own order. A row's chunks are permuted by its number, so that the eight rows of an
// ldmatrix lie in different banks.
struct InOrder {
  __device__ __forceinline__ static int offset(int row, int chunk) {
    return row * Block::kIn * 2 + (chunk ^ (row & 7)) * 16;
  }
  // b of fragments 2 pair and 2 pair + 1, for eight rows.
  __device__ __forceinline__ static void fragments(std::uint32_t (&b)[4], Shared<std::uint8_t> x,
                                                   int row, int pair) {
    const int lane = ptx::lane();
    ptx::ldmatrix(b, x + offset(row + lane % 8, pair * 4 + lane / 8));
  }
};

// In the order of n32, where a lane's part of both fragments is 16 bytes of x. A row's sixteen
// chunks are permuted so that the eight lanes of two rows lie in different banks.
struct ByLane {
  __device__ __forceinline__ static int offset(int row, int chunk) {
    return row * Block::kIn * 2 + (chunk ^ (chunk >> 3) ^ ((row & 1) << 1)) * 16;
  }
  __device__ __forceinline__ static void fragments(std::uint32_t (&b)[4], Shared<std::uint8_t> x,
                                                   int row, int pair) {
    const int g = ptx::lane() / 4, t = ptx::lane() % 4;
    const auto part = x.template as<ptx::Vec<std::uint8_t, 16>>();
    const auto found = ptx::load(Shared<ptx::Vec<std::uint32_t, 4>>{
        part.address + static_cast<std::uint32_t>(offset(row + g, 4 * t + pair))});
#pragma unroll
    for (int i = 0; i < 4; ++i) b[i] = found[i];
  }
};

// What a thread copies of x: each step, some of its rows' chunks. What is outside is zeros.
template <class Order, int kRows, class T>
class XStream {
 public:
  __device__ __forceinline__ XStream(const Problem<T>& p, std::int64_t row0, int step)
      : stride_(p.x_stride * kApart) {
    const int row = ptx::thread() / kRowChunks, chunk = ptx::thread() % kRowChunks;
    const std::int64_t column = std::int64_t{step} * Block::kIn + chunk * Block::kChunk;
    const std::int64_t rows = p.rows - row0;
    from_ = p.x + (row0 + row) * p.x_stride + column;
    rows_ = (rows < kRows ? static_cast<int>(rows) : kRows) - row;
    columns_ = static_cast<int>(p.in - column);
    to_ = Order::offset(row, chunk);
    idle_ = row >= kRows;
  }
  __device__ __forceinline__ void fetch(Shared<std::uint8_t> stage) {
    const int inside = columns_ < 0 ? 0 : columns_ > Block::kChunk ? Block::kChunk : columns_;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (kPartly && idle_) break;
      ptx::cp_async<16>(stage + to_ + i * kApart * Block::kIn * 2, from_ + i * stride_,
                        i * kApart < rows_ ? inside * 2 : 0);
    }
    from_ += Block::kIn;
    columns_ -= Block::kIn;
  }

 private:
  static constexpr int kRowChunks = Block::kIn / Block::kChunk;
  static constexpr int kApart = Block::kThreads / kRowChunks;  // rows that all threads copy at once
  static constexpr bool kPartly = kRows < kApart;
  static constexpr int kEach = kPartly ? 1 : kRows / kApart;
  static_assert(kPartly || kRows % kApart == 0);
  // Rows that a thread copies lie kApart apart, and their chunks are permuted alike.
  static_assert(kApart % 8 == 0);

  const T* from_;
  std::int64_t stride_;
  int rows_, columns_, to_;  // rows_, columns_: how many there are from here on
  bool idle_;                // more threads than chunks
};

}  // namespace secateur::lane_linear
