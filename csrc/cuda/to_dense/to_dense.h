// The contract of to_dense on CUDA: a packed weight written out, pruned places as zeros. Exact: no
// arithmetic. For products of many rows of x, which the dense weight then serves.
// Layouts: lb32 and n32 as csrc/cuda/lane_linear/lane_linear.h has them.
#pragma once

#include <cstdint>

#include "common/types.h"

namespace secateur::cuda {

struct ToDenseArgs {
  const void* values;           // of two bytes each; aligned to 16 bytes
  const std::uint32_t* masks;   // aligned to 16 bytes
  const std::uint32_t* starts;  // of lb32; null for n32
  void* weight;                 // [out_features, in_features]; aligned to 16 bytes
  void* workspace;              // none is needed
  std::int64_t in_features;
  std::int64_t out_features;
  std::int64_t stride;  // elements between rows of the weight; a multiple of 8
  std::int32_t n;       // of n32: kept of 32
  std::int32_t type;    // secateur::Type
};

}  // namespace secateur::cuda
