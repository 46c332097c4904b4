// Where the bytes of a warp's tiles lie in global memory, one tile after the other along a row of
// tiles, and how a warp copies them.
#pragma once

#include "cuda/lane_linear/x_tile.cuh"

namespace secateur::lane_linear {

struct Lb32 {
  using Order = InOrder;
  static constexpr int kIn = Order::kIn, kMasks = 32;

  // The table is read one tile ahead of the copies, so that they need not wait for it.
  class Spans {
   public:
    template <class T>
    __device__ Spans(const Problem<T>& p, std::int64_t tile, int tiles)
        : next_(p.starts + tile), left_(tiles) {
      if (left_ == 0) return;
      begin_ = ptx::load_nc(next_++);
      end_ = ptx::load_nc(next_++);
    }
    __device__ std::int64_t begin() const { return begin_; }
    __device__ int length() const { return static_cast<int>(end_ - begin_); }
    __device__ void advance() {
      begin_ = end_;
      if (--left_ > 0) end_ = ptx::load_nc(next_++);
    }

   private:
    const std::uint32_t* next_;
    int left_;
    std::uint32_t begin_ = 0, end_ = 0;
  };
};

struct N32 {
  using Order = ByLane;
  static constexpr int kIn = Order::kIn, kMasks = 64;

  class Spans {
   public:
    template <class T>
    __device__ Spans(const Problem<T>& p, std::int64_t tile, int)
        : begin_(tile * kMasks * p.n), length_(kMasks * p.n) {}
    __device__ std::int64_t begin() const { return begin_; }
    __device__ int length() const { return length_; }
    __device__ void advance() { begin_ += length_; }

   private:
    std::int64_t begin_;
    int length_;
  };
};

// What a warp copies of the weight: each step a tile, masks before values, each byte once.
template <class Layout, class T>
class TileStream {
 public:
  __device__ __forceinline__ TileStream(const Problem<T>& p, std::int64_t tile, int tiles)
      : spans_(p, tile, tiles),
        masks_(p.masks + tile * Layout::kMasks + ptx::lane() * 4),
        values_(p.values + ptx::lane() * Block::kChunk) {}
  __device__ __forceinline__ void fetch(Shared<std::uint8_t> to) {
    to = to + ptx::lane() * 16;
    if (ptx::lane() < Layout::kMasks / 4) ptx::cp_async<16>(to, masks_);
    to = to + Layout::kMasks * 4;
    const T* from = values_ + spans_.begin();
    const int left = spans_.length() - ptx::lane() * Block::kChunk;
#pragma unroll 1
    for (int at = 0; at < left; at += 32 * Block::kChunk) ptx::cp_async<16>(to + at * 2, from + at);
    masks_ += Layout::kMasks;
    spans_.advance();
  }

 private:
  typename Layout::Spans spans_;
  const std::uint32_t* masks_;
  const T* values_;
};

}  // namespace secateur::lane_linear
