// Model of ptx/bits.cuh.
#pragma once

#include <bit>

#include "cuda/emu/report.h"
#include "cuda/ptx/types.cuh"

namespace secateur::ptx {

inline int popc(std::uint32_t bits) {
  ++emu::report().counters.popc_lanes;
  return std::popcount(bits);
}
inline int popc(std::uint64_t bits) {
  emu::report().counters.popc_lanes += 2;  // the instruction counts 32 bits
  return std::popcount(bits);
}
inline int clz(std::uint32_t bits) { return std::countl_zero(bits); }
inline int highest(std::uint32_t bits) { return 31 - clz(bits); }
inline int ffs(std::uint32_t bits) { return bits == 0 ? 0 : std::countr_zero(bits) + 1; }

inline std::uint32_t byte_perm(std::uint32_t a, std::uint32_t b, std::uint32_t select) {
  const std::uint64_t bytes = std::uint64_t{b} << 32 | a;
  std::uint32_t out = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned nibble = select >> (4 * i) & 15U;
    auto byte = static_cast<std::uint32_t>(bytes >> (8 * (nibble & 7U))) & 255U;
    if ((nibble & 8U) != 0) byte = (byte & 128U) != 0 ? 255U : 0U;  // the sign, eight times
    out |= byte << (8 * i);
  }
  return out;
}

}  // namespace secateur::ptx
