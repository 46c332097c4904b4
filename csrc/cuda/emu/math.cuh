// Model of ptx/math.cuh: rounded to nearest, which the GPU is not; callers leave room for that.
#pragma once

#include <cmath>

#include "cuda/ptx/types.cuh"

namespace secateur::ptx {

inline float normal_or_zero(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? 0.0F : x; }

inline float exp2(float x) { return normal_or_zero(std::exp2(normal_or_zero(x))); }
inline float reciprocal(float x) { return normal_or_zero(1.0F / normal_or_zero(x)); }

}  // namespace secateur::ptx
