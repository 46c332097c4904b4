// A group of four weights that becomes two and a nibble of metadata, and what is read to get there.
#pragma once

#include "cuda/nm_pack/nm_pack.h"
#include "cuda/ptx.cuh"

namespace secateur::cuda {

using ptx::bits_as;
using ptx::Vec;

// Elements of a type as bits.
template <class T>
struct Bits {
  using Word = std::conditional_t<sizeof(T) == 1, std::uint8_t, std::uint16_t>;
  static constexpr int kBits = 8 * sizeof(T);
  static constexpr std::uint32_t kAll = (1U << kBits) - 1;
  // Of a float the sign says nothing about zero; of an integer it is a digit.
  static constexpr std::uint32_t kNotSign = sizeof(T) == 1 ? kAll : kAll >> 1;
  static constexpr std::uint32_t kInfinity = std::is_same_v<T, ptx::f16> ? 0x7c00 : 0x7f80;
};

// Four weights side by side, the first lowest.
template <class T>
using Quad = std::conditional_t<sizeof(T) == 1, std::uint32_t, std::uint64_t>;
// The two that are kept.
template <class T>
using Pair = std::conditional_t<sizeof(T) == 1, std::uint16_t, std::uint32_t>;

template <class T>
__device__ __forceinline__ std::uint32_t element(Quad<T> quad, int place) {
  return static_cast<std::uint32_t>(quad >> (place * Bits<T>::kBits)) & Bits<T>::kAll;
}

// Elements of a row from `column` on as 32-bit words, zeros behind `columns`, the row's last.
template <int kBytes, class Word>
__device__ __forceinline__ Vec<std::uint32_t, kBytes / 4> read(const Word* row, std::int64_t column,
                                                               std::int64_t columns, bool aligned) {
  constexpr int kCount = kBytes / static_cast<int>(sizeof(Word));
  using Words = Vec<std::uint32_t, kBytes / 4>;
  if (aligned && column + kCount <= columns)
    return ptx::load_once(reinterpret_cast<const Words*>(row + column));
  Words words = {};
#pragma unroll
  for (int i = 0; i < kCount; ++i)
    if (column + i < columns)
      words[i * static_cast<int>(sizeof(Word)) / 4] |=
          std::uint32_t{ptx::load_nc(row + column + i)}
          << (i * static_cast<int>(sizeof(Word)) % 4 * 8);
  return words;
}

// Bit j: byte j is 1. The product moves bit 8 j to bit 24 + j, and no other there.
__device__ __forceinline__ std::uint32_t kept_by_mask(std::uint32_t bytes) {
  return bytes * 0x01020408U >> 24 & 15U;
}

template <class T>
__device__ __forceinline__ std::uint32_t kept_nonzero(Quad<T> quad) {
  std::uint32_t kept = 0;
#pragma unroll
  for (int j = 0; j < 4; ++j) kept |= (element<T>(quad, j) & Bits<T>::kNotSign) != 0 ? 1U << j : 0U;
  return kept;
}

// |w|, in whole numbers of the same order; of a NaN the one above infinity.
template <class T>
__device__ __forceinline__ std::uint32_t magnitude(std::uint32_t bits) {
  if constexpr (sizeof(T) == 1) {
    const int value = static_cast<std::int8_t>(bits);
    return static_cast<std::uint32_t>(value < 0 ? -value : value);
  } else {
    const std::uint32_t size = bits & Bits<T>::kNotSign;
    return size > Bits<T>::kInfinity ? Bits<T>::kInfinity + 1 : size;
  }
}

// The two largest, by five comparisons: the winners of two pairs, and then of what is left. The
// place is part of what is compared, so that no two are equal and the first of equals wins.
template <class T>
__device__ __forceinline__ std::uint32_t kept_largest(Quad<T> quad, std::uint32_t& faults) {
  const auto higher = [](std::uint32_t a, std::uint32_t b) { return a > b ? a : b; };
  const auto lower = [](std::uint32_t a, std::uint32_t b) { return a > b ? b : a; };
  std::uint32_t key[4];
#pragma unroll
  for (int j = 0; j < 4; ++j)
    key[j] = magnitude<T>(element<T>(quad, j)) << 2 | static_cast<std::uint32_t>(3 - j);
  const std::uint32_t a = higher(key[0], key[1]), b = higher(key[2], key[3]);
  const std::uint32_t first = higher(a, b);
  const std::uint32_t second =
      higher(lower(a, b), higher(lower(key[0], key[1]), lower(key[2], key[3])));
  if constexpr (sizeof(T) != 1)
    if (first >> 2 > Bits<T>::kInfinity) faults |= kFaultNan;
  return (8U >> (first & 3U) | 8U >> (second & 3U)) & kept_nonzero<T>(quad);
}

template <class T>
struct Group {
  Pair<T> pair;
  std::uint32_t nibble;  // place of the first + 4 * place of the second
};

// Nibbles of the 16 sets of kept places, the empty one lowest: torch's converter fills up so.
constexpr std::uint64_t kNibbles = 0x498E'4DCE'498E'498EULL;

template <class T>
__device__ __forceinline__ Group<T> pack(Quad<T> quad, std::uint32_t kept, std::uint32_t& faults) {
  const auto nibble = static_cast<std::uint32_t>(kNibbles >> (4 * kept)) & 15U;
  const std::uint32_t first = nibble & 3U, second = nibble >> 2;
  if ((kept & ~(1U << first | 1U << second)) != 0) faults |= kFaultMoreThanTwo;
  const std::uint32_t low = (kept >> first & 1U) != 0 ? element<T>(quad, first) : 0U;
  const std::uint32_t high = (kept >> second & 1U) != 0 ? element<T>(quad, second) : 0U;
  return {static_cast<Pair<T>>(low | high << Bits<T>::kBits), nibble};
}

// Rules: which of four are kept, as bits. Element is the weight's type.
template <class T>
struct ByMask {
  using Element = T;
  static constexpr bool kReadsMask = true;
  static __device__ __forceinline__ std::uint32_t kept(Quad<T>, std::uint32_t mask,
                                                       std::uint32_t&) {
    return kept_by_mask(mask);
  }
};

template <class T>
struct ByNonzero {
  using Element = T;
  static constexpr bool kReadsMask = false;
  static __device__ __forceinline__ std::uint32_t kept(Quad<T> quad, std::uint32_t,
                                                       std::uint32_t&) {
    return kept_nonzero<T>(quad);
  }
};

template <class T>
struct BySize {
  using Element = T;
  static constexpr bool kReadsMask = false;
  static __device__ __forceinline__ std::uint32_t kept(Quad<T> quad, std::uint32_t,
                                                       std::uint32_t& faults) {
    return kept_largest<T>(quad, faults);
  }
};

// Lanes in pairs, told apart by `bit` of their number: the one without it gets both its `low` and
// its partner's, the other both `high`; joined by or.
__device__ __forceinline__ std::uint32_t joined(std::uint32_t low, std::uint32_t high, int bit) {
  const bool upper = (ptx::lane() & bit) != 0;
  return (upper ? high : low) | ptx::shfl_xor(upper ? low : high, bit);
}

}  // namespace secateur::cuda
