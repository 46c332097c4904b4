// What a kernel for the gradient of the kept weights is given.
#pragma once

#include "cpu/kernel.h"

namespace secateur {

struct DwArgs {
  const Header* weight;      // start of `index`
  const float* grad_y;       // [tokens, out_features]
  std::int64_t grad_stride;  // elements between its rows
  const float* x;            // [tokens, in_features]
  std::int64_t x_stride;
  float* values;  // where the gradients are added, in the index's order
  std::int64_t tokens;

  // The walk over a weight is a forward's; its values are the gradients.
  LinearArgs walked() const {
    return {.weight = weight,
            .values = values,
            .x = nullptr,
            .x_stride = 0,
            .y = nullptr,
            .bias = nullptr,
            .residual = nullptr,
            .scale = nullptr,
            .rows = 0,
            .act = Act::none,
            .value_type = Type::f32,
            .x_type = Type::f32};
  }
};

}  // namespace secateur
