// What kernels read: element types, and a layer's tensors as pointers.
#pragma once

#include "bind/dispatch.h"
#include "bind/tensors.h"

namespace secateur::bind {

inline std::optional<Type> type_of(const Tensor& t) {
  switch (t.scalar_type()) {
    case torch::headeronly::ScalarType::Float:
      return Type::f32;
    case torch::headeronly::ScalarType::BFloat16:
      return Type::bf16;
    case torch::headeronly::ScalarType::Half:
      return Type::f16;
    case torch::headeronly::ScalarType::Char:
      return Type::i8;
    default:
      return std::nullopt;
  }
}

// What the kernels read: x, y and residual of one floating type, values of any, int8 with a scale.
inline bool types_fit(const LinearCall& c) {
  const auto x = type_of(c.x), values = type_of(c.values);
  const bool known = x && values && *x != Type::i8;
  return known && (*values == Type::i8) == c.scale.has_value() &&
         (!c.residual || type_of(*c.residual) == x) && (!c.bias || type_of(*c.bias)) &&
         (!c.scale || c.scale->scalar_type() == torch::headeronly::ScalarType::Float);
}

// A small float32 tensor that a kernel reads in whole: bias, scale.
inline OptionalTensor floats(const OptionalTensor& t) {
  if (!t) return t;
  if (t->scalar_type() == torch::headeronly::ScalarType::Float) return contiguous(t);
  return contiguous(OptionalTensor(torch::stable::to(*t, torch::headeronly::ScalarType::Float)));
}

// The small tensors of a call as a kernel reads them.
struct Beside {
  const OptionalTensor &bias, &residual, &scale;
};

// `x` and `y` as the kernel reads and writes them.
inline LinearArgs layer_args(const Header& h, const LinearCall& c, const Tensor& x, const Tensor& y,
                             const Beside& beside, std::int64_t rows) {
  const auto start = [](const OptionalTensor& t) { return t ? t->const_data_ptr() : nullptr; };
  return {
      .weight = &h,
      .values = c.values.const_data_ptr(),
      .x = x.const_data_ptr(),
      .x_stride = x.dim() > 1 ? x.stride(x.dim() - 2) : h.in_features,
      .y = y.mutable_data_ptr(),
      .bias = static_cast<const float*>(start(beside.bias)),
      .residual = start(beside.residual),
      .scale = static_cast<const float*>(start(beside.scale)),
      .rows = rows,
      .act = act_named(c.act),
      .value_type = *type_of(c.values),
      .x_type = *type_of(c.x),
  };
}

}  // namespace secateur::bind
