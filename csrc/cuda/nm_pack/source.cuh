// What both pack kernels are given, checked and turned into typed pointers; and their tiles.
#pragma once

#include "cuda/kernel.h"
#include "cuda/nm_pack/group.cuh"

namespace secateur::cuda {

struct PackTile {
  static constexpr int kRows = 32, kRowBytes = 64;  // of the dense weight, a warp's tile
  static constexpr int kWarps = 4, kThreads = 32 * kWarps;
};
template <class T>
constexpr int kColumnsOfTile = PackTile::kRowBytes / static_cast<int>(sizeof(T));

template <class T>
struct Source {
  const typename Bits<T>::Word* weight;
  const std::uint8_t* mask;
  std::uint8_t* values;
  std::uint32_t* meta;
  std::uint32_t* faults;
  std::int64_t out, in, padded_out, weight_stride, mask_stride;
  unsigned tiles_in, tiles;  // tiles of a row, and of all
  bool weight_aligned, mask_aligned;
};

// Where a warp's tile begins, and its number in the layout of tiles; `tile` of none is tiles.
struct Place {
  unsigned tile;
  std::int64_t row, column;
};

template <template <class> class Side, class T>
__device__ __forceinline__ Place place_of(const Side<T>& side) {
  const unsigned tile =
      ptx::block_index().x * PackTile::kWarps + static_cast<unsigned>(ptx::warp());
  return {tile, std::int64_t{tile / side.tiles_in} * PackTile::kRows,
          std::int64_t{tile % side.tiles_in} * kColumnsOfTile<T>};
}

// kBytes of a row of the weight, and as many bytes of the mask as those have elements.
template <int kBytes, class Rule>
struct Piece {
  using T = typename Rule::Element;
  static constexpr int kCount = kBytes / static_cast<int>(sizeof(T)), kGroups = kCount / 4;
  Vec<std::uint32_t, kBytes / 4> weight;
  Vec<std::uint32_t, kGroups> mask;

  __device__ __forceinline__ void read_from(const Source<T>& source, std::int64_t row,
                                            std::int64_t column) {
    const std::int64_t columns = row < source.out ? source.in : 0;
    weight = read<kBytes>(source.weight + row * source.weight_stride, column, columns,
                          source.weight_aligned);
    if constexpr (Rule::kReadsMask)
      mask = read<kCount>(source.mask + row * source.mask_stride, column, columns,
                          source.mask_aligned);
  }

  __device__ __forceinline__ Group<T> packed(int group, std::uint32_t& faults) const {
    Quad<T> quad;
    if constexpr (sizeof(T) == 1)
      quad = weight[group];
    else
      quad = weight[2 * group] | std::uint64_t{weight[2 * group + 1]} << 32;
    const std::uint32_t bytes = Rule::kReadsMask ? mask[group] : 0U;
    return pack<T>(quad, Rule::kept(quad, bytes, faults), faults);
  }
};

inline bool fits(const void* pointer, std::int64_t stride_bytes, int bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % static_cast<unsigned>(bytes) == 0 &&
         stride_bytes % bytes == 0;
}

template <class T>
std::int64_t tiles_of(const NmPackArgs& args) {
  return args.padded_out / PackTile::kRows * (args.padded_in / kColumnsOfTile<T>);
}

inline const char* pack_refuses(const NmPackArgs& args) {
  const auto type = static_cast<Type>(args.type);
  if (type != Type::f16 && type != Type::bf16 && type != Type::i8)
    return "type: wanted f16, bf16 or i8";
  if (args.padded_out % PackTile::kRows != 0) return "padded_out: wanted a multiple of 32";
  if (args.padded_in % 64 != 0) return "padded_in: wanted a multiple of 64";
  if (args.padded_out < args.out_features || args.padded_in < args.in_features)
    return "padded_out, padded_in: wanted at least the sides of the weight";
  if (args.mask != nullptr && args.prune != 0) return "mask: wanted null where prune is 1";
  if (!fits(args.weight, 0, static_cast<int>(bytes_of(type))))
    return "weight: wanted aligned to its elements";
  if (!fits(args.values, 0, 16) || !fits(args.meta, 0, 4))
    return "values, meta: wanted aligned to 16 and 4 bytes";
  if (tiles_of<ptx::f16>(args) >= std::int64_t{1} << 31)
    return "weight: wanted fewer than 2^31 tiles of 32 x 32";
  return nullptr;
}

// `kPiece`: bytes that a lane reads at a time.
template <class T, int kPiece>
Source<T> source_of(const NmPackArgs& args) {
  using Word = typename Bits<T>::Word;
  constexpr int kSize = static_cast<int>(sizeof(T));
  return {static_cast<const Word*>(args.weight),
          args.mask,
          static_cast<std::uint8_t*>(args.values),
          static_cast<std::uint32_t*>(args.meta),
          args.faults,
          args.out_features,
          args.in_features,
          args.padded_out,
          args.weight_stride,
          args.mask_stride,
          static_cast<unsigned>(args.padded_in / kColumnsOfTile<T>),
          static_cast<unsigned>(tiles_of<T>(args)),
          fits(args.weight, args.weight_stride * kSize, kPiece),
          fits(args.mask, args.mask_stride, kPiece / kSize)};
}

// kernel(source) for every tile, by the rule that the arguments ask for.
template <class T>
int launch_pack(const Source<T>& source, const NmPackArgs& args, void* stream,
                void (*by_mask)(Source<T>), void (*by_nonzero)(Source<T>),
                void (*by_size)(Source<T>)) {
  if (source.tiles == 0) return 0;
  const ptx::Dim3 grid = {(source.tiles + PackTile::kWarps - 1) / PackTile::kWarps, 1, 1};
  const auto kernel = args.mask != nullptr ? by_mask : args.prune != 0 ? by_size : by_nonzero;
  return ptx::launch(kernel, grid, {PackTile::kThreads, 1, 1}, 0, stream, source);
}

}  // namespace secateur::cuda
