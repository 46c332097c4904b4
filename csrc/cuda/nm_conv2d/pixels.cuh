// The loader of x where a row is what one output pixel sees of an image: tap by tap of the kernel,
// the channel fastest. Nothing of that matrix is ever stored but the tile in shared memory.
#pragma once

#include "cuda/tile/tokens.cuh"

namespace secateur::tile {

template <class T>
struct PixelsArgs {
  const T* x;  // NHWC, of a group its first channel
  int rows;    // of the matrix: output pixels of all images
  int height, width, out_height, out_width;
  int kernel_height, kernel_width, stride_height, stride_width;
  int dilation_height, dilation_width, pad_top, pad_left;
  int channels;  // of a group, whole chunks
  int stride;    // elements between pixels
};

// Which taps of a kernel lie in the image, a bit each: columns of the kernel in the lower half of a
// word, rows in the upper. The highest bit of each is none's, so that no word has all of them.
constexpr int kTapBits = 16, kMostTaps = kTapBits - 1;

// kBlocks: a step lies in one tap, for `channels` is a multiple of what a step holds. Otherwise a
// chunk does, and the chunks of a step may lie in several.
template <class Tile, class T, bool kBlocks>
class Pixels {
  using S = Shape<Tile, T>;
  using Chunks = XChunks<Tile, T>;

 public:
  using Args = PixelsArgs<T>;

  __device__ __forceinline__ Pixels(const Args& args, std::int64_t row0, int first_step)
      : args_(args) {
    const int k = first_step * S::kIn + ptx::thread() % Chunks::kOfRow * S::kPerChunk;
    const int tap = k / args.channels;
    channel_ = k % args.channels;
    down_ = tap / args.kernel_width;
    right_ = tap % args.kernel_width;
#pragma unroll
    for (int i = 0; i < Chunks::kTimes; ++i)
      see(i, static_cast<int>(row0) + ptx::thread() / Chunks::kOfRow + i * Chunks::kRowsAtOnce);
  }

  __device__ __forceinline__ void fetch(ptx::Shared<std::uint8_t> tile) {
    const int row = ptx::thread() / Chunks::kOfRow, chunk = ptx::thread() % Chunks::kOfRow;
    const bool is_tap = down_ < args_.kernel_height;
    const std::uint32_t tap = is_tap ? 1U << right_ | 1U << (kTapBits + down_) : ~0U;
    const int from_corner =
        down_ * args_.dilation_height * args_.width + right_ * args_.dilation_width;
#pragma unroll
    for (int i = 0; i < Chunks::kTimes; ++i) {
      const std::int64_t pixel = corner_[i] + from_corner;
      copy_chunk(tile + swizzle<Tile::kStepBytes>(row + i * Chunks::kRowsAtOnce, chunk),
                 args_.x + pixel * args_.stride + channel_, (inside_[i] & tap) == tap);
    }
    advance();
  }

 private:
  // Output pixel `row`, the thread's i-th: the pixel of x at its upper left tap, which may lie
  // outside, and the taps that do not.
  __device__ __forceinline__ void see(int i, int row) {
    const int line = row / args_.out_width, image = line / args_.out_height;
    const int top = line % args_.out_height * args_.stride_height - args_.pad_top;
    const int left = row % args_.out_width * args_.stride_width - args_.pad_left;
    corner_[i] = (image * args_.height + top) * args_.width + left;
    const std::uint32_t right = taps(left, args_.dilation_width, args_.kernel_width, args_.width);
    const std::uint32_t down = taps(top, args_.dilation_height, args_.kernel_height, args_.height);
    inside_[i] = row < args_.rows ? right | down << kTapBits : 0U;
  }

  static __device__ __forceinline__ std::uint32_t taps(int first, int step, int count, int size) {
    std::uint32_t found = 0;
#pragma unroll 1
    for (int tap = 0; tap < count; ++tap, first += step)
      if (first >= 0 && first < size) found |= 1U << tap;
    return found;
  }

  __device__ __forceinline__ void advance() {
    channel_ += S::kIn;
    if constexpr (kBlocks) {
      if (channel_ < args_.channels) return;
      channel_ -= args_.channels;
      next_tap();
    } else {
#pragma unroll 1
      while (channel_ >= args_.channels) {
        channel_ -= args_.channels;
        next_tap();
      }
    }
  }

  __device__ __forceinline__ void next_tap() {
    const bool last = ++right_ == args_.kernel_width;
    right_ = last ? 0 : right_;
    down_ += last ? 1 : 0;
  }

  const Args& args_;
  int channel_, down_, right_;  // of this thread's chunk of the next step
  int corner_[Chunks::kTimes];  // pixels
  std::uint32_t inside_[Chunks::kTimes];
};

}  // namespace secateur::tile
