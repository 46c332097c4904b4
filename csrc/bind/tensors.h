// Tensors as kernels read them, and the one they write.
#pragma once

#include <vector>

#include "bind/checks.h"

namespace secateur::bind {

// `t` itself where its rows are a fixed stride apart, else a copy.
inline Tensor evenly(const Tensor& t) {
  return rows_evenly_apart(t) ? t : torch::stable::contiguous(t);
}

// Itself, or a copy; a call of torch's own costs 1 us to find that out.
inline OptionalTensor contiguous(const OptionalTensor& t) {
  return !t || t->is_contiguous() ? t : OptionalTensor(torch::stable::contiguous(*t));
}

// [..., out_features] for x [..., in_features], of x's type.
inline Tensor new_y(const Tensor& x, std::int64_t out_features) {
  std::vector<std::int64_t> shape;
  for (std::int64_t i = 0; i + 1 < x.dim(); ++i) shape.push_back(x.size(i));
  shape.push_back(out_features);
  return torch::stable::new_empty(x, shape);
}

}  // namespace secateur::bind
