// Calls of other ops through torch's dispatcher, and the names that ops have for things.
#pragma once

#include <array>

#include "bind/linear.h"

namespace secateur::bind {

template <std::size_t N>
Tensor dispatch(const char* op, const char* overload, std::array<StableIValue, N> stack) {
  STABLE_TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher(op, overload, stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

inline Act act_named(const std::string& act) {
  constexpr std::array<const char*, 5> kNames = {"none", "relu", "gelu", "gelu_tanh", "silu"};
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (act == kNames[i]) return static_cast<Act>(i);
  STD_TORCH_CHECK(false, "act must be one of none, relu, gelu, gelu_tanh, silu; got ", act);
}

}  // namespace secateur::bind
