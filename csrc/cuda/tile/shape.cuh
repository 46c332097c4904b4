// The sizes of a tiled product on sparse tensor cores, all from the few that a kernel's file names.
// All is counted in bytes: 64 bytes of a row of x meet 32 of the weight in one mma.sp, of any type.
#pragma once

#include "cuda/ptx.cuh"

namespace secateur::tile {

constexpr int kChunkBytes = 16;  // of one cp.async, one row of ldmatrix, one store of y
constexpr int kSliceBytes = 64;  // of a row of x, that one mma.sp takes: 32 columns, of s8 64
constexpr int kOutOfMma = 16, kRowsOfMma = 8;
constexpr int kOutOfMeta = 32;  // rows of the weight that every layout comes in

// What a kernel's file names: a struct Tile with the constants
//   kOut, kRows          of a block: features of y, and rows of x and y
//   kStepBytes           of a row of x, that a stage holds: 128 or 256
//   kWarpOut, kWarpRows  of a warp
//   kStages              of the pipeline
//   kBlocks              of a multiprocessor, that registers are kept for
//   kSplits              whether columns may be summed in parts (split.cuh)
template <class Tile, class T>
struct Shape {
  using Sum = std::conditional_t<std::is_same_v<T, ptx::s8>, std::int32_t, float>;
  using Y = std::conditional_t<std::is_same_v<T, ptx::s8>, float, T>;

  static constexpr int kOutWarps = Tile::kOut / Tile::kWarpOut;
  static constexpr int kThreads = 32 * kOutWarps * (Tile::kRows / Tile::kWarpRows);
  static constexpr int kSlices = Tile::kStepBytes / kSliceBytes;
  static constexpr int kIn = Tile::kStepBytes / static_cast<int>(sizeof(T));
  static constexpr int kOutTiles = Tile::kWarpOut / kOutOfMma;
  static constexpr int kRowTiles = Tile::kWarpRows / kRowsOfMma;
  static constexpr int kPerChunk = kChunkBytes / static_cast<int>(sizeof(T));

  // Metadata of a slice, words of 32 bits for each row of the weight: halves share one of s8.
  static constexpr int kMetaWords = std::is_same_v<T, ptx::s8> ? 2 : 1;
  static constexpr int kMetaTiles = kOutTiles * kMetaWords / 2;  // words a lane, of a slice

  // A stage: the weight, then x, then the metadata.
  static constexpr int kWeightRowBytes = Tile::kStepBytes / 2;
  static constexpr int kXAt = Tile::kOut * kWeightRowBytes;
  static constexpr int kMetaAt = kXAt + Tile::kRows * Tile::kStepBytes;
  static constexpr int kMetaSliceBytes = Tile::kOut * kMetaWords * 4;
  static constexpr int kStageBytes = kMetaAt + kSlices * kMetaSliceBytes;

  // Sums on their way to y, [row][feature]. The four spare words put the rows 2 t of a fragment
  // (t < 4) eight banks apart, so that a warp's 32 lanes store to 32 banks.
  static constexpr int kSumRowWords = Tile::kOut + 4;
  static constexpr int kSumBytes = Tile::kRows * kSumRowWords * 4;

  static constexpr int kPipelineBytes = Tile::kStages * kStageBytes;
  static constexpr int kSharedBytes = kPipelineBytes > kSumBytes ? kPipelineBytes : kSumBytes;

  static_assert(Tile::kWarpOut % kOutOfMeta == 0, "two tiles of 16 share a word of metadata");
  static_assert(Tile::kWarpRows % kRowsOfMma == 0);
  static_assert(Tile::kOut % Tile::kWarpOut == 0 && Tile::kRows % Tile::kWarpRows == 0);
  static_assert(Tile::kStepBytes == 128 || Tile::kStepBytes == 256, "what swizzle() knows");
  static_assert(Tile::kStages >= 2, "a stage is fetched while another is read");
  static_assert(kStageBytes % 128 == 0, "swizzling counts banks from multiples of 128 bytes");
  static_assert(kThreads >= 64 && kThreads <= 256);
  static_assert(kSharedBytes <= 99 * 1024, "a block fits every architecture from sm_80 on");
};

// Where a chunk of a row lies in a tile of rows of kRowBytes. Chunks are permuted by the row's
// number, so that eight rows of one chunk, which ldmatrix reads at a time, lie in all banks.
template <int kRowBytes>
__device__ __forceinline__ int swizzle(int row, int chunk) {
  static_assert(kRowBytes == 64 || kRowBytes % 128 == 0);
  const int by = kRowBytes == 64 ? row >> 1 & 3 : row & 7;
  return row * kRowBytes + (chunk ^ by) * kChunkBytes;
}

}  // namespace secateur::tile
