// Where the bytes of a warp's tiles lie in global memory, one tile after the other along a row of
// tiles, and how a warp copies them.
#pragma once

#include "cuda/lane_linear/x_tile.cuh"

namespace secateur::lane_linear {

struct Lb32 {
  using Order = InOrder;
  static constexpr int kTileIn = 64, kTiles = Block::kIn / kTileIn, kMasks = 32;

  // Two tiles of a step lie behind each other. The table is read a step ahead of the copies, so
  // that they need not wait for it.
  class Spans {
   public:
    template <class T>
    __device__ Spans(const Problem<T>& p, std::int64_t tile, int tiles)
        : at_(p.starts + tile), left_(tiles) {
      if (left_ == 0) return;
      begin_ = ptx::load_nc(at_);
      end_ = ptx::load_nc(at_ + this->tiles());
    }
    __device__ int tiles() const { return left_ < kTiles ? left_ : kTiles; }
    __device__ std::int64_t begin() const { return begin_; }
    __device__ int length() const { return static_cast<int>(end_ - begin_); }
    __device__ void advance() {
      at_ += kTiles;
      left_ -= kTiles;
      begin_ = end_;
      if (left_ > 0) end_ = ptx::load_nc(at_ + tiles());
    }

   private:
    const std::uint32_t* at_;
    int left_;  // tiles
    std::uint32_t begin_ = 0, end_ = 0;
  };
};

struct N32 {
  using Order = ByLane;
  static constexpr int kTileIn = 128, kTiles = 1, kMasks = 64;

  class Spans {
   public:
    template <class T>
    __device__ Spans(const Problem<T>& p, std::int64_t tile, int)
        : begin_(tile * kMasks * p.n), length_(kMasks * p.n) {}
    __device__ int tiles() const { return kTiles; }
    __device__ std::int64_t begin() const { return begin_; }
    __device__ int length() const { return length_; }
    __device__ void advance() { begin_ += length_; }

   private:
    std::int64_t begin_;
    int length_;
  };
};

// What a warp copies of the weight: each step its tiles, masks before values, each byte once.
template <class Layout, class T>
class TileStream {
 public:
  static constexpr int kMaskBytes = Layout::kTiles * Layout::kMasks * 4;

  __device__ __forceinline__ TileStream(const Problem<T>& p, std::int64_t tile, int tiles)
      : spans_(p, tile, tiles),
        masks_(p.masks + tile * Layout::kMasks + ptx::lane() * 4),
        values_(p.values + ptx::lane() * Block::kChunk) {}
  __device__ __forceinline__ void fetch(Shared<std::uint8_t> to) {
    to = to + ptx::lane() * 16;
    if (ptx::lane() < spans_.tiles() * (Layout::kMasks / 4)) ptx::cp_async<16>(to, masks_);
    to = to + kMaskBytes;
    const T* from = values_ + spans_.begin();
    const int left = spans_.length() - ptx::lane() * Block::kChunk;
#pragma unroll 1
    for (int at = 0; at < left; at += 32 * Block::kChunk) ptx::cp_async<16>(to + at * 2, from + at);
    masks_ += kMaskBytes / 4;
    spans_.advance();
  }

 private:
  typename Layout::Spans spans_;
  const std::uint32_t* masks_;
  const T* values_;
};

}  // namespace secateur::lane_linear
