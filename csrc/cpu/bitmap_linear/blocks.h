// bitmap x few rows of x: several outputs at a time, each from a place of its own in memory, since
// a core reads several streams faster than one; each spread vector of weights meets up to four rows
// of x. Bound: from DRAM, 4 bytes a kept weight and a bit a position; from cache, the work to
// spread: about 2 cycles for 8 columns with AVX2.
#pragma once

#include "cpu/bitmap_linear/expand.h"
#include "cpu/row/few.h"

namespace {

// One row block of the weight.
struct BitmapRows {
  const std::uint32_t* first;  // value of each row
  const std::uint8_t* bits;
  std::int64_t stride;  // bytes of bits a row
  std::int64_t groups;  // vectors of columns, the last cut off by zero bits
  const char* values;
  std::int64_t size;   // bytes of a value
  const float* scale;  // of each row, or null

  BitmapRows(const LinearArgs& a, std::int64_t row)
      : stride(secateur::ceil_div(a.weight->in_features, 64) * 8),
        groups(secateur::ceil_div(a.weight->in_features, kLanes)),
        values(static_cast<const char*>(a.values)),
        size(secateur::bytes_of(a.value_type)),
        scale(a.scale ? a.scale + row : nullptr) {
    const Header& h = *a.weight;
    first = secateur::section<std::uint32_t>(h, h.rows) + row;
    bits = secateur::section<std::uint8_t>(h, h.columns) + row * stride;
  }

  template <class V>
  SECATEUR_INLINE const V* of(std::int64_t row) const {
    return reinterpret_cast<const V*>(values + first[row] * size);
  }
};

// Adds kOut outputs, `apart` rows of the weight from one another, to `sums` of kX rows of x.
template <int kOut, int kX, class V>
SECATEUR_INLINE void outputs_times_x(const BitmapRows& w, std::int64_t row, std::int64_t apart,
                                     const float* const* x, float* const* sums) {
  const V* next[kOut];
  const std::uint8_t* bits[kOut];
  Vec sum[kOut][kX]{};
  SECATEUR_UNROLL
  for (int o = 0; o < kOut; ++o) {
    next[o] = w.of<V>(row + o * apart);
    bits[o] = w.bits + (row + o * apart) * w.stride;
  }
  for (std::int64_t group = 0; group < w.groups; ++group) {
    Vec at[kX];
    SECATEUR_UNROLL
    for (int i = 0; i < kX; ++i) at[i] = load(x[i] + group * kLanes);
    SECATEUR_UNROLL
    for (int o = 0; o < kOut; ++o) {
      const unsigned mask = mask_at(bits[o], group);
      const Vec spread = expand(next[o], mask);
      SECATEUR_UNROLL
      for (int i = 0; i < kX; ++i) sum[o][i] = multiply_add(sum[o][i], spread, at[i]);
      next[o] += std::popcount(mask);
    }
  }
  SECATEUR_UNROLL
  for (int o = 0; o < kOut; ++o) {
    const std::int64_t output = row + o * apart;
    const float scale = std::is_same_v<V, I8> ? w.scale[output] : 1.0F;
    SECATEUR_UNROLL
    for (int i = 0; i < kX; ++i) sums[i][output] += scale * total(sum[o][i]);
  }
}

template <int kOut, int kX, class V>
[[gnu::noinline]] void block_times_x(const BitmapRows& w, std::int64_t outputs,
                                     const float* const* x, float* const* sums) {
  const std::int64_t share = outputs / kOut;
  for (std::int64_t o = 0; o < share; ++o) outputs_times_x<kOut, kX, V>(w, o, share, x, sums);
  for (std::int64_t o = kOut * share; o < outputs; ++o) outputs_times_x<1, kX, V>(w, o, 0, x, sums);
}

// The same weight by weight: a zero that is not stored does not meet an infinity of x.
template <class V>
[[gnu::noinline]] void block_times_any_x(const BitmapRows& w, std::int64_t outputs, const float* x,
                                         float* sums) {
  for (std::int64_t o = 0; o < outputs; ++o) {
    const V* next = w.of<V>(o);
    float sum = 0.0F;
    for (std::int64_t byte = 0; byte < w.stride; ++byte)
      for (unsigned mask = w.bits[o * w.stride + byte]; mask != 0; mask &= mask - 1U)
        sum += to_float(next++) * x[8 * byte + std::countr_zero(mask)];
    sums[o] += std::is_same_v<V, I8> ? sum * w.scale[o] : sum;
  }
}

SECATEUR_INLINE bool all_finite(const float* x, std::int64_t count) {
  Vec zero{};
  for (std::int64_t k = 0; k < count; k += kLanes) zero += load(x + k) * 0.0F;
  return total(zero) == 0.0F;
}

struct BitmapBlocks {
  const LinearArgs& args;
  const FewRows& x;
  bool finite = true;

  BitmapBlocks(const LinearArgs& a, const FewRows& few) : args(a), x(few) {
    for (int i = 0; i < x.count; ++i)
      finite = finite && all_finite(x.row[i], padded(a.weight->in_features));
  }

  void times_rows(std::int64_t row_block, std::int64_t outputs, const FewSums& sums) const {
    const BitmapRows w(args, row_block * args.weight->row_block);
    typed(args.value_type, args.values, [&]<class V>(const V*) {
      int i = 0;
      if (!finite)
        for (; i < x.count; ++i) block_times_any_x<V>(w, outputs, x.row[i], sums.row[i]);
      for (; i + 4 <= x.count; i += 4) block_times_x<2, 4, V>(w, outputs, x.row + i, sums.row + i);
      for (; i + 2 <= x.count; i += 2) block_times_x<4, 2, V>(w, outputs, x.row + i, sums.row + i);
      for (; i < x.count; ++i) block_times_x<4, 1, V>(w, outputs, x.row + i, sums.row + i);
    });
  }
};

}  // namespace
