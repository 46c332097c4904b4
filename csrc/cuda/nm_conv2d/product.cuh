// The host's half of a 2:4 convolution, and its line in the table. A kernel's file names, in an
// anonymous namespace, what it is made of, and then includes this:
//   struct Tile                  csrc/cuda/tile/shape.cuh
//   template <class T> using Stored    the weight's loader, csrc/cuda/tile/weight.cuh
//   kLayout                      of the weight
#pragma once

#include <algorithm>

#include "cuda/kernel.h"
#include "cuda/nm_conv2d/groups.cuh"
#include "cuda/nm_conv2d/nm_conv2d.h"

namespace {

using secateur::Act;
using secateur::Type;
using secateur::cuda::NmConv2dArgs;
using secateur::ptx::f16;

template <class T>
using Shape = secateur::tile::Shape<Tile, T>;
template <class T>
using Weight = secateur::tile::OfGroup<Stored<T>>;

// Whether a step of the sum lies in one tap of the kernel.
template <class T>
struct Blocks {
  using Element = T;
  using X = secateur::tile::Pixels<Tile, T, true>;
};
template <class T>
struct Chunks {
  using Element = T;
  using X = secateur::tile::Pixels<Tile, T, false>;
};

template <class Steps>
using Args = secateur::tile::ProductArgs<Weight<typename Steps::Element>, typename Steps::X,
                                         typename Steps::Element>;

constexpr int kIn = Shape<f16>::kIn, kThreads = Shape<f16>::kThreads;

template <class Steps>
__global__ void __launch_bounds__(kThreads, Tile::kBlocks) convolution(Args<Steps> args) {
  using T = typename Steps::Element;
  const Args<Steps> mine = secateur::tile::group(args, args.x.channels);
  secateur::tile::product_block<Tile, T, Weight<T>, typename Steps::X>(mine);
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t rows(const NmConv2dArgs& args) {
  return args.batch * args.out_height * args.out_width;
}
std::int64_t out_tiles(const NmConv2dArgs& args) {
  return ceil_div(args.out_channels / args.groups, Tile::kOut);
}
std::int64_t row_tiles(const NmConv2dArgs& args) { return ceil_div(rows(args), Tile::kRows); }
std::int64_t steps(const NmConv2dArgs& args) { return ceil_div(args.padded_in, kIn); }

// Chosen by sizes alone: the order of a sum is the same on every GPU.
constexpr std::int64_t kBlocksWanted = 128, kStepsOfPart = 8, kMostParts = 8;
std::int64_t parts(const NmConv2dArgs& args) {
  if (args.split > 0) return args.split;
  const std::int64_t tiles = out_tiles(args) * row_tiles(args);
  if (!Tile::kSplits || tiles == 0 || args.groups > 1) return 1;
  const std::int64_t most = std::min(kBlocksWanted / tiles, steps(args) / kStepsOfPart);
  return std::clamp<std::int64_t>(most, 1, kMostParts);
}

bool aligned(const void* pointer, int bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % static_cast<unsigned>(bytes) == 0;
}

const char* refuses_sizes(const NmConv2dArgs& args) {
  const std::int64_t none_below_0[] = {args.batch,      args.height,      args.width,
                                       args.out_height, args.out_width,   args.pad_top,
                                       args.pad_left,   args.out_channels};
  for (const std::int64_t size : none_below_0)
    if (size < 0) return "sizes, out_height, out_width, pad_top, pad_left: wanted none below 0";
  const std::int64_t positive[] = {args.groups,         args.kernel_height,  args.kernel_width,
                                   args.stride_height,  args.stride_width,   args.in_channels,
                                   args.dilation_width, args.dilation_height};
  for (const std::int64_t size : positive)
    if (size < 1) return "groups, in_channels, kernel, stride, dilation: wanted 1 or more";
  if (args.kernel_height > secateur::tile::kMostTaps ||
      args.kernel_width > secateur::tile::kMostTaps)
    return "kernel_height, kernel_width: wanted at most 15";
  if (args.in_channels % args.groups != 0 || args.out_channels % args.groups != 0)
    return "groups: wanted a divisor of in_channels and of out_channels";
  if (args.in_channels / args.groups % 8 != 0)
    return "in_channels: wanted a multiple of 8 in each group, the 16 bytes that are copied";
  return nullptr;
}

// Pixels, and places around an image, are counted in 32 bits.
const char* refuses_large(const NmConv2dArgs& args) {
  constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 1;
  const std::int64_t tall = args.height + args.pad_top + args.out_height * args.stride_height +
                            args.kernel_height * args.dilation_height;
  const std::int64_t wide = args.width + args.pad_left + args.out_width * args.stride_width +
                            args.kernel_width * args.dilation_width;
  if (tall > 1 << 20 || wide > 1 << 20)
    return "height, width, padding, dilation: wanted at most 2^20 together";
  if (args.batch > kMost || rows(args) > kMost - Tile::kRows ||
      (args.batch + 1) * tall > kMost / wide)
    return "batch: wanted fewer than 2^31 pixels, padding included";
  if (args.x_stride > kMost || args.padded_in > kMost) return "x_stride, padded_in: too large";
  if (args.groups > 65535) return "groups: wanted at most 65535";
  if (out_tiles(args) * row_tiles(args) > secateur::tile::kMostTiles)
    return "batch, out_channels: wanted at most 2^28 tiles of y";
  return nullptr;
}

const char* refuses_memory(const NmConv2dArgs& args) {
  const std::int64_t in = args.kernel_height * args.kernel_width * (args.in_channels / args.groups);
  if (args.padded_in % 64 != 0 || args.padded_in < in)
    return "padded_in: wanted kernel_height * kernel_width * in_channels / groups, rounded up to a "
           "multiple of 64";
  if (args.padded_out % (32 * args.groups) != 0 || args.padded_out < args.out_channels)
    return "padded_out: wanted each group's out_channels rounded up to a multiple of 32";
  if (!aligned(args.values, 16) || !aligned(args.meta, 16))
    return "values, meta: wanted aligned to 16 bytes";
  if (!aligned(args.x, 16)) return "x: wanted aligned to 16 bytes";
  if (args.x_stride % 8 != 0 || args.x_stride < args.in_channels)
    return "x_stride: wanted in_channels or more, a multiple of 8 elements; x is NHWC";
  return nullptr;
}

const char* refuses(const NmConv2dArgs& args) {
  const auto type = static_cast<Type>(args.type);
  if (type != Type::f16 && type != Type::bf16) return "type: wanted f16 or bf16";
  if (args.act < 0 || args.act > static_cast<int>(Act::relu6)) return "act: wanted one of Act";
  if (const char* why = refuses_sizes(args)) return why;
  if (const char* why = refuses_large(args)) return why;
  if (const char* why = refuses_memory(args)) return why;
  const bool splits = Tile::kSplits && args.groups == 1 &&
                      out_tiles(args) * row_tiles(args) <= secateur::tile::kMostCounters;
  if (args.split < 0 || args.split > (splits ? 65535 : 1))
    return "split: wanted 0 or 1; more only from a kernel that splits, of one group and at most "
           "4096 tiles of y";
  return nullptr;
}

std::int64_t workspace_bytes(const NmConv2dArgs& args) {
  if (parts(args) <= 1) return 0;
  const std::int64_t of_y = parts(args) * out_tiles(args) * row_tiles(args);
  return secateur::tile::kMostCounters * 4 + of_y * secateur::tile::part_bytes<Tile, f16>();
}

template <class T>
secateur::tile::PixelsArgs<T> pixels(const NmConv2dArgs& args) {
  const auto word = [](std::int64_t size) { return static_cast<int>(size); };
  return {static_cast<const T*>(args.x),
          word(rows(args)),
          word(args.height),
          word(args.width),
          word(args.out_height),
          word(args.out_width),
          word(args.kernel_height),
          word(args.kernel_width),
          word(args.stride_height),
          word(args.stride_width),
          word(args.dilation_height),
          word(args.dilation_width),
          word(args.pad_top),
          word(args.pad_left),
          word(args.in_channels / args.groups),
          word(args.x_stride)};
}

template <class Steps>
int start(const NmConv2dArgs& args, void* stream) {
  using T = typename Steps::Element;
  const auto tiles = static_cast<unsigned>(out_tiles(args) * row_tiles(args));
  if (tiles == 0) return 0;
  const std::int64_t out = args.out_channels / args.groups;
  const bool wide = aligned(args.y, 16) && aligned(args.residual, 16) && args.y_stride % 8 == 0 &&
                    (args.groups == 1 || out % 8 == 0);
  const Args<Steps> all = {
      {{static_cast<const T*>(args.values), static_cast<const std::uint32_t*>(args.meta),
        args.padded_out, args.padded_in},
       args.padded_out / args.groups},
      pixels<T>(args),
      {static_cast<T*>(args.y), static_cast<const T*>(args.residual), args.bias, nullptr, nullptr,
       rows(args), out, args.y_stride, static_cast<Act>(args.act), wide, args.residual_first != 0},
      static_cast<unsigned>(out_tiles(args)),
      static_cast<unsigned>(row_tiles(args)),
      static_cast<int>(steps(args)),
      static_cast<int>(parts(args)),
      args.workspace};
  const secateur::ptx::Dim3 grid = {tiles, static_cast<unsigned>(all.parts),
                                    static_cast<unsigned>(args.groups)};
  return secateur::ptx::launch(convolution<Steps>, grid, {kThreads, 1, 1}, Shape<T>::kSharedBytes,
                               stream, all);
}

template <class T>
int start_any(const NmConv2dArgs& args, void* stream) {
  return args.in_channels / args.groups % kIn == 0 ? start<Blocks<T>>(args, stream)
                                                   : start<Chunks<T>>(args, stream);
}

int run(const NmConv2dArgs& args, void* stream) {
  return static_cast<Type>(args.type) == Type::f16 ? start_any<f16>(args, stream)
                                                   : start_any<secateur::ptx::bf16>(args, stream);
}

constexpr secateur::cuda::Config kConfig = {
    kThreads, Shape<f16>::kSharedBytes, Tile::kStages, Tile::kOut, Tile::kRows, kIn};

}  // namespace

SECATEUR_CUDA_KERNEL(NmConv2dArgs, 80, "f16,bf16", kLayout, kConfig, refuses, workspace_bytes, run);
