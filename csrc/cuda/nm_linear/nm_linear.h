// The contract of nm_linear on CUDA: what a kernel is given. Plain C: one field a line, no pointer
// to a struct, so that a caller can be made from this text (tests/support/cuda/structs.py).
// Formula: y[t, o] = act(bias[o] + scale[o] * x_scale[t] * sum over k of w[o, k] * x[t, k])
//                    + residual[t, o]; sums in float, of int8 in int32.
//
// Layouts of the weight, which is padded to padded_out rows and padded_in columns of zeros:
//   torch24     values [padded_out, padded_in / 2] row by row, the kept two of every four in order,
//               meta as torch.sparse.SparseSemiStructuredTensor (and CUTLASS) keeps it. 16 bits a
//               value: u32 word (k/32) * padded_out + (o/32)*32 + (o%8)*4 + (o%32)/16*2 + (k/16)%2,
//               halfword (o/8)%2, nibble (k%16)/4. 8 bits: u32 word (k/64) * 2 * padded_out +
//               (o/16)*32 + (o%8)*4 + (k/32)%2*2 + (o/8)%2, nibble (k%32)/4. A nibble is i0 + 4 i1,
//               i0 < i1: the places of the two. A zero that was none of the kept is stored
//               anywhere.
//   fragment24  the same values and nibbles in the order in which lanes 4 g + t (g < 8, t < 4) hold
//               them for mma.sp. Values [padded_out / 32][tiles of padded_in][2][32 lanes][16
//               bytes]: tiles of 32 rows by 32 columns, of 8 bits 64; halves of 16 rows; of a lane
//               four registers r = 2 c + h: row g + 8 h of the half, and of the tile's kept columns
//               those from 8 c + 2 t on, two; of 8 bits from 16 c + 4 t on, four. Metadata
//               [padded_out / 32][tiles][32 lanes] words of 32 bits: lane 4 g + 2 s + c has the
//               nibbles of half s, row g, columns 16 c to 16 c + 15, and above those of row g + 8.
//               Of 8 bits [..][32 lanes][2 halves]: lane 4 g + 2 c + h has those of row g + 8 h,
//               columns 32 c to 32 c + 31.
#pragma once

#include <cstdint>

#include "common/types.h"

namespace secateur::cuda {

struct NmLinearArgs {
  const void* values;
  const void* meta;
  const void* x;         // [rows, in_features], of `type`
  void* y;               // [rows, out_features], of `type`; float if `type` is i8
  const float* bias;     // [out_features] or null
  const void* residual;  // [rows, out_features], as y, or null
  const float* scale;    // [out_features] or null
  const float* x_scale;  // [rows] or null
  void* workspace;       // as many bytes as the kernel asked for
  std::int64_t rows;
  std::int64_t in_features;
  std::int64_t out_features;
  std::int64_t padded_in;
  std::int64_t padded_out;
  std::int64_t x_stride;  // elements between rows of x
  std::int64_t y_stride;  // elements between rows of y and of the residual
  std::int32_t type;      // secateur::Type of x and the values
  std::int32_t act;       // secateur::Act
  std::int32_t split;     // parts that the columns are summed in; 0: the kernel chooses
};

}  // namespace secateur::cuda
