// The host's half of a tiled 2:4 product, and its line in the table. A kernel's file names, in an
// anonymous namespace, what it is made of, and then includes this:
//   struct Tile                     csrc/cuda/tile/shape.cuh
//   template <class T> using Weight, X     loaders, csrc/cuda/tile/{weight,tokens}.cuh
//   kLayout                         of the weight
//   kInt8                           x and the values are int8; else f16 or bf16
#pragma once

#include <algorithm>

#include "cuda/kernel.h"
#include "cuda/nm_linear/nm_linear.h"
#include "cuda/tile/product.cuh"

namespace {

using secateur::Act;
using secateur::Type;
using secateur::cuda::NmLinearArgs;

template <class T>
using Shape = secateur::tile::Shape<Tile, T>;
template <class T>
using Args = secateur::tile::ProductArgs<Weight<T>, X<T>, typename Shape<T>::Y>;

using First = std::conditional_t<kInt8, secateur::ptx::s8, secateur::ptx::f16>;
constexpr int kBytes = sizeof(First), kIn = Shape<First>::kIn;  // the same for f16 and bf16

template <class T>
__global__ void __launch_bounds__(Shape<T>::kThreads, Tile::kBlocks) product(Args<T> args) {
  secateur::tile::product_block<Tile, T, Weight<T>, X<T>>(args);
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t out_tiles(const NmLinearArgs& args) { return ceil_div(args.out_features, Tile::kOut); }
std::int64_t row_tiles(const NmLinearArgs& args) { return ceil_div(args.rows, Tile::kRows); }
std::int64_t steps(const NmLinearArgs& args) { return ceil_div(args.padded_in, kIn); }

// Chosen by sizes alone: the order of a sum is the same on every GPU.
constexpr std::int64_t kBlocksWanted = 128, kStepsOfPart = 4, kMostParts = 16;
std::int64_t parts(const NmLinearArgs& args) {
  if (args.split > 0) return args.split;
  const std::int64_t tiles = out_tiles(args) * row_tiles(args);
  if (!Tile::kSplits || tiles == 0) return 1;
  std::int64_t most = std::min(kBlocksWanted / tiles, steps(args) / kStepsOfPart);
  return std::clamp<std::int64_t>(most, 1, kMostParts);
}

bool aligned(const void* pointer, int bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % static_cast<unsigned>(bytes) == 0;
}

const char* refuses_weight(const NmLinearArgs& args) {
  if (args.padded_out % 32 != 0 || args.padded_out < args.out_features)
    return "padded_out: wanted out_features rounded up to a multiple of 32";
  if (args.padded_in % (128 / kBytes) != 0 || args.padded_in < args.in_features)
    return kInt8 ? "padded_in: wanted in_features rounded up to a multiple of 128"
                 : "padded_in: wanted in_features rounded up to a multiple of 64";
  if (args.padded_in > std::int64_t{1} << 30) return "padded_in: wanted at most 2^30";
  if (!aligned(args.values, 16)) return "values: wanted aligned to 16 bytes";
  if (!aligned(args.meta, 16)) return "meta: wanted aligned to 16 bytes";
  return nullptr;
}

const char* refuses_x(const NmLinearArgs& args) {
  constexpr int kAlignment = X<First>::kAlignment;
  if (!aligned(args.x, kAlignment))
    return kAlignment == 16 ? "x: wanted aligned to 16 bytes" : "x: wanted aligned to its elements";
  if (args.rows > 1 && args.x_stride * kBytes % kAlignment != 0)
    return "x_stride: wanted a multiple of 16 bytes; a kernel named *_anywhere takes any";
  if (args.in_features * kBytes % kAlignment != 0)
    return "in_features: wanted a multiple of 16 bytes; a kernel named *_anywhere takes any";
  return nullptr;
}

const char* refuses(const NmLinearArgs& args) {
  const auto type = static_cast<Type>(args.type);
  if (kInt8 && type != Type::i8) return "type: wanted i8";
  if (!kInt8 && type != Type::f16 && type != Type::bf16) return "type: wanted f16 or bf16";
  if (args.act < 0 || args.act > static_cast<int>(Act::relu6)) return "act: wanted one of Act";
  if (args.rows < 0 || args.in_features < 0 || args.out_features < 0)
    return "rows, in_features, out_features: wanted none below 0";
  if (const char* why = refuses_weight(args)) return why;
  if (const char* why = refuses_x(args)) return why;
  if (out_tiles(args) * row_tiles(args) > secateur::tile::kMostTiles)
    return "rows, out_features: wanted at most 2^28 tiles of y";
  if (args.split < 0 || args.split > 65535) return "split: wanted 0 to 65535";
  if (args.split > 1 && !Tile::kSplits) return "split: wanted 0 or 1, this kernel sums in one part";
  if (args.split > 1 && out_tiles(args) * row_tiles(args) > secateur::tile::kMostCounters)
    return "split: wanted 0 or 1 where y has more than 4096 tiles";
  return nullptr;
}

std::int64_t workspace_bytes(const NmLinearArgs& args) {
  const std::int64_t of_y = parts(args) * out_tiles(args) * row_tiles(args);
  if (parts(args) <= 1) return 0;
  return secateur::tile::kMostCounters * 4 + of_y * secateur::tile::part_bytes<Tile, First>();
}

template <class T>
int start(const NmLinearArgs& args, void* stream) {
  using Y = typename Shape<T>::Y;
  const auto tiles = static_cast<unsigned>(out_tiles(args) * row_tiles(args));
  if (tiles == 0) return 0;
  const bool wide = aligned(args.y, 16) && aligned(args.residual, 16) &&
                    args.y_stride * static_cast<int>(sizeof(Y)) % 16 == 0;
  const Args<T> all = {
      {static_cast<const T*>(args.values), static_cast<const std::uint32_t*>(args.meta),
       args.padded_out, args.padded_in},
      {static_cast<const T*>(args.x), args.rows, args.in_features, args.x_stride},
      {static_cast<Y*>(args.y), static_cast<const Y*>(args.residual), args.bias, args.scale,
       args.x_scale, args.rows, args.out_features, args.y_stride, static_cast<Act>(args.act), wide},
      static_cast<unsigned>(out_tiles(args)),
      static_cast<unsigned>(row_tiles(args)),
      static_cast<int>(steps(args)),
      static_cast<int>(parts(args)),
      args.workspace};
  return secateur::ptx::launch(product<T>, {tiles, static_cast<unsigned>(all.parts), 1},
                               {Shape<T>::kThreads, 1, 1}, Shape<T>::kSharedBytes, stream, all);
}

template <bool kIsInt8>
int start_any(const NmLinearArgs& args, void* stream) {
  if constexpr (kIsInt8)
    return start<secateur::ptx::s8>(args, stream);
  else
    return static_cast<Type>(args.type) == Type::f16 ? start<secateur::ptx::f16>(args, stream)
                                                     : start<secateur::ptx::bf16>(args, stream);
}

int run(const NmLinearArgs& args, void* stream) { return start_any<kInt8>(args, stream); }

constexpr secateur::cuda::Config kConfig = {Shape<First>::kThreads,
                                            Shape<First>::kSharedBytes,
                                            Tile::kStages,
                                            Tile::kOut,
                                            Tile::kRows,
                                            kIn};

}  // namespace

SECATEUR_CUDA_KERNEL(NmLinearArgs, 80, kInt8 ? "i8" : "f16,bf16", kLayout, kConfig, refuses,
                     workspace_bytes, run);
