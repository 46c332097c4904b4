// nm x one row of x, AVX-512, where 16 kept weights span 32 columns (1:2, 2:4, 4:8, 8:16): their x
// values are one lookup (vpermi2ps) in two registers. Bound: 3 cycles for 32 weights of the dense
// layer; from DRAM, 2.125 bytes a weight of the dense layer (2:4).
#pragma once

#include "cpu/nm_linear/blocks.h"
#include "cpu/row/avx512.h"
#include "cpu/row/row.h"

namespace {

// Lane j's column among its 32: where its group starts, plus its code.
template <int kBits>
struct LaneColumns {
  __m512i shift, start;

  explicit LaneColumns(const Header& h) {
    alignas(64) std::int32_t shifts[16], starts[16];
    for (int j = 0; j < 16; ++j) {
      shifts[j] = j * kBits % 32;
      starts[j] = j / h.n * h.m;
    }
    shift = _mm512_load_si512(shifts);
    start = _mm512_load_si512(starts);
  }

  SECATEUR_INLINE __m512i operator()(const std::uint32_t* codes) const {
    __m512i word = _mm512_set1_epi32(static_cast<int>(codes[0]));
    if constexpr (kBits == 4)
      word = _mm512_mask_set1_epi32(word, 0xFF00, static_cast<int>(codes[1]));
    const __m512i code =
        _mm512_and_si512(_mm512_srlv_epi32(word, shift), _mm512_set1_epi32((1 << kBits) - 1));
    return _mm512_add_epi32(start, code);
  }
};

// 16 weights against 32 columns of x, held as two registers.
struct Span {
  __m512 low, high;

  SECATEUR_INLINE __m512 operator[](__m512i k) const {
    return _mm512_permutex2var_ps(low, k, high);
  }
};

template <int kBits>
struct NmLookup {
  static constexpr int kWords = kBits / 2;  // of codes, for 16 weights
  const LaneColumns<kBits> columns;

  explicit NmLookup(const Header& h) : columns(h) {}

  // Whole 16s of one row.
  SECATEUR_INLINE __m512 dot(const float* w, const std::uint32_t* codes, int spans,
                             const Span* x) const {
    __m512 sum = _mm512_setzero_ps();
    for (int s = 0; s < spans; ++s, codes += kWords)
      sum = _mm512_fmadd_ps(_mm512_loadu_ps(w + 16 * s), x[s][columns(codes)], sum);
    return sum;
  }

  // A row of a narrower last K block: masked, since lanes beyond may look up an infinity.
  SECATEUR_INLINE __m512 dot_rest(const float* w, const std::uint32_t* codes, __mmask16 there,
                                  const Span& x, __m512 sum) const {
    // The second word of 4-bit codes is only there if more than 8 weights are.
    const std::uint32_t both[2] = {codes[0], kBits == 4 && (there >> 8) ? codes[1] : 0U};
    return _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(there, w), x[columns(both)], sum, there);
  }

  void block(NmBlock b, const Span* x, float* y) const {
    const int spans = b.kept / 16;
    const __mmask16 rest = first_lanes(b.kept % 16);
    const auto next = [&] {
      const auto* w = b.w.as<float>();
      __m512 sum = dot(w, b.codes, spans, x);
      if (rest) sum = dot_rest(w + 16 * spans, b.codes + kWords * spans, rest, x[spans], sum);
      b.next_row();
      return sum;
    };
    int i = 0;
    for (; i + 4 <= b.rows; i += 4) {
      const __m512 sum[4] = {next(), next(), next(), next()};
      _mm_storeu_ps(y + i, _mm_add_ps(_mm_loadu_ps(y + i), sums_of_4(sum)));
    }
    for (; i < b.rows; ++i) y[i] += _mm512_reduce_add_ps(next());
  }
};

struct NmLookupBlocks {
  const LinearArgs& args;

  explicit NmLookupBlocks(const LinearArgs& a) : args(a) {}

  void times_row(std::int64_t row_block, std::int64_t k_block, const float* x, float* y) const {
    const Header& h = *args.weight;
    const std::int64_t width = secateur::smaller(h.k_block, h.in_features - k_block * h.k_block);
    Span spans[8];
    for (int s = 0; s < 8; ++s)
      spans[s] = {_mm512_maskz_loadu_ps(first_lanes(width - 32 * s), x + 32 * s),
                  _mm512_maskz_loadu_ps(first_lanes(width - 32 * s - 16), x + 32 * s + 16)};
    const NmBlock b(args, row_block, k_block);
    if (NmBlock::code_bits(h) == 2) return NmLookup<2>(h).block(b, spans, y);
    NmLookup<4>(h).block(b, spans, y);
  }
};

int nm_lookup_rank(const Header& h, std::int64_t rows) {
  return rows == 1 && h.m == 2 * h.n && 16 % h.n == 0 ? 3 : 0;
}

}  // namespace
