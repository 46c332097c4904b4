// The contract of lane_linear on CUDA: what a kernel is given. Plain C: one field a line, no
// pointer to a struct, so that a caller can be made from this text (tests/support/cuda/structs.py).
// Formula: y[t, o] = act(bias[o] + sum over k of w[o, k] * x[t, k]) + residual[t, o]; sums in
// float.
//
// The weight is of any mask, and kept as the lanes of a warp hold the operands of an m16n8k16. Lane
// 4 g + t (g < 8, t < 4); values are of two bytes; the sides M and K of the weight are padded.
// Layouts:
//   lb32  M to 16, K to 64. A tile is 16 rows and 64 columns, tiles [M / 16][K / 64].
//         masks   [tile][32 lanes]: bit 8 s + 4 c + 2 h + e of lane 4 g + t is row g + 8 h, column
//                 16 s + 8 c + 2 t + e: half e of register 2 c + h of the tile's s-th fragment.
//         values  lane by lane, a lane's in the order of its bits; a tile begins at a multiple of
//                 8 values, 16 bytes.
//         starts  [tiles + 1]: where, in values.
//   n32   M to 16, K to 128. A tile is 16 rows and 128 columns, tiles [M / 16][K / 128]; n of
//         every 32 columns, n even. Lane 4 g + t owns columns 32 t to 32 t + 31 of rows g, g + 8.
//         masks   [tile][2 rows][32 lanes]: bit j is the j-th column that the lane owns; n are set.
//         values  [tile][2 rows][n / 2][32 lanes][2]: columns ascending.
//         x is read in the same order: column 16 s + 8 c + 2 t + e of the eight fragments is
//         column 32 t + 4 s + 2 c + e of x.
#pragma once

#include <cstdint>

#include "common/types.h"

namespace secateur::cuda {

struct LaneLinearArgs {
  const void* values;           // of `type`; aligned to 16 bytes
  const std::uint32_t* masks;   // aligned to 16 bytes
  const std::uint32_t* starts;  // of lb32; null for n32
  const void* x;                // [rows, in_features], of `type`
  void* y;                      // [rows, out_features], of `type`
  const float* bias;            // [out_features] or null
  const void* residual;         // [rows, out_features], of `type`, or null
  void* workspace;              // as many bytes as the kernel asked for
  std::int64_t rows;
  std::int64_t in_features;
  std::int64_t out_features;
  std::int64_t x_stride;  // elements between rows of x
  std::int64_t y_stride;  // elements between rows of y and of the residual
  std::int32_t n;         // of n32: kept of 32
  std::int32_t most;      // of lb32: values of the fullest tile, with its margin; 0: not known
  std::int32_t type;      // secateur::Type
  std::int32_t act;       // secateur::Act
  std::int32_t split;     // parts that the columns are summed in; 0: the kernel chooses
};

}  // namespace secateur::cuda
