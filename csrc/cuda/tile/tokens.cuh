// Loaders of x where it is a matrix: rows with a stride.
//
// A loader of x is a class template of Tile and T:
//   struct Args                what the kernel is given
//   X(args, row0, first_step)  for the rows row0.. and the steps from first_step on
//   fetch(tile)                fills [kRows] rows of kStepBytes, swizzled, with the next step, by
//                              cp.async or by stores. Zeros in rows and columns outside.
//   kAlignment                 bytes: every row begins at a multiple of them
#pragma once

#include "cuda/tile/copy.cuh"

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
  static constexpr int kRowsAtOnce = S::kThreads / kOfRow;
  static constexpr int kTimes = Tile::kRows / kRowsAtOnce;
  static_assert(Tile::kRows % kRowsAtOnce == 0, "every thread copies as many chunks");
};

// Rows that begin at multiples of 16 bytes and are whole chunks long. (A GPU copies a chunk or
// none: another number of bytes would be many instructions.)
template <class Tile, class T>
class Tokens {
  using S = Shape<Tile, T>;
  using Chunks = XChunks<Tile, T>;

 public:
  using Args = TokensArgs<T>;
  static constexpr int kAlignment = kChunkBytes;

  __device__ __forceinline__ Tokens(const Args& args, std::int64_t row0, int first_step) {
    const std::int64_t row = row0 + row_of_thread();
    const std::int64_t column = std::int64_t{first_step} * S::kIn + chunk() * S::kPerChunk;
    from_ = args.x + row * args.stride + column;
    below_ = Chunks::kRowsAtOnce * args.stride;
    rows_left_ = left(args.rows, row);
    columns_left_ = left(args.in, column);
  }

  __device__ __forceinline__ void fetch(ptx::Shared<std::uint8_t> tile) {
    const int rows_left = columns_left_ > 0 ? rows_left_ : 0;
    const T* from = from_;
#pragma unroll
    for (int i = 0; i < Chunks::kTimes; ++i) {
      const int below = i * Chunks::kRowsAtOnce;
      copy_chunk(tile + swizzle<Tile::kStepBytes>(row_of_thread() + below, chunk()), from,
                 rows_left > below);
      from += below_;
    }
    from_ += S::kIn;
    columns_left_ -= S::kIn;
  }

 private:
  static __device__ __forceinline__ int row_of_thread() { return ptx::thread() / Chunks::kOfRow; }
  static __device__ __forceinline__ int chunk() { return ptx::thread() % Chunks::kOfRow; }

  const T* from_;       // this thread's first chunk of the next step
  std::int64_t below_;  // elements to its next one
  int rows_left_, columns_left_;
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
