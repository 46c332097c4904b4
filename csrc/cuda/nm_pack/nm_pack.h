// The contract of nm_pack on CUDA: a dense weight becomes 2:4, values and metadata, in one pass.
// Plain C: one field a line, as nm_linear.h is.
//
// Which two of every four along a row are kept:
//   mask given   those it marks. Three or four marked: fault 1
//   prune = 1    the two of largest magnitude, of equal ones the first; a zero among them counts as
//                not kept. NaN is larger than all, and fault 2: scores must not be NaN
//   else         what is not zero; -0.0 is zero. Three or four: fault 1
// A group that keeps fewer is filled up with zeros at the places that torch's converter takes.
// With fault 1 the first two of the group are stored: the metadata are legal, the weight is wrong.
//
// Layouts: torch24 and fragment24, as nm_linear.h says, of weights padded to padded_out rows and
// padded_in columns of zeros.
#pragma once

#include <cstdint>

#include "common/types.h"

namespace secateur::cuda {

constexpr std::uint32_t kFaultMoreThanTwo = 1, kFaultNan = 2;

struct NmPackArgs {
  const void* weight;        // [out_features, in_features], of `type`
  const std::uint8_t* mask;  // [out_features, in_features], bytes 0 or 1, or null
  void* values;
  void* meta;
  std::uint32_t* faults;  // one word; faults found are added to its bits
  std::int64_t out_features;
  std::int64_t in_features;
  std::int64_t padded_out;
  std::int64_t padded_in;
  std::int64_t weight_stride;  // elements between rows
  std::int64_t mask_stride;    // bytes between rows
  std::int32_t type;           // secateur::Type
  std::int32_t prune;          // 0 or 1
};

}  // namespace secateur::cuda
