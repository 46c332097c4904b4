// x of nm_linear_decode in shared memory, in the order in which lanes need it for mma.sp.
//
// 64 bytes of a row, 16 words w = 4 r + t, meet one tile of the weight; lane 4 g + t needs the
// words t, 4 + t, 8 + t, 12 + t of row g: registers r of its fragment. So word (r, t) goes to 4 t +
// r, and a fragment is one load of 16 bytes. The order is [tile][row][t][r], without rows that x
// has not.
#pragma once

#include "cuda/nm_linear/decode_plan.h"
#include "cuda/ptx.cuh"

namespace secateur::decode {

using Words = ptx::Vec<std::uint32_t, 4>;
constexpr int kWordBytes = 4, kChunkBytes = 16, kChunks = cuda::kTileBytes / kChunkBytes;

template <class T>
struct X {
  const T* x;
  std::int64_t stride;  // elements
  int in, rows;
  bool aligned;  // every row begins at a multiple of 16 bytes
};

// 16 bytes of a row, zeros behind its end. Rows that are not aligned, and the last bytes of one,
// are read element by element: nothing outside of x is touched.
template <class T>
__device__ __forceinline__ Words chunk_of(const X<T>& x, int row, int chunk) {
  using Bits = std::conditional_t<sizeof(T) == 1, std::uint8_t, std::uint16_t>;
  constexpr int kElements = kChunkBytes / static_cast<int>(sizeof(T));
  constexpr int kBits = 8 * static_cast<int>(sizeof(T)), kOfWord = kElements / 4;
  const int column = chunk * kElements;
  const T* from = x.x + row * x.stride + column;
  if (x.aligned && column + kElements <= x.in)
    return ptx::load_nc(reinterpret_cast<const Words*>(from));
  Words words = {};
#pragma unroll
  for (int i = 0; i < kElements; ++i)
    if (column + i < x.in) {
      const std::uint32_t bits = ptx::load_nc(reinterpret_cast<const Bits*>(from) + i);
      words[i / kOfWord] |= bits << (kBits * (i % kOfWord));
    }
  return words;
}

// Words turned round to begin with number `turn`, 0 to 3.
__device__ __forceinline__ Words turned(Words w, int turn) {
  if ((turn & 1) != 0) w = {w[1], w[2], w[3], w[0]};
  if ((turn & 2) != 0) w = {w[2], w[3], w[0], w[1]};
  return w;
}

// Tiles first .. first + count - 1 of all rows, by all threads of the block.
template <class T>
__device__ __forceinline__ void stage(const X<T>& x, int first, int count,
                                      ptx::Shared<std::uint32_t> to) {
  constexpr int kThreads = 32 * cuda::kDecodeWarps;
  for (int at = ptx::thread(); at < count * x.rows * kChunks; at += kThreads) {
    const int unit = at / kChunks, r = at % kChunks;  // a unit: a row of a tile
    const int tile = unit / x.rows, row = unit - tile * x.rows;
    // A warp stores to eight units, 16 banks each. Every other pair of them begins with another
    // word, so that the 32 lanes meet 32 banks.
    const int turn = unit / 2 % kChunks;
    const Words words = turned(chunk_of(x, row, (first + tile) * kChunks + r), turn);
    const ptx::Shared<std::uint32_t> here = to + (unit * (cuda::kTileBytes / kWordBytes) + r);
#pragma unroll
    for (int i = 0; i < kChunks; ++i) ptx::store(here + (i + turn) % kChunks * 4, words[i]);
  }
}

}  // namespace secateur::decode
