// Loaders of a 2:4 weight, one for each layout (csrc/cuda/nm_linear/nm_linear.h says what they
// are).
//
// A loader is a class template of Tile and T:
//   struct Args                         what the kernel is given
//   Weight(args, out0, first_step)      for the features out0.. and the steps from first_step on
//   fetch(stage)                        copies the next step's values and metadata
//   static load(fragments, stage, warp_out, slice)   a warp's operands, from a stage that has come
// Outside of the weight there are zeros; metadata of zeros are no positions, legal() makes them so.
#pragma once

#include "cuda/tile/copy.cuh"

namespace secateur::tile {

// A slice of a warp's part of the weight.
template <class Tile, class T>
struct Fragments {
  std::uint32_t a[Shape<Tile, T>::kOutTiles][4];
  std::uint32_t e[Shape<Tile, T>::kMetaTiles];
};

// Zeros stand for no positions at all; two legal ones are as good, for values that are zero.
__device__ __forceinline__ std::uint32_t legal(std::uint32_t meta) {
  return meta == 0 ? 0xeeeeeeeeU : meta;
}

template <class T>
struct WeightArgs {
  const T* values;
  const std::uint32_t* meta;
  std::int64_t padded_out, padded_in;  // multiples of 32, and of 64 columns (s8: 128)
};

// torch's and CUTLASS's order: rows of values, swizzled here, and metadata slice by slice.
template <class Tile, class T>
class Torch24 {
  using S = Shape<Tile, T>;
  static constexpr int kRowChunks = S::kWeightRowBytes / kChunkBytes;
  static constexpr int kRowsAtOnce = S::kThreads / kRowChunks;
  static constexpr int kMetaChunks = S::kMetaSliceBytes / kChunkBytes;  // of a slice
  static_assert(Tile::kOut % kRowsAtOnce == 0, "every thread copies as many chunks");
  static_assert(S::kSlices * kMetaChunks <= S::kThreads, "a thread copies one chunk of metadata");

 public:
  using Args = WeightArgs<T>;

  __device__ __forceinline__ Torch24(const Args& args, std::int64_t out0, int first_step) {
    const std::int64_t kept = args.padded_in / 2;
    const std::int64_t row = out0 + row_of_thread();
    const std::int64_t column = std::int64_t{first_step} * (S::kIn / 2) + chunk() * S::kPerChunk;
    values_ = args.values + row * kept + column;
    below_ = kRowsAtOnce * kept;
    rows_left_ = left(args.padded_out, row);
    columns_left_ = left(kept, column);

    const std::int64_t slice = std::int64_t{first_step} * S::kSlices + meta_slice();
    const std::int64_t words = args.padded_out * S::kMetaWords;  // of a slice
    const std::int64_t word = out0 * S::kMetaWords + ptx::thread() % kMetaChunks * 4;
    meta_ = args.meta + slice * words + word;
    further_ = S::kSlices * words;
    const std::int64_t slices = args.padded_in * static_cast<int>(sizeof(T)) / kSliceBytes;
    slices_left_ = word < words ? left(slices, slice) : 0;
  }

  __device__ __forceinline__ void fetch(ptx::Shared<std::uint8_t> stage) {
    const int rows_left = kWhole || columns_left_ > 0 ? rows_left_ : 0;
    const T* from = values_;
#pragma unroll
    for (int i = 0; i < Tile::kOut / kRowsAtOnce; ++i) {
      const int below = i * kRowsAtOnce;
      copy_chunk(stage + swizzle<S::kWeightRowBytes>(row_of_thread() + below, chunk()), from,
                 rows_left > below);
      from += below_;
    }
    if (ptx::thread() < S::kSlices * kMetaChunks)
      copy_chunk(stage + (S::kMetaAt + ptx::thread() * kChunkBytes), meta_, slices_left_ > 0);
    values_ += S::kIn / 2;
    columns_left_ -= S::kIn / 2;
    meta_ += further_;
    slices_left_ -= S::kSlices;
  }

  static __device__ __forceinline__ void load(Fragments<Tile, T>& to,
                                              ptx::Shared<std::uint8_t> stage, int warp_out,
                                              int slice) {
    const int lane = ptx::lane();
#pragma unroll
    for (int i = 0; i < S::kOutTiles; ++i)
      ptx::ldmatrix(to.a[i],
                    stage + swizzle<S::kWeightRowBytes>(warp_out + i * kOutOfMma + lane % 16,
                                                        slice * 2 + lane / 16));
    const auto meta =
        (stage + (S::kMetaAt + slice * S::kMetaSliceBytes)).template as<std::uint32_t>();
#pragma unroll
    for (int i = 0; i < S::kMetaTiles; ++i)
      to.e[i] = legal(ptx::load(meta + (warp_out * S::kMetaWords + i * 32 + lane)));
  }

 private:
  // The padding of the weight is a whole number of these steps.
  static constexpr bool kWhole = Tile::kStepBytes == 128;

  static __device__ __forceinline__ int row_of_thread() { return ptx::thread() / kRowChunks; }
  static __device__ __forceinline__ int chunk() { return ptx::thread() % kRowChunks; }
  static __device__ __forceinline__ int meta_slice() { return ptx::thread() / kMetaChunks; }

  const T* values_;  // of this thread's first chunk of the next step
  const std::uint32_t* meta_;
  std::int64_t below_, further_;  // elements to the next chunk of a step; words to the next step
  int rows_left_, columns_left_, slices_left_;
};

// Every lane's fragment in one piece: read as it lies, 16 bytes a lane, without ldmatrix.
template <class Tile, class T>
class Fragment24 {
  using S = Shape<Tile, T>;
  static constexpr int kBlockBytes = kOutOfMeta * kSliceBytes / 2;  // 32 rows of a slice
  static constexpr int kStrips = Tile::kOut / kOutOfMeta;           // whose slices lie side by side
  static constexpr int kStripChunks = S::kSlices * kBlockBytes / kChunkBytes;
  static constexpr int kStripsAtOnce = S::kThreads / kStripChunks;
  static constexpr int kElements = kBlockBytes / static_cast<int>(sizeof(T));  // of a block
  static constexpr int kMetaOfBlock = 32 * S::kMetaWords;
  static constexpr int kMetaChunks = S::kSlices * kMetaOfBlock * 4 / kChunkBytes;  // of a strip
  static_assert(Tile::kStepBytes == 128, "the padding is a whole number of steps");
  static_assert(S::kThreads % kStripChunks == 0 && kStrips % kStripsAtOnce == 0,
                "every thread copies as many chunks");
  static_assert(kStrips * kMetaChunks <= S::kThreads, "a thread copies one chunk of metadata");

 public:
  using Args = WeightArgs<T>;

  __device__ __forceinline__ Fragment24(const Args& args, std::int64_t out0, int first_step) {
    const std::int64_t slices = args.padded_in * static_cast<int>(sizeof(T)) / kSliceBytes;
    const std::int64_t slice = std::int64_t{first_step} * S::kSlices;
    const std::int64_t strip = out0 / kOutOfMeta + ptx::thread() / kStripChunks;
    values_ = args.values + (strip * slices + slice) * kElements +
              ptx::thread() % kStripChunks * S::kPerChunk;
    below_ = kStripsAtOnce * slices * kElements;
    strips_left_ = left(args.padded_out / kOutOfMeta, strip);

    const std::int64_t meta_strip = out0 / kOutOfMeta + ptx::thread() / kMetaChunks;
    meta_ =
        args.meta + (meta_strip * slices + slice) * kMetaOfBlock + ptx::thread() % kMetaChunks * 4;
    meta_inside_ = meta_strip * kOutOfMeta < args.padded_out;
  }

  __device__ __forceinline__ void fetch(ptx::Shared<std::uint8_t> stage) {
    const T* from = values_;
#pragma unroll
    for (int i = 0; i < kStrips / kStripsAtOnce; ++i) {
      copy_chunk(stage + (ptx::thread() + i * S::kThreads) * kChunkBytes, from,
                 strips_left_ > i * kStripsAtOnce);
      from += below_;
    }
    if (ptx::thread() < kStrips * kMetaChunks)
      copy_chunk(stage + (S::kMetaAt + ptx::thread() * kChunkBytes), meta_, meta_inside_);
    values_ += S::kSlices * kElements;
    meta_ += S::kSlices * kMetaOfBlock;
  }

  static __device__ __forceinline__ void load(Fragments<Tile, T>& to,
                                              ptx::Shared<std::uint8_t> stage, int warp_out,
                                              int slice) {
    using Fragment = ptx::Vec<std::uint32_t, 4>;
    const int block = warp_out / kOutOfMeta * S::kSlices + slice;
#pragma unroll
    for (int i = 0; i < S::kOutTiles; ++i) {
      const int half = (block + i / 2 * S::kSlices) * 2 + i % 2;
      const auto a = ptx::load(stage.template as<Fragment>() + (half * 32 + ptx::lane()));
#pragma unroll
      for (int r = 0; r < 4; ++r) to.a[i][r] = a[r];
    }
    using Words = ptx::Vec<std::uint32_t, S::kMetaWords>;
    const auto meta = (stage + S::kMetaAt).template as<Words>();
#pragma unroll
    for (int i = 0; i < S::kMetaTiles; i += S::kMetaWords) {
      const auto words =
          ptx::load(meta + ((block + i / S::kMetaWords * S::kSlices) * 32 + ptx::lane()));
#pragma unroll
      for (int h = 0; h < S::kMetaWords; ++h) to.e[i + h] = legal(words[h]);
    }
  }

 private:
  const T* values_;  // of this thread's first chunk of the next step
  const std::uint32_t* meta_;
  std::int64_t below_;  // elements to the next chunk of a step
  int strips_left_;
  bool meta_inside_;
};

}  // namespace secateur::tile
