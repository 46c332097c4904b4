// The value stream of a packed weight, read as floats whatever it is stored as.
#pragma once

#include "cpu/kernel.h"
#include "cpu/narrow.h"

namespace {

constexpr int kMostKept = 256;  // of one row in one K block

// Where a kernel stands in the stream, within one row block.
struct Values {
  const char* next;
  std::int64_t size;  // bytes of one
  Type type;
  const float* scale;  // of the row block's first row, or null

  Values(const secateur::LinearArgs& a, std::int64_t row_block)
      : next(static_cast<const char*>(a.values)),
        size(secateur::bytes_of(a.value_type)),
        type(a.value_type),
        scale(a.scale ? a.scale + row_block * a.weight->row_block : nullptr) {}

  SECATEUR_INLINE void skip(std::int64_t count) { next += count * size; }

  template <class V>
  SECATEUR_INLINE const V* as() const {
    return reinterpret_cast<const V*>(next);
  }

  // The next `count` values, which are of the block's row `row`. As they lie where they are floats
  // (whole vectors may be read past them), else widened into `buffer`.
  SECATEUR_INLINE const float* floats(int count, int row, float* buffer) const {
    if (type == Type::f32) return as<float>();
    widen(next, type, count, scale ? scale[row] : 1.0F, buffer, true);
    return buffer;
  }
};

}  // namespace
