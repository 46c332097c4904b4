// Model of ptx/convert.cuh.
#pragma once

#include <cmath>

#include "cuda/ptx/types.cuh"

namespace secateur::ptx {

inline float to_float(f16 x) {
  const std::uint32_t sign = (x.bits & 0x8000U) << 16, rest = x.bits & 0x7fffU;
  if (rest >= 0x7c00U) return bits_as<float>(sign | 0x7f800000U | rest << 13);
  if (rest < 0x0400U) {  // subnormal: so many 2^-24
    const float size = static_cast<float>(rest) * 0x1p-24F;
    return sign != 0 ? -size : size;
  }
  return bits_as<float>(sign | ((rest << 13) + 0x38000000U));
}
inline float to_float(bf16 x) { return bits_as<float>(std::uint32_t{x.bits} << 16); }
inline float to_float(float x) { return x; }

template <class T>
T from_float(float x) {
  if constexpr (std::is_same_v<T, f16>) {
    if (x != x) return {0x7fff};  // what a GPU makes of every NaN
    const auto bits = bits_as<std::uint32_t>(x);
    const std::uint32_t sign = bits >> 16 & 0x8000U, size = bits & 0x7fffffffU;
    std::uint32_t half = 0x7c00U;
    if (size < 0x38800000U)  // below 2^-14: so many 2^-24
      half = static_cast<std::uint32_t>(std::nearbyint(std::fabs(x) * 0x1p24F));
    else if (size < 0x47800000U)  // below 2^16; what rounds up to it is infinite
      half = (size - 0x38000000U + 0xfffU + (size >> 13 & 1U)) >> 13;
    return {static_cast<std::uint16_t>(sign | half)};
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
