// One vector type per ISA object: kLanes floats, as wide as the file's compiler flags allow.
// Everything is in an anonymous namespace, so that no two ISA objects share a symbol.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(SECATEUR_NEON)
#include <arm_neon.h>
#endif

#define SECATEUR_INLINE inline __attribute__((always_inline))
#define SECATEUR_UNROLL _Pragma("GCC unroll 16")

namespace {

#if defined(SECATEUR_LANES)  // the portable kernels at another width, for tests
constexpr int kLanes = SECATEUR_LANES;
#elif defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef float UnalignedVec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

SECATEUR_INLINE Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
SECATEUR_INLINE void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }
SECATEUR_INLINE Vec splat(float f) { return f - Vec{}; }

typedef float UnalignedQuad __attribute__((vector_size(16), aligned(4), may_alias));

template <class Quad, int... L>
SECATEUR_INLINE Vec repeat(Quad quad, std::integer_sequence<int, L...>) {
  return __builtin_shufflevector(quad, quad, (L & 3)...);
}

// Four consecutive floats, repeated through the vector: one load feeds four multiplications.
SECATEUR_INLINE Vec load_quad(const float* p) {
#if defined(__AVX512F__)
  return _mm512_broadcast_f32x4(_mm_loadu_ps(p));
#elif defined(__AVX2__)
  return _mm256_broadcast_ps(reinterpret_cast<const __m128*>(p));
#else
  return repeat(*reinterpret_cast<const UnalignedQuad*>(p),
                std::make_integer_sequence<int, kLanes>{});
#endif
}

template <int I, int... L>
SECATEUR_INLINE Vec splat_lane(Vec v, std::integer_sequence<int, L...>) {
  return __builtin_shufflevector(v, v, ((L & ~3) + I)...);
}

// Lane I of each group of four, to all four: what Tile multiplies by.
#if defined(SECATEUR_NEON)
template <int I>
struct LaneOfQuad {
  Vec quad;
};
template <int I>
SECATEUR_INLINE LaneOfQuad<I> splat_of_quad(Vec v) {
  return {v};
}
// By assembly: of the intrinsic vfmaq_laneq_f32, used eight times, gcc makes a copy of the lane and
// eight plain fmla.
template <int I>
SECATEUR_INLINE Vec multiply_add(Vec sum, LaneOfQuad<I> w, Vec x) {
  asm("fmla %0.4s, %1.4s, %2.s[%3]" : "+w"(sum) : "w"(x), "w"(w.quad), "i"(I));
  return sum;
}
#else
template <int I>
SECATEUR_INLINE Vec splat_of_quad(Vec v) {
  return splat_lane<I>(v, std::make_integer_sequence<int, kLanes>{});
}
#endif
SECATEUR_INLINE Vec multiply_add(Vec sum, Vec w, Vec x) { return sum + w * x; }

template <int D, int... L>
SECATEUR_INLINE void exchange(Vec& a, Vec& b, std::integer_sequence<int, L...>) {
  const Vec low = __builtin_shufflevector(a, b, ((L & D) ? kLanes + L - D : L)...);
  const Vec high = __builtin_shufflevector(a, b, ((L & D) ? kLanes + L : L + D)...);
  a = low;
  b = high;
}

template <int D>
SECATEUR_INLINE void exchange_all(Vec (&v)[kLanes]) {
  SECATEUR_UNROLL
  for (int i = 0; i < kLanes; ++i)
    if (!(i & D)) exchange<D>(v[i], v[i | D], std::make_integer_sequence<int, kLanes>{});
}

template <int... L>
SECATEUR_INLINE Vec every_other(Vec a, Vec b, std::integer_sequence<int, L...>) {
  return __builtin_shufflevector(a, b, (2 * L)...);
}

// Elements 0, 2, 4, ... of a and then of b.
SECATEUR_INLINE Vec every_other(Vec a, Vec b) {
  return every_other(a, b, std::make_integer_sequence<int, kLanes>{});
}

// The first `count` lanes: none below 1, all from kLanes on. No byte behind them is touched; other
// lanes load as zeros.
#if defined(__AVX512F__)
SECATEUR_INLINE __mmask16 first_lanes(std::int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xFFFFU : count > 0 ? (1U << count) - 1U : 0U);
}
SECATEUR_INLINE Vec load_first(const float* p, std::int64_t count) {
  return _mm512_maskz_loadu_ps(first_lanes(count), p);
}
SECATEUR_INLINE void store_first(float* p, Vec v, std::int64_t count) {
  _mm512_mask_storeu_ps(p, first_lanes(count), v);
}
#elif defined(__AVX2__)
SECATEUR_INLINE __m256i first_lanes(std::int64_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
SECATEUR_INLINE Vec load_first(const float* p, std::int64_t count) {
  return _mm256_maskload_ps(p, first_lanes(count));
}
SECATEUR_INLINE void store_first(float* p, Vec v, std::int64_t count) {
  _mm256_maskstore_ps(p, first_lanes(count), v);
}
#else
SECATEUR_INLINE Vec load_first(const float* p, std::int64_t count) {
  alignas(64) float lanes[kLanes] = {};
  for (std::int64_t l = 0; l < count && l < kLanes; ++l) lanes[l] = p[l];
  return load(lanes);
}
SECATEUR_INLINE void store_first(float* p, Vec v, std::int64_t count) {
  alignas(64) float lanes[kLanes];
  store(lanes, v);
  for (std::int64_t l = 0; l < count && l < kLanes; ++l) p[l] = lanes[l];
}
#endif

// v[i][j] <-> v[j][i], in registers.
SECATEUR_INLINE void transpose(Vec (&v)[kLanes]) {
  if constexpr (kLanes > 8) exchange_all<8>(v);
  if constexpr (kLanes > 4) exchange_all<4>(v);
  exchange_all<2>(v);
  exchange_all<1>(v);
}

}  // namespace
