// What a launch of a lane_linear kernel works on, and how it is cut into blocks.
#pragma once

#include <algorithm>

#include "cuda/lane_linear/lane_linear.h"
#include "cuda/ptx.cuh"

namespace secateur::lane_linear {

using cuda::LaneLinearArgs;

struct Block {
  static constexpr int kStages = 3, kWarps = 4, kThreads = 32 * kWarps;
  static constexpr int kTileOut = 16;                // of a warp
  static constexpr int kOut = kTileOut * kWarps;     // of a block
  static constexpr int kMostRows = 64, kIn = 128;    // kIn: columns of a step
  static constexpr int kChunk = 8;                   // elements of 16 bytes
  static constexpr int kMostValues = kTileOut * 64;  // of a tile of lb32 with nothing pruned
  static constexpr int kMostKept = 24;               // of 32, in n32: what shared memory holds
  // Blocks of a multiprocessor that registers leave room for; the sums of 64 rows take 32 each.
  static constexpr int per_sm(int rows) { return rows < 64 ? 4 : 3; }
  static constexpr std::int64_t kCounterBytes = 4096;  // of the workspace: a counter a tile of y
};

// How y and the columns are cut.
struct Cut {
  std::int64_t out_tiles, row_tiles;  // of y, a block's
  int steps;                          // along the columns
  int steps_each, splits;             // of the columns, among blocks

  std::int64_t tiles() const { return out_tiles * row_tiles; }
};

// Values that a stage has room for in a tile of lb32: those of the fullest, or of one with nothing
// pruned.
inline int most_of(const LaneLinearArgs& args) {
  return args.most > 0 ? args.most : Block::kMostValues;
}

// Beside 64 rows of x, three stages of tiles fuller than this are more than an RTX 4090 gives a
// block, 99 KiB.
constexpr int kMostBeside64 = 848;

// Rows of x that a block takes: a power of two, so that few of a tile's are empty.
inline int tile_rows(const LaneLinearArgs& args) {
  const bool full = args.starts != nullptr && most_of(args) > kMostBeside64;
  const int limit = full ? Block::kMostRows / 2 : Block::kMostRows;
  int rows = 8;
  while (rows < limit && rows < args.rows) rows *= 2;
  return rows;
}

// A block for each of this many places, where the columns can be parted for it.
constexpr int kWantedBlocks = 528;  // four for each of the 132 multiprocessors of an H100
constexpr int kLeastSteps = 4;      // of a part: fewer do not fill the pipeline
// Partial sums are written and read, 8 bytes; of a weight hardly more than one byte is read. So
// that they stay below half of that: columns of a part for each row of x.
constexpr int kColumnsPerRow = 16;

inline Cut cut_of(const LaneLinearArgs& args) {
  const auto parts = [](std::int64_t length, int each) { return (length + each - 1) / each; };
  const int rows = tile_rows(args);
  Cut cut = {parts(args.out_features, Block::kOut), parts(args.rows, rows),
             static_cast<int>(parts(args.in_features, Block::kIn)), 0, 1};
  std::int64_t splits = args.split;
  if (splits <= 0) {
    splits = kWantedBlocks / std::max<std::int64_t>(1, cut.tiles());
    splits = std::min(splits, args.in_features / (std::int64_t{kColumnsPerRow} * rows));
    splits = std::min<std::int64_t>(splits, cut.steps / kLeastSteps);
  }
  splits = std::clamp<std::int64_t>(splits, 1, std::max(1, cut.steps));
  cut.steps_each = static_cast<int>(parts(cut.steps, static_cast<int>(splits)));
  cut.splits = cut.steps == 0 ? 1 : static_cast<int>(parts(cut.steps, cut.steps_each));
  return cut;
}

inline std::int64_t workspace_bytes(const LaneLinearArgs& args) {
  const Cut cut = cut_of(args);
  if (cut.splits == 1) return 0;
  return Block::kCounterBytes + cut.tiles() * cut.splits * tile_rows(args) * Block::kOut * 4;
}

template <class T>
struct Problem {
  const T* values;
  const std::uint32_t* masks;
  const std::uint32_t* starts;
  const T* x;
  T* y;
  const float* bias;
  const T* residual;
  std::uint32_t* counters;
  float* partials;  // [tile of y][split][rows][outs]
  std::int64_t rows, in, out, x_stride, y_stride;
  Act act;
  int n, most;  // most: values of a step, of 16 rows
  int tiles;    // of the weight along its columns
  int steps, steps_each, splits;
};

template <class T>
Problem<T> problem_of(const LaneLinearArgs& args, const Cut& cut, int most, int tile_in) {
  auto* workspace = static_cast<unsigned char*>(args.workspace);
  const bool split = cut.splits > 1;
  return {static_cast<const T*>(args.values),
          args.masks,
          args.starts,
          static_cast<const T*>(args.x),
          static_cast<T*>(args.y),
          args.bias,
          static_cast<const T*>(args.residual),
          split ? reinterpret_cast<std::uint32_t*>(workspace) : nullptr,
          split ? reinterpret_cast<float*>(workspace + Block::kCounterBytes) : nullptr,
          args.rows,
          args.in_features,
          args.out_features,
          args.x_stride,
          args.y_stride,
          static_cast<Act>(args.act),
          args.n,
          most,
          static_cast<int>((args.in_features + tile_in - 1) / tile_in),
          cut.steps,
          cut.steps_each,
          cut.splits};
}

// What no kernel here can run, whatever the layout.
inline const char* refuses_any(const LaneLinearArgs& args) {
  const auto type = static_cast<Type>(args.type);
  const auto unaligned = [](const void* pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer) % 16 != 0;
  };
  if (type != Type::f16 && type != Type::bf16) return "type: wanted f16 or bf16";
  if (args.act < 0 || args.act > static_cast<int>(Act::relu6)) return "act: wanted one of Act";
  if (unaligned(args.x) || args.x_stride % Block::kChunk != 0)
    return "x, x_stride: wanted aligned to 16 bytes, 8 elements, which are copied at once";
  if (unaligned(args.values) || unaligned(args.masks))
    return "values, masks: wanted aligned to 16 bytes";
  if (args.in_features > INT32_MAX) return "in_features: wanted below 2^31";
  const Cut cut = cut_of(args);
  if (cut.out_tiles > 65535) return "out_features: wanted at most 4194240";
  if (cut.splits > 1 && cut.tiles() > Block::kCounterBytes / 4)
    return "split: wanted 0 or 1 where y has more than 1024 tiles";
  if (cut.splits > 65535) return "split: wanted at most 65535";
  return nullptr;
}

inline const char* refuses_lb32(const LaneLinearArgs& args) {
  if (args.starts == nullptr) return "starts: wanted the table of lb32";
  if (args.most < 0 || args.most > Block::kMostValues || args.most % Block::kChunk != 0)
    return "most: wanted a multiple of 8 that is at most 1024";
  return refuses_any(args);
}

}  // namespace secateur::lane_linear
