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

#include "cuda/tile/shape.cuh"

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

// cp.async of a chunk, or zeros.
template <class T>
__device__ __forceinline__ void copy_chunk(ptx::Shared<std::uint8_t> to, const T* base,
                                           std::int64_t at, bool inside) {
  ptx::cp_async<kChunkBytes>(to, inside ? base + at : base, inside ? kChunkBytes : 0);
}

// torch's and CUTLASS's order: rows of values, swizzled here, and metadata slice by slice.
template <class Tile, class T>
class Torch24 {
  using S = Shape<Tile, T>;
  static constexpr int kRowChunks = S::kWeightRowBytes / kChunkBytes;
  static constexpr int kRowsAtOnce = S::kThreads / kRowChunks;
  static constexpr int kMetaChunks = S::kMetaSliceBytes / kChunkBytes;  // of a slice
  static_assert(Tile::kOut % kRowsAtOnce == 0, "every thread copies as many chunks");

 public:
  using Args = WeightArgs<T>;

  __device__ __forceinline__ Torch24(const Args& args, std::int64_t out0, int first_step)
      : args_(args), out0_(out0), step_(first_step) {}

  __device__ __forceinline__ void fetch(ptx::Shared<std::uint8_t> stage) {
    const int row = ptx::thread() / kRowChunks, chunk = ptx::thread() % kRowChunks;
    const std::int64_t kept = args_.padded_in / 2;
    const std::int64_t column =
        std::int64_t{step_} * (S::kIn / 2) + chunk * S::kPerChunk;  // of the kept ones
    const std::int64_t first = (out0_ + row) * kept + column;
#pragma unroll
    for (int i = 0; i < Tile::kOut / kRowsAtOnce; ++i) {
      const int of = row + i * kRowsAtOnce;
      copy_chunk(stage + swizzle<S::kWeightRowBytes>(of, chunk), args_.values,
                 first + i * kRowsAtOnce * kept, column < kept && out0_ + of < args_.padded_out);
    }
    fetch_meta(stage + S::kMetaAt);
    ++step_;
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
  __device__ __forceinline__ void fetch_meta(ptx::Shared<std::uint8_t> to) {
    const std::int64_t slice_words = args_.padded_out * S::kMetaWords;
    const std::int64_t first_word = out0_ * S::kMetaWords;
    const std::int64_t slices = args_.padded_in * static_cast<int>(sizeof(T)) / kSliceBytes;
#pragma unroll
    for (int at = ptx::thread(); at < S::kSlices * kMetaChunks; at += S::kThreads) {
      const std::int64_t slice = std::int64_t{step_} * S::kSlices + at / kMetaChunks;
      const std::int64_t word = first_word + at % kMetaChunks * 4;
      copy_chunk(to + at * kChunkBytes, args_.meta, slice * slice_words + word,
                 slice < slices && word < slice_words);
    }
  }

  const Args& args_;
  std::int64_t out0_;
  int step_;
};

// Every lane's fragment in one piece: read as it lies, 16 bytes a lane, without ldmatrix.
template <class Tile, class T>
class Fragment24 {
  using S = Shape<Tile, T>;
  static_assert(sizeof(T) == 2, "the layout is one of 16-bit values");
  static constexpr int kBlockBytes = kOutOfMeta * kSliceBytes / 2;  // 32 rows of a slice
  static constexpr int kStrips = Tile::kOut / kOutOfMeta;           // whose slices are contiguous
  static constexpr int kStripChunks = S::kSlices * kBlockBytes / kChunkBytes;
  static constexpr int kMetaChunks = kOutOfMeta * 4 / kChunkBytes;  // of a slice of a strip

 public:
  using Args = WeightArgs<T>;

  __device__ __forceinline__ Fragment24(const Args& args, std::int64_t out0, int first_step)
      : args_(args),
        strip0_(out0 / kOutOfMeta),
        slices_(args.padded_in * 2 / kSliceBytes),
        slice_(std::int64_t{first_step} * S::kSlices) {}

  __device__ __forceinline__ void fetch(ptx::Shared<std::uint8_t> stage) {
    copy<kStripChunks, kBlockBytes / kChunkBytes>(stage, args_.values);
    copy<S::kSlices * kMetaChunks, kMetaChunks>(stage + S::kMetaAt, args_.meta);
    slice_ += S::kSlices;
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
    const auto meta = (stage + S::kMetaAt).template as<std::uint32_t>();
#pragma unroll
    for (int i = 0; i < S::kMetaTiles; ++i)
      to.e[i] = legal(ptx::load(meta + ((block + i * S::kSlices) * 32 + ptx::lane())));
  }

 private:
  // kChunks of a strip's step, kSliceChunks of each slice; a strip has its slices side by side.
  template <int kChunks, int kSliceChunks, class V>
  __device__ __forceinline__ void copy(ptx::Shared<std::uint8_t> to, const V* from) {
    constexpr int kWide = kChunkBytes / static_cast<int>(sizeof(V));
#pragma unroll
    for (int at = ptx::thread(); at < kStrips * kChunks; at += S::kThreads) {
      const std::int64_t strip = strip0_ + at / kChunks;
      const int chunk = at % kChunks;
      copy_chunk(to + at * kChunkBytes, from,
                 ((strip * slices_ + slice_) * kSliceChunks + chunk) * kWide,
                 strip * kOutOfMeta < args_.padded_out && slice_ + chunk / kSliceChunks < slices_);
    }
  }

  const Args& args_;
  std::int64_t strip0_, slices_, slice_;
};

}  // namespace secateur::tile
