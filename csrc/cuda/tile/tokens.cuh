// Loaders of x where it is a matrix: rows with a stride.
//
// A loader of x is a class template of Tile and T:
//   struct Args                what the kernel is given
//   X(args, row0, first_step)  for the rows row0.. and the steps from first_step on
//   fetch(tile)                fills [kRows] rows of kStepBytes, swizzled, with the next step;
//   zeros
//                              in rows and columns outside. By cp.async, or by stores.
//   kAlignment                 bytes: every row begins at a multiple of them
#pragma once

#include "cuda/tile/shape.cuh"

namespace secateur::tile {

template <class T>
struct TokensArgs {
  const T* x;
  std::int64_t rows, in, stride;  // elements
};

// Who copies what: consecutive threads take consecutive chunks of a row.
template <class Tile, class T>
struct XChunks {
  using S = Shape<Tile, T>;
  static constexpr int kOfRow = Tile::kStepBytes / kChunkBytes;
  static constexpr int kRowsAtOnce =
      S::kThreads / kOfRow < Tile::kRows ? S::kThreads / kOfRow : Tile::kRows;
  static constexpr int kTimes = Tile::kRows / kRowsAtOnce;
  static_assert(Tile::kRows % kRowsAtOnce == 0, "every thread copies as many chunks");
  static constexpr bool kSomeRest = kRowsAtOnce * kOfRow < S::kThreads;  // threads without a chunk
};

// Rows that begin at multiples of 16 bytes; the columns may end anywhere.
template <class Tile, class T>
class Tokens {
  using S = Shape<Tile, T>;
  using Chunks = XChunks<Tile, T>;

 public:
  using Args = TokensArgs<T>;
  static constexpr int kAlignment = kChunkBytes;

  __device__ __forceinline__ Tokens(const Args& args, std::int64_t row0, int first_step)
      : args_(args),
        row_(row0 + ptx::thread() / Chunks::kOfRow),
        column_(std::int64_t{first_step} * S::kIn + ptx::thread() % Chunks::kOfRow * S::kPerChunk) {
  }

  __device__ __forceinline__ void fetch(ptx::Shared<std::uint8_t> tile) {
    const int row = ptx::thread() / Chunks::kOfRow, chunk = ptx::thread() % Chunks::kOfRow;
    const std::int64_t left = (args_.in - column_) * static_cast<int>(sizeof(T));
    const int bytes = left >= kChunkBytes ? kChunkBytes : left > 0 ? static_cast<int>(left) : 0;
    const std::int64_t first = row_ * args_.stride + column_;
#pragma unroll
    for (int i = 0; i < Chunks::kTimes; ++i) {
      if (Chunks::kSomeRest && row >= Chunks::kRowsAtOnce) break;
      const int below = i * Chunks::kRowsAtOnce;
      const bool inside = row_ + below < args_.rows && bytes != 0;
      ptx::cp_async<kChunkBytes>(tile + swizzle<Tile::kStepBytes>(row + below, chunk),
                                 inside ? args_.x + first + below * args_.stride : args_.x,
                                 inside ? bytes : 0);
    }
    column_ += S::kIn;
  }

 private:
  const Args& args_;
  std::int64_t row_, column_;  // of this thread's first chunk
};

// Rows that begin anywhere: element by element, through registers.
template <class Tile, class T>
class TokensAnywhere {
  using S = Shape<Tile, T>;
  using Chunks = XChunks<Tile, T>;

 public:
  using Args = TokensArgs<T>;
  static constexpr int kAlignment = static_cast<int>(sizeof(T));

  __device__ __forceinline__ TokensAnywhere(const Args& args, std::int64_t row0, int first_step)
      : args_(args), row0_(row0), column0_(std::int64_t{first_step} * S::kIn) {}

  __device__ __forceinline__ void fetch(ptx::Shared<std::uint8_t> tile) {
#pragma unroll 1
    for (int at = ptx::thread(); at < Tile::kRows * Chunks::kOfRow; at += S::kThreads) {
      const int row = at / Chunks::kOfRow, chunk = at % Chunks::kOfRow;
      const std::int64_t column = column0_ + chunk * S::kPerChunk;
      ptx::Vec<T, S::kPerChunk> elements = {};
#pragma unroll
      for (int i = 0; i < S::kPerChunk; ++i)
        if (row0_ + row < args_.rows && column + i < args_.in)
          elements[i] = ptx::load_nc(args_.x + (row0_ + row) * args_.stride + column + i);
      ptx::store((tile + swizzle<Tile::kStepBytes>(row, chunk)).template as<decltype(elements)>(),
                 elements);
    }
    column0_ += S::kIn;
  }

 private:
  const Args& args_;
  std::int64_t row0_, column0_;
};

}  // namespace secateur::tile
