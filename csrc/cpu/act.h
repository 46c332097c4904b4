// Activations on a vector of floats, each within 4 eps of |x| (tests hold them to it; eps = 2^-23).
#pragma once

#include "cpu/kernel.h"
#include "cpu/vec.h"

namespace {

typedef std::int32_t IntVec __attribute__((vector_size(kLanes * 4)));

SECATEUR_INLINE Vec select(IntVec mask, Vec a, Vec b) { return mask ? a : b; }
SECATEUR_INLINE Vec relu(Vec v) { return select(v < Vec{}, Vec{}, v); }  // NaN stays NaN
SECATEUR_INLINE Vec relu6(Vec v) { return select(v > 6.0F, splat(6.0F), relu(v)); }

// e^x, relative error below 2 eps. Outside [-87, 88] it stands still; NaN stays NaN.
SECATEUR_INLINE Vec exp(Vec x) {
  x = select(x < -87.0F, splat(-87.0F), x);
  x = select(x > 88.0F, splat(88.0F), x);
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it leaves an integer in the low bits
  const Vec shifted = x * 1.44269504F + kRound;
  const Vec n = shifted - kRound;
  const Vec r = (x - n * 0.693145752F) - n * 1.42860677e-6F;  // ln 2 in two parts, |r| <= ln(2) / 2
  Vec p = splat(1.0F / 5040.0F);                              // Taylor: the next term is below 6e-9
  constexpr float kInverseFactorials[] = {1.0F / 720.0F, 1.0F / 120.0F, 1.0F / 24.0F, 1.0F / 6.0F,
                                          0.5F,          1.0F,          1.0F};
  for (const float c : kInverseFactorials) p = p * r + c;
  const IntVec power = (__builtin_bit_cast(IntVec, shifted) + 127) << 23;  // 2^n
  return p * __builtin_bit_cast(Vec, power);
}

SECATEUR_INLINE Vec sigmoid_times(Vec v, Vec x) { return x / (1.0F + exp(-v)); }

SECATEUR_INLINE Vec silu(Vec x) { return sigmoid_times(x, x); }

// Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016): the approximation by tanh, written
// with the logistic function: (1 + tanh u) / 2 = 1 / (1 + e^-2u).
SECATEUR_INLINE Vec gelu_tanh(Vec x) {
  const Vec u = 0.797884561F * (x + 0.044715F * x * x * x);
  return sigmoid_times(2.0F * u, x);
}

// The same paper: x * Phi(x), Phi through erfc(z) = t e^(p(t) - z^2), t = 1 / (1 + z / 2). p is a
// least-squares fit of log(erfc(z) e^(z^2) / t) on z in [0, 10]; erfc is off by at most 3.5e-7.
SECATEUR_INLINE Vec gelu(Vec x) {
  Vec z = 0.707106781F * select(x < 0.0F, -x, x);
  z = select(z > 10.0F, splat(10.0F), z);
  const Vec t = 1.0F / (1.0F + 0.5F * z);
  Vec p = splat(-0.0860487372F);
  constexpr float kFit[] = {0.289731205F, -0.130299434F, -0.529163599F, 0.469770819F,
                            0.226124689F, 1.02729368F,   -1.26740861F};
  for (const float c : kFit) p = p * t + c;
  const Vec tail = 0.5F * t * exp(p - z * z);
  return x * select(x < 0.0F, tail, 1.0F - tail);
}

SECATEUR_INLINE Vec activate(secateur::Act act, Vec v) {
  switch (act) {
    case secateur::Act::none:
      return v;
    case secateur::Act::relu:
      return relu(v);
    case secateur::Act::gelu:
      return gelu(v);
    case secateur::Act::gelu_tanh:
      return gelu_tanh(v);
    case secateur::Act::silu:
      return silu(v);
    case secateur::Act::relu6:
      return relu6(v);
  }
  return v;
}

}  // namespace
