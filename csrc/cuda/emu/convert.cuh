// Model of ptx/convert.cuh.
#pragma once

#include <cmath>

#include "cuda/ptx/types.cuh"

namespace secateur::ptx {

inline float to_float(f16 x) { return static_cast<float>(bits_as<_Float16>(x)); }
inline float to_float(bf16 x) { return bits_as<float>(std::uint32_t{x.bits} << 16); }
inline float to_float(float x) { return x; }

template <class T>
T from_float(float x) {
  if constexpr (std::is_same_v<T, f16>) {
    // What a GPU makes of every NaN.
    return x != x ? f16{0x7fff} : bits_as<f16>(static_cast<_Float16>(x));
  } else if constexpr (std::is_same_v<T, bf16>) {
    if (x != x) return {0x7fff};
    const auto bits = bits_as<std::uint32_t>(x);
    return {static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16)};
  } else {
    return x;
  }
}

template <class T>
std::uint32_t pack_pair(float first, float second) {
  return from_float<T>(first).bits | std::uint32_t{from_float<T>(second).bits} << 16;
}
template <class T>
Vec<float, 2> unpack_pair(std::uint32_t pair) {
  return {to_float(T{static_cast<std::uint16_t>(pair)}),
          to_float(T{static_cast<std::uint16_t>(pair >> 16)})};
}

inline std::uint32_t to_tf32(float x) {
  const auto bits = bits_as<std::uint32_t>(x);
  if (x != x) return 0x7fffffffU;
  if (std::isinf(x)) return bits;
  return (bits + 0x1000U) & 0xffffe000U;
}
inline s8 to_s8(float x) {
  if (x != x) return 0;
  return static_cast<s8>(std::nearbyint(std::fmin(std::fmax(x, -128.0F), 127.0F)));
}

}  // namespace secateur::ptx
