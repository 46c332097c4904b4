// What the ops of 2:4 weights check alike. Dtypes and shapes with friendlier words are
// checked in Python; these checks keep a wrong call from reading or writing out of bounds.
#pragma once

#include "bind/cuda_launch.h"

namespace secateur::bind::cuda {

// Raises unless `t` is a matrix on a GPU whose rows lie a fixed stride apart, in order.
inline void check_matrix(const char* name, const Tensor& t) {
  STD_TORCH_CHECK(t.is_cuda() && t.dim() == 2, name, " must be [out, in], on a GPU");
  STD_TORCH_CHECK(t.size(1) <= 1 || t.stride(1) == 1, name, " must have its columns side by side");
  STD_TORCH_CHECK(t.size(0) <= 1 || t.stride(0) >= t.size(1), name, " has rows that overlap");
}

// Raises unless `index` lies on the device of `like` and has room for the metadata from byte
// `offset` on.
inline void check_metadata(const Tensor& index, const Tensor& like, std::int64_t offset,
                           std::int64_t padded_out, std::int64_t padded_in) {
  STD_TORCH_CHECK(padded_out >= 0 && padded_in >= 0, "padded sides must not be negative");
  STD_TORCH_CHECK(offset >= 0, "meta_offset must not be negative");
  expect_index(index, like, offset + padded_out * padded_in / 8);
}

inline void check_faults(const Tensor& faults, const Tensor& like) {
  STD_TORCH_CHECK(faults.is_cuda() && faults.get_device_index() == like.get_device_index() &&
                      faults.scalar_type() == torch::headeronly::ScalarType::Int &&
                      faults.numel() == 1,
                  "faults must be one int32, on the weight's device");
}

}  // namespace secateur::bind::cuda
