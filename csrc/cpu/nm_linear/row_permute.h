// nm x one row of x, AVX2, where 8 kept weights span 16 columns (1:2, 2:4, 4:8): their x values are
// two in-lane permutations (vpermilps) and a blend. No table, no gather, and nothing that crosses
// lanes: vpermps costs four times as much on Zen 3. Bound: two shuffle ports, 1.5 cycles for 16
// weights of the dense layer; from DRAM, 2.125 bytes a weight of the dense layer (2:4).
#pragma once

#include <immintrin.h>

#include "cpu/nm_linear/blocks.h"
#include "cpu/row/row.h"

namespace {

// 16 columns of x, zero beyond the last: quads 0 and 2, quads 1 and 3.
struct Quads {
  __m256 even, odd;
};

constexpr int kMostSpans = 256 / 16;

inline void spans_of(const float* x, std::int64_t width, Quads* spans) {
  for (std::int64_t k = 0; k < width; k += 16) {
    alignas(32) float piece[16] = {};
    for (std::int64_t i = 0; i < secateur::smaller(16, width - k); ++i) piece[i] = x[k + i];
    const __m256 low = _mm256_load_ps(piece), high = _mm256_load_ps(piece + 8);
    *spans++ = {_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31)};
  }
}

// The x values of 8 weights, by pattern.
template <int kN>
struct Permute {
  static constexpr int kBits = kN == 4 ? 4 : 2;
  static constexpr int kWeights = 32 / kBits;  // in a word of codes
  __m256i shift[kWeights / 8];

  Permute() {
    for (int i = 0; i < kWeights; i += 8)
      shift[i / 8] = _mm256_add_epi32(
          _mm256_set1_epi32(i * kBits),
          _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(kBits)));
  }

  // The codes of span `s`, each at the bottom of its lane; what lies above is not looked at.
  SECATEUR_INLINE __m256i codes(const std::uint32_t* words, int s) const {
    const std::uint32_t word = words[kWeights == 8 ? s : s / 2];
    const __m256i all = _mm256_set1_epi32(static_cast<int>(word));
    return _mm256_srlv_epi32(all, shift[kWeights == 8 ? 0 : s % 2]);
  }

  SECATEUR_INLINE static __m256 pick(const Quads& x, __m256i code) {
    if constexpr (kN == 1) code = _mm256_add_epi32(code, _mm256_setr_epi32(0, 2, 0, 2, 0, 2, 0, 2));
    const __m256 even = _mm256_permutevar_ps(x.even, code);
    const __m256 odd = _mm256_permutevar_ps(x.odd, code);
    if constexpr (kN < 4) return _mm256_blend_ps(even, odd, 0b11001100);
    return _mm256_blendv_ps(even, odd, _mm256_castsi256_ps(_mm256_slli_epi32(code, 29)));
  }
};

SECATEUR_INLINE __m256i first_of_8(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

SECATEUR_INLINE __m128 sums_of_4(const __m256 (&v)[4]) {
  const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
  return _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
}

template <int kN, class V>
struct NmPermute {
  const Permute<kN> permute;

  // kRows rows, `apart` rows from one to the next, whose x values are loaded once.
  template <int kRows>
  SECATEUR_INLINE void dot(const NmBlock& b, int apart, const Quads* x, __m256 (&sum)[4]) const {
    const V* w[kRows];
    const std::uint32_t* codes[kRows];
    SECATEUR_UNROLL
    for (int r = 0; r < kRows; ++r) {
      w[r] = b.w.as<V>() + static_cast<std::int64_t>(r) * apart * b.kept;
      codes[r] = b.codes + static_cast<std::int64_t>(r) * apart * b.words;
      sum[r] = _mm256_setzero_ps();
    }
    const auto add = [&](int r, __m256 weights, int s) {
      sum[r] = _mm256_fmadd_ps(weights, permute.pick(x[s], permute.codes(codes[r], s)), sum[r]);
    };
    int s = 0;
    for (; 8 * s + 16 <= b.kept; s += 2) {
      SECATEUR_UNROLL
      for (int r = 0; r < kRows; ++r) add(r, load(w[r] + 8 * s), s);
      SECATEUR_UNROLL
      for (int r = 0; r < kRows; ++r) add(r, load(w[r] + 8 * s + 8), s + 1);
    }
    for (; 8 * s < b.kept; ++s) {
      const int left = b.kept - 8 * s < 8 ? b.kept - 8 * s : 8;
      for (int r = 0; r < kRows; ++r) {
        alignas(32) float rest[8] = {};
        for (int i = 0; i < left; ++i) rest[i] = to_float(w[r] + 8 * s + i);
        add(r, _mm256_load_ps(rest), s);
      }
    }
  }

  // Four rows at a time, each from its quarter of the block: DRAM gives one core a third more when
  // it is read at several places at once.
  void block(NmBlock b, const Quads* x, float* y) const {
    __m256 sum[4];
    const auto finish = [&](int row, float total) {
      y[row] += b.w.scale ? total * b.w.scale[row] : total;
    };
    const int quarter = b.rows / 4;
    int i = 0;
    for (; i < quarter; ++i, b.next_row()) {
      dot<4>(b, quarter, x, sum);
      alignas(16) float four[4];
      _mm_store_ps(four, sums_of_4(sum));
      for (int r = 0; r < 4; ++r) finish(i + r * quarter, four[r]);
    }
    b.skip(3 * quarter);
    for (i = 4 * quarter; i < b.rows; ++i, b.next_row()) {
      dot<1>(b, 0, x, sum);
      sum[1] = sum[2] = sum[3] = _mm256_setzero_ps();
      finish(i, _mm_cvtss_f32(sums_of_4(sum)));
    }
  }
};

template <class V>
[[gnu::noinline]] void permute_block(const NmBlock& b, int n, const Quads* x, float* y) {
  if (n == 1) return NmPermute<1, V>().block(b, x, y);
  if (n == 2) return NmPermute<2, V>().block(b, x, y);
  NmPermute<4, V>().block(b, x, y);
}

struct NmPermuteBlocks {
  const LinearArgs& args;

  explicit NmPermuteBlocks(const LinearArgs& a) : args(a) {}

  void times_row(std::int64_t row_block, std::int64_t k_block, const float* x, float* y) const {
    const Header& h = *args.weight;
    Quads spans[kMostSpans];
    spans_of(x, secateur::smaller(h.k_block, h.in_features - k_block * h.k_block), spans);
    const NmBlock b(args, row_block, k_block);
    typed(args.value_type, args.values,
          [&]<class V>(const V*) { permute_block<V>(b, h.n, spans, y); });
  }
};

int nm_permute_rank(const Header& h, std::int64_t rows) {
  return rows == 1 && h.m == 2 * h.n && h.m <= 8 && 4 % h.n == 0 ? 3 : 0;
}

}  // namespace
