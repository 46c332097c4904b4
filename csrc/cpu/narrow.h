// Elements of every Type to vectors of floats and back. Widening is exact; narrowing rounds to
// nearest, ties to even, as torch does.
#pragma once

#include <cstring>

#include "cpu/kernel.h"
#include "cpu/vec.h"

namespace {

using secateur::Type;

struct Bf16 {
  std::uint16_t bits;
};
struct F16 {
  std::uint16_t bits;
};
using I8 = std::int8_t;

typedef std::uint32_t Bits __attribute__((vector_size(kLanes * 4)));
typedef std::uint16_t Halves __attribute__((vector_size(kLanes * 2), aligned(2), may_alias));
typedef std::int8_t Bytes __attribute__((vector_size(kLanes), aligned(1), may_alias));
typedef std::int32_t Ints __attribute__((vector_size(kLanes * 4)));

SECATEUR_INLINE Bits bits_of(Vec v) { return __builtin_bit_cast(Bits, v); }
SECATEUR_INLINE Vec as_floats(Bits b) { return __builtin_bit_cast(Vec, b); }
// gcc cuts these conversions in halves where they are left to it.
#if defined(__AVX512F__)
SECATEUR_INLINE Bits wide_bits(const void* p) {
  return (Bits)_mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
SECATEUR_INLINE Vec load(const I8* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)));
}
#elif defined(__AVX2__)
SECATEUR_INLINE Bits wide_bits(const void* p) {
  return (Bits)_mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
SECATEUR_INLINE Vec load(const I8* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p)));
}
#elif defined(SECATEUR_NEON)
SECATEUR_INLINE Bits wide_bits(const void* p) {
  return (Bits)vmovl_u16(vld1_u16(static_cast<const std::uint16_t*>(p)));
}
SECATEUR_INLINE Vec load(const I8* p) {
  std::uint32_t four;
  std::memcpy(&four, p, sizeof four);
  const int16x8_t wide = vmovl_s8(vcreate_s8(four));
  return (Vec)vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
}
#else
SECATEUR_INLINE Bits wide_bits(const void* p) {
  return __builtin_convertvector(*static_cast<const Halves*>(p), Bits);
}
SECATEUR_INLINE Vec load(const I8* p) {
  return __builtin_convertvector(__builtin_convertvector(*reinterpret_cast<const Bytes*>(p), Ints),
                                 Vec);
}
#endif

SECATEUR_INLINE Vec load(const Bf16* p) { return as_floats(wide_bits(p) << 16); }

SECATEUR_INLINE void store(Bf16* p, Vec v) {
  const Bits b = bits_of(v);
  const Bits rounded = (b + 0x7FFFU + (b >> 16 & 1U)) >> 16;
  const Bits nan = (b >> 16) | 0x40U;  // quiet, and not rounded into an infinity
  const Bits narrow = (b & 0x7FFFFFFFU) > 0x7F800000U ? nan : rounded;
  *reinterpret_cast<Halves*>(p) = __builtin_convertvector(narrow, Halves);
}

#if defined(__AVX512F__)
SECATEUR_INLINE Vec load(const F16* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
SECATEUR_INLINE void store(F16* p, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
#elif defined(__F16C__)
SECATEUR_INLINE Vec load(const F16* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
SECATEUR_INLINE void store(F16* p, Vec v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
#elif defined(SECATEUR_NEON)
SECATEUR_INLINE Vec load(const F16* p) {
  return (Vec)vcvt_f32_f16((float16x4_t)vld1_u16(&p->bits));
}
SECATEUR_INLINE void store(F16* p, Vec v) {
  vst1_u16(&p->bits, (uint16x4_t)vcvt_f16_f32((float32x4_t)v));
}
#else
// A half's exponent and fraction, moved to a float's place, are off by 2^112; subnormals too.
SECATEUR_INLINE Vec load(const F16* p) {
  const Bits h = wide_bits(p), magnitude = (h & 0x7FFFU) << 13;
  const Vec scaled = as_floats(magnitude) * 0x1p112F;
  const Bits b = magnitude >= 0x0F800000U ? magnitude | 0x7F800000U : bits_of(scaled);
  return as_floats(b | (h & 0x8000U) << 16);
}
SECATEUR_INLINE void store(F16* p, Vec v) {
  const Bits b = bits_of(v), sign = b >> 16 & 0x8000U, size = b & 0x7FFFFFFFU;
  // Below 2^-14 the sum's last bit is worth a half's: the addition rounds.
  const Bits small = bits_of(as_floats(size) + 0.5F) - 0x3F000000U;
  const Bits normal = (size - 0x38000000U + 0xFFFU + (size >> 13 & 1U)) >> 13;
  const Bits special = size > 0x7F800000U ? (size >> 13 & 0x3FFU) | 0x7E00U : Bits{} + 0x7C00U;
  const Bits finite = size < 0x38800000U ? small : normal;
  const Bits narrow = size >= 0x477FF000U ? special : finite;
  *reinterpret_cast<Halves*>(p) = __builtin_convertvector(narrow | sign, Halves);
}
#endif

// One element.
SECATEUR_INLINE float to_float(const float* p) { return *p; }
SECATEUR_INLINE float to_float(const I8* p) { return *p; }
SECATEUR_INLINE float to_float(const Bf16* p) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(p->bits) << 16);
}
SECATEUR_INLINE float to_float(const F16* p) {
#if defined(__F16C__)
  return _cvtsh_ss(p->bits);
#else
  const F16 lanes[kLanes] = {*p};
  return load(lanes)[0];
#endif
}
SECATEUR_INLINE void from_float(float* p, float f) { *p = f; }
template <class T>
SECATEUR_INLINE void from_float(T* p, float f) {
  T lanes[kLanes];
  store(lanes, splat(f));
  *p = lanes[0];
}

// Calls f with a pointer of the element type that `type` names.
template <class Void, class F>
SECATEUR_INLINE void typed(Type type, Void* p, F f) {
  constexpr bool kConst = std::is_const_v<Void>;
  switch (type) {
    case Type::f32:
      return f(static_cast<std::conditional_t<kConst, const float, float>*>(p));
    case Type::bf16:
      return f(static_cast<std::conditional_t<kConst, const Bf16, Bf16>*>(p));
    case Type::f16:
      return f(static_cast<std::conditional_t<kConst, const F16, F16>*>(p));
    case Type::i8:
      if constexpr (kConst) return f(static_cast<const I8*>(p));
  }
}

SECATEUR_INLINE const void* at(const void* p, Type type, std::int64_t element) {
  return static_cast<const char*>(p) + element * secateur::bytes_of(type);
}
SECATEUR_INLINE void* at(void* p, Type type, std::int64_t element) {
  return static_cast<char*>(p) + element * secateur::bytes_of(type);
}

// `count` elements to floats, times `scale`. Reads nothing beyond, unless the caller has a whole
// vector's elements there to be read; writes up to a whole vector.
[[gnu::noinline, maybe_unused]] void widen(const void* from, Type type, std::int64_t count,
                                           float scale, float* to, bool padded) {
  typed(type, from, [&](auto* p) {
    std::int64_t i = 0;
    const std::int64_t whole = padded ? count : count - kLanes + 1;
    for (; i < whole; i += kLanes) store(to + i, load(p + i) * scale);
    for (; i < count; ++i) to[i] = to_float(p + i) * scale;
  });
}

}  // namespace
