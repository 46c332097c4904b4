// The contract of nm_unpack on CUDA: a 2:4 weight becomes dense again, in one pass. Plain C: one
// field a line, as nm_linear.h is. The layouts are nm_linear.h's.
#pragma once

#include <cstdint>

#include "common/types.h"

namespace secateur::cuda {

constexpr std::uint32_t kFaultMetadata = 1;

struct NmUnpackArgs {
  const void* values;
  const void* meta;
  void* weight;           // [out_features, in_features], of `type`; zeros where nothing is kept
  std::uint32_t* faults;  // one word; 1 is added to its bits if a nibble names no two places
  std::int64_t out_features;
  std::int64_t in_features;
  std::int64_t padded_out;
  std::int64_t padded_in;
  std::int64_t weight_stride;  // elements between rows
  std::int32_t type;           // secateur::Type
};

}  // namespace secateur::cuda
