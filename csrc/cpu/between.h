// Scores against a bracket: what is above it is marked, what is inside is listed.
#pragma once

#include <cstdint>
#include <cstring>

namespace secateur {
namespace {

// keep[i] = x[i] > high; the places where low <= x[i] <= high go to `at`, ascending, which has room
// for all. Returns how many those are. x holds no NaN.
inline std::int64_t mark_between(const float* x, std::int64_t count, float low, float high,
                                 std::uint8_t* keep, std::int32_t* at) {
  constexpr int kTogether = 16;
  typedef float Floats __attribute__((vector_size(kTogether * 4), aligned(4), may_alias));
  typedef signed char Bytes __attribute__((vector_size(kTogether)));
  std::int64_t found = 0, i = 0;
  const auto list = [&](std::int64_t from, std::int64_t to) {
    for (; from < to; ++from)
      if (x[from] >= low && !(x[from] > high)) at[found++] = static_cast<std::int32_t>(from);
  };
  for (; i + kTogether <= count; i += kTogether) {
    const Floats v = *reinterpret_cast<const Floats*>(x + i);
    const Bytes above = __builtin_convertvector(v > high, Bytes);
    const Bytes inside = __builtin_convertvector(v >= low, Bytes) & ~above;
    const Bytes marks = above & 1;
    std::memcpy(keep + i, &marks, kTogether);
    std::uint64_t any[2];
    std::memcpy(any, &inside, sizeof any);
    if ((any[0] | any[1]) != 0) list(i, i + kTogether);
  }
  list(i, count);
  for (; i < count; ++i) keep[i] = x[i] > high;
  return found;
}

}  // namespace
}  // namespace secateur
