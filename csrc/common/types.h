// Words of every kernel's contract, on every device: element types and activations.
#pragma once

#include <cstdint>

namespace secateur {

enum class Act : std::uint8_t { none, relu, gelu, gelu_tanh, silu, relu6 };

// Elements in memory.
enum class Type : std::uint8_t { f32, bf16, f16, i8 };
constexpr std::int64_t bytes_of(Type type) {
  return type == Type::f32 ? 4 : type == Type::i8 ? 1 : 2;
}

}  // namespace secateur
