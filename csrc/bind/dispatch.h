// Calls of other ops through torch's dispatcher, and the names that ops have for things.
#pragma once

#include <array>

#include "bind/linear.h"

// With the words of what was raised, where torch has it; 2.10 and 2.11 do not.
#ifndef STABLE_TORCH_ERROR_CODE_CHECK
#define STABLE_TORCH_ERROR_CODE_CHECK TORCH_ERROR_CODE_CHECK
#endif

namespace secateur::bind {

template <std::size_t N>
Tensor dispatch(const char* op, const char* overload, std::array<StableIValue, N> stack) {
  STABLE_TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher(op, overload, stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

inline Tensor activated(const Tensor& y, const std::string& act) {
  if (act == "relu") return dispatch<1>("aten::relu", "", {torch::stable::detail::from(y)});
  if (act == "relu6") return dispatch<1>("aten::relu6", "", {torch::stable::detail::from(y)});
  if (act == "silu") return dispatch<1>("aten::silu", "", {torch::stable::detail::from(y)});
  if (act == "gelu" || act == "gelu_tanh")
    return dispatch<2>("aten::gelu", "",
                       {torch::stable::detail::from(y),
                        torch::stable::detail::from(std::string(act == "gelu" ? "none" : "tanh"))});
  return y;
}

inline Tensor plus(const Tensor& y, const OptionalTensor& residual) {
  return residual ? torch::stable::subtract(y, *residual, -1.0) : y;  // the stable ABI has no add
}

inline Act act_named(const std::string& act) {
  constexpr std::array<const char*, 6> kNames = {"none",      "relu", "gelu",
                                                 "gelu_tanh", "silu", "relu6"};
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (act == kNames[i]) return static_cast<Act>(i);
  STD_TORCH_CHECK(false, "act must be one of none, relu, gelu, gelu_tanh, silu, relu6; got ", act);
}

}  // namespace secateur::bind
