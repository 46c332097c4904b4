// Activations on a vector of floats. Accuracy is stated beside each; tests hold it to that.
#pragma once

#include "cpu/kernel.h"
#include "cpu/vec.h"

namespace {

SECATEUR_INLINE Vec select(IntVec mask, Vec a, Vec b) { return mask ? a : b; }
SECATEUR_INLINE Vec relu(Vec v) { return select(v < Vec{}, Vec{}, v); }  // NaN stays NaN

SECATEUR_INLINE Vec activate(secateur::Act act, Vec v) {
  switch (act) {
    case secateur::Act::relu:
      return relu(v);
    default:
      return v;
  }
}

}  // namespace
