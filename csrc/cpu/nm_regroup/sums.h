// Sums over the rows of integer scores: what a group keeps, and what it would keep with another
// column. No search here.
#pragma once

#include <cstdint>

#include "cpu/nm_regroup/args.h"
#include "cpu/vec.h"

namespace {

using secateur::RegroupArgs;

typedef std::int32_t Ints __attribute__((vector_size(kLanes * 4)));
typedef std::int32_t UnalignedInts __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

SECATEUR_INLINE Ints load(const std::int32_t* p) {
  return *reinterpret_cast<const UnalignedInts*>(p);
}
SECATEUR_INLINE void store(std::int32_t* p, Ints v) { *reinterpret_cast<UnalignedInts*>(p) = v; }
SECATEUR_INLINE Ints larger(Ints a, Ints b) { return a > b ? a : b; }
SECATEUR_INLINE Ints lesser(Ints a, Ints b) { return a < b ? a : b; }

inline std::int64_t lanes_summed(Ints v) {
  std::int64_t sum = 0;
  for (int l = 0; l < kLanes; ++l) sum += v[l];
  return sum;
}

// Rows whose scores are added in 32 bits. A lane sees kChunk / kLanes rows of at most kLargestGroup
// scores each; a sum across lanes, kChunk single scores.
constexpr std::int64_t kChunk = 512;
static_assert(kChunk / kLanes * secateur::kLargestGroup * std::int64_t{secateur::kLargestScore} <=
              INT32_MAX);
static_assert(kChunk * std::int64_t{secateur::kLargestScore} <= INT32_MAX);

// Keeps top[0 .. n] sorted, the largest first.
SECATEUR_INLINE void insert(Ints score, Ints* top, int n) {
  for (int k = 0; k <= n; ++k) {
    const Ints above = larger(top[k], score);
    score = lesser(top[k], score);
    top[k] = above;
  }
}

// Of one group: for each of its columns the `rival`, the largest score that the n - 1 best others
// leave out, and `certain`, the sum of those n - 1. A column c in its place keeps
// certain + sum of max(rival, c).
template <int kN, int kM>
void measure_group(const RegroupArgs& a, std::int64_t group) {
  // #lizard forgives: one loop over the rows, and short ones over the columns of a group.
  const int n = kN != 0 ? kN : a.n, m = kM != 0 ? kM : a.m;
  constexpr int kMost = kM != 0 ? kM : secateur::kLargestGroup;
  const std::int64_t first = group * m;
  const std::int32_t* column[kMost];
  std::int64_t replaced[kMost] = {};
  for (int j = 0; j < m; ++j) column[j] = a.columns + a.order[first + j] * a.rows;
  std::int64_t kept = 0;
  for (std::int64_t begin = 0; begin < a.rows; begin += kChunk) {
    const std::int64_t end = begin + kChunk < a.rows ? begin + kChunk : a.rows;
    Ints best_sum{}, larger_sum[kMost] = {};
    for (std::int64_t r = begin; r < end; r += kLanes) {
      Ints top[kMost] = {};
      for (int j = 0; j < m; ++j) insert(load(column[j] + r), top, n);
      for (int k = 0; k < n; ++k) best_sum += top[k];
      const Ints last = top[n - 1], next = top[n];
      for (int j = 0; j < m; ++j) {
        const Ints score = load(column[j] + r);
        store(a.rival + (first + j) * a.rows + r, score >= last ? next : last);
        larger_sum[j] += larger(score, last);
      }
    }
    kept += lanes_summed(best_sum);
    for (int j = 0; j < m; ++j) replaced[j] += lanes_summed(larger_sum[j]);
  }
  a.kept[group] = kept;
  for (int j = 0; j < m; ++j) a.certain[first + j] = kept - replaced[j];
}

// So many pairs at a time that their sums fill a vector.
constexpr int kTall = kLanes == 16 ? 4 : 2;
constexpr int kWide = kLanes / kTall;

template <int D>
SECATEUR_INLINE Ints add_crosswise(Ints a, Ints b) {
  Vec low = reinterpret_cast<Vec>(a), high = reinterpret_cast<Vec>(b);
  exchange<D>(low, high, std::make_integer_sequence<int, kLanes>{});
  return reinterpret_cast<Ints>(low) + reinterpret_cast<Ints>(high);
}

// Lane i: the sum of v[i]'s lanes.
template <int D, int I>
SECATEUR_INLINE Ints sums(const Ints (&v)[kLanes]) {
  if constexpr (D == kLanes)
    return v[I];
  else
    return add_crosswise<D>(sums<2 * D, I>(v), sums<2 * D, I + D>(v));
}

// Lane i * kWide + j: the sum of max(rival[i], column[j]) over `rows` rows, at most kChunk.
SECATEUR_INLINE Ints pair_sums(const std::int32_t* const (&rival)[kTall],
                               const std::int32_t* const (&column)[kWide], std::int64_t rows) {
  Ints sum[kLanes] = {};
  for (std::int64_t r = 0; r < rows; r += kLanes) {
    Ints scores[kWide];
    SECATEUR_UNROLL
    for (int j = 0; j < kWide; ++j) scores[j] = load(column[j] + r);
    SECATEUR_UNROLL
    for (int i = 0; i < kTall; ++i) {
      const Ints against = load(rival[i] + r);
      SECATEUR_UNROLL
      for (int j = 0; j < kWide; ++j) sum[i * kWide + j] += larger(against, scores[j]);
    }
  }
  return sums<1, 0>(sum);
}

}  // namespace
