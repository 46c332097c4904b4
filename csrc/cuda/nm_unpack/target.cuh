// What both unpack kernels are given, checked and turned into typed pointers; and the way from two
// kept weights and a nibble to four.
#pragma once

#include "cuda/kernel.h"
#include "cuda/nm_pack/source.cuh"
#include "cuda/nm_unpack/nm_unpack.h"

namespace secateur::cuda {

template <class T>
struct Target {
  const std::uint8_t* values;
  const std::uint32_t* meta;
  typename Bits<T>::Word* weight;
  std::uint32_t* faults;
  std::int64_t out, in, padded_out, weight_stride;
  unsigned tiles_in, tiles;
  bool aligned;
};

template <class T>
__device__ __forceinline__ Quad<T> unpack(const Group<T>& group, std::uint32_t& faults) {
  const std::uint32_t first = group.nibble & 3U, second = group.nibble >> 2 & 3U;
  if (first >= second) faults |= kFaultMetadata;
  const Quad<T> low = group.pair & Bits<T>::kAll, high = group.pair >> Bits<T>::kBits;
  return low << (first * Bits<T>::kBits) | high << (second * Bits<T>::kBits);
}

// Writes kBytes of a row from `column` on, or as many as the weight has there.
template <class T, int kBytes>
__device__ __forceinline__ void write(const Target<T>& target, std::int64_t row,
                                      std::int64_t column,
                                      const Vec<Quad<T>, kBytes / sizeof(Quad<T>)>& quads) {
  constexpr int kCount = kBytes / static_cast<int>(sizeof(T));
  if (row >= target.out) return;
  auto* to = target.weight + row * target.weight_stride + column;
  if (target.aligned && column + kCount <= target.in)
    return ptx::store(reinterpret_cast<Vec<Quad<T>, kBytes / sizeof(Quad<T>)>*>(to), quads);
#pragma unroll
  for (int i = 0; i < kCount; ++i)
    if (column + i < target.in)
      ptx::store(to + i, static_cast<typename Bits<T>::Word>(element<T>(quads[i / 4], i % 4)));
}

inline const char* unpack_refuses(const NmUnpackArgs& args) {
  const NmPackArgs sides = {args.weight,
                            nullptr,
                            const_cast<void*>(args.values),
                            const_cast<void*>(args.meta),
                            args.faults,
                            args.out_features,
                            args.in_features,
                            args.padded_out,
                            args.padded_in,
                            args.weight_stride,
                            0,
                            args.type,
                            0};
  return pack_refuses(sides);
}

// `kPiece`: bytes that a lane writes at a time.
template <class T, int kPiece>
int launch_unpack(const NmUnpackArgs& args, void* stream, void (*kernel)(Target<T>)) {
  const auto tiles_in = static_cast<unsigned>(args.padded_in / kColumnsOfTile<T>);
  const Target<T> target = {
      static_cast<const std::uint8_t*>(args.values),
      static_cast<const std::uint32_t*>(args.meta),
      static_cast<typename Bits<T>::Word*>(args.weight),
      args.faults,
      args.out_features,
      args.in_features,
      args.padded_out,
      args.weight_stride,
      tiles_in,
      static_cast<unsigned>(args.padded_out / PackTile::kRows) * tiles_in,
      fits(args.weight, args.weight_stride * static_cast<int>(sizeof(T)), kPiece)};
  if (target.tiles == 0) return 0;
  const ptx::Dim3 grid = {(target.tiles + PackTile::kWarps - 1) / PackTile::kWarps, 1, 1};
  return ptx::launch(kernel, grid, {PackTile::kThreads, 1, 1}, 0, stream, target);
}

}  // namespace secateur::cuda
