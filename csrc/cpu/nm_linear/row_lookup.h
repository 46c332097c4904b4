// nm x few rows of x, AVX-512, where 16 kept weights of a row lie within 64 columns and M is a power
// of two (2:4, 4:8, 3:4, 1:4): their x values are one lookup (vpermi2ps) in two registers, or two in
// four. Four rows of the weight go together, so that those registers are loaded once for all.
// Bound: shuffle ports, 4 cycles for 16 weights of 16 bits, 3 for floats; from DRAM, 2.125 bytes a
// weight of the dense layer with floats (2:4), 1.125 with 16 bits.
#pragma once

#include "cpu/nm_linear/blocks.h"
#include "cpu/row/avx512.h"
#include "cpu/row/few.h"

namespace {

constexpr int kMostSpans = kMostKept / 16;
constexpr int kWidestSpan = 64;    // columns
constexpr int kMostFewRows = 8;    // of x: from here on the tiled kernel is as fast
constexpr int kPieceFloats = 256 + kWidestSpan;  // of x for one K block, and what a span reads past

// Columns within which 16 weights lie, wherever they begin: whole groups.
SECATEUR_INLINE int columns_of_16(const Header& h) {
  const int common = h.n & -h.n;  // what every multiple of 16 and N have in common, N at most 16
  return ((h.n - common + 15) / h.n + 1) * h.m;
}

// Where the weights of each span of 16 have their columns: counted from `first`, lane j's group
// starts at start[j].
struct NmSpans {
  alignas(64) std::int32_t start[kMostSpans][16];
  int first[kMostSpans];
  __mmask16 upper[kMostSpans];  // lanes whose columns are the 32nd and later

  NmSpans(const Header& h, int kept) {
    int group = 0, place = 0;
    for (int s = 0; 16 * s < kept; ++s) {
      first[s] = group * h.m;
      unsigned far = 0;
      for (int j = 0; j < 16; ++j) {
        start[s][j] = group * h.m - first[s];
        far |= (start[s][j] >= 32 ? 1U : 0U) << j;
        if (++place == h.n) place = 0, ++group;
      }
      upper[s] = static_cast<__mmask16>(far);
    }
  }
};

// The columns of x of one span.
template <int kTables>
struct Window {
  __m512 x[kTables];

  SECATEUR_INLINE explicit Window(const float* from) {
    SECATEUR_UNROLL
    for (int i = 0; i < kTables; ++i) x[i] = _mm512_loadu_ps(from + 16 * i);
  }

  SECATEUR_INLINE __m512 operator()(__m512i k, __mmask16 upper) const {
    const __m512 low = _mm512_permutex2var_ps(x[0], k, x[1]);
    if constexpr (kTables == 2) return low;
    return _mm512_mask_blend_ps(upper, low, _mm512_permutex2var_ps(x[kTables - 2], k, x[kTables - 1]));
  }
};

// Codes of kBits; kX rows of x.
template <int kBits, int kTables, int kX, class V>
struct NmLookup {
  const NmSpans& spans;
  const float* x[kX];  // their pieces
  float* y[kX];
  __m512i shift, code_mask;

  NmLookup(const Header& h, const NmSpans& s) : spans(s), code_mask(_mm512_set1_epi32(h.m - 1)) {
    alignas(64) std::int32_t shifts[16];
    for (int j = 0; j < 16; ++j) shifts[j] = j * kBits % 32;
    shift = _mm512_load_si512(shifts);
  }

  // Lane j's column, from its span's first. The second word of 4-bit codes is only there if more
  // than 8 weights are.
  SECATEUR_INLINE __m512i columns(const std::uint32_t* codes, int s, bool second) const {
    __m512i word = _mm512_set1_epi32(static_cast<int>(codes[0]));
    if (kBits == 4 && second)
      word = _mm512_mask_set1_epi32(word, 0xFF00, static_cast<int>(codes[1]));
    constexpr int kFirstAndSecondOrThird = 0xEA;
    return _mm512_ternarylogic_epi32(_mm512_srlv_epi32(word, shift), code_mask,
                                     _mm512_load_si512(spans.start[s]), kFirstAndSecondOrThird);
  }

  // The dot products of four rows of the weight, `apart` from one to the next.
  SECATEUR_INLINE void dot(const NmBlock& b, int apart, __m512 (&sum)[kX][4]) const {
    const V* w[4];
    const std::uint32_t* codes[4];
    SECATEUR_UNROLL
    for (int r = 0; r < 4; ++r) {
      w[r] = b.w.as<V>() + static_cast<std::int64_t>(r) * apart * b.kept;
      codes[r] = b.codes + static_cast<std::int64_t>(r) * apart * b.words;
      SECATEUR_UNROLL
      for (int i = 0; i < kX; ++i) sum[i][r] = _mm512_setzero_ps();
    }
    const auto each = [&](int s, auto add) {
      const auto window = [&](int i) { return Window<kTables>(x[i] + spans.first[s]); };
      if constexpr (kX == 1) {
        const Window<kTables> at[1] = {window(0)};
        SECATEUR_UNROLL
        for (int r = 0; r < 4; ++r) add(r, s, at);
      } else if constexpr (kX == 2) {
        const Window<kTables> at[2] = {window(0), window(1)};
        SECATEUR_UNROLL
        for (int r = 0; r < 4; ++r) add(r, s, at);
      } else {
        const Window<kTables> at[4] = {window(0), window(1), window(2), window(3)};
        SECATEUR_UNROLL
        for (int r = 0; r < 4; ++r) add(r, s, at);
      }
    };
    const int whole = b.kept / 16;
    for (int s = 0; s < whole; ++s)
      each(s, [&](int r, int span, const Window<kTables>* at) {
        const __m512i k = columns(codes[r] + span * kBits / 2, span, true);
        const __m512 weights = load(w[r] + 16 * span);
        SECATEUR_UNROLL
        for (int i = 0; i < kX; ++i)
          sum[i][r] = _mm512_fmadd_ps(weights, at[i](k, spans.upper[span]), sum[i][r]);
      });
    // Masked, not multiplied by zero: lanes beyond may look up an infinity.
    if (const int rest = b.kept % 16; rest != 0)
      each(whole, [&](int r, int span, const Window<kTables>* at) {
        const __m512i k = columns(codes[r] + span * kBits / 2, span, rest > 8);
        const __m512 weights = load(w[r] + 16 * span);
        SECATEUR_UNROLL
        for (int i = 0; i < kX; ++i)
          sum[i][r] = _mm512_mask3_fmadd_ps(weights, at[i](k, spans.upper[span]), sum[i][r],
                                            first_lanes(rest));
      });
  }

  // Four rows at a time, each from its quarter of the block: DRAM gives one core a third more when
  // it is read at several places at once.
  void block(NmBlock b) const {
    const int quarter = b.rows / 4;
    for (int o = 0; o < quarter; ++o, b.next_row()) finish(b, o, quarter, 4);
    b.skip(3 * quarter);
    for (int o = 4 * quarter; o < b.rows; ++o, b.next_row()) finish(b, o, 0, 1);
  }

  SECATEUR_INLINE void finish(const NmBlock& b, int row, int apart, int count) const {
    __m512 sum[kX][4];
    dot(b, apart, sum);
    SECATEUR_UNROLL
    for (int i = 0; i < kX; ++i) {
      alignas(16) float four[4];
      _mm_store_ps(four, sums_of_4(sum[i]));
      for (int r = 0; r < count; ++r) {
        const int o = row + r * apart;
        y[i][o] += std::is_same_v<V, I8> ? four[r] * b.w.scale[o] : four[r];
      }
    }
  }
};

// Rows [from, from + kX) of x and of the sums.
template <int kBits, int kTables, int kX, class V>
[[gnu::noinline]] void lookup_block(const Header& h, const NmBlock& b, const NmSpans& spans,
                                    const float (*pieces)[kPieceFloats], float* const* y) {
  NmLookup<kBits, kTables, kX, V> lookup(h, spans);
  for (int i = 0; i < kX; ++i) {
    lookup.x[i] = pieces[i];
    lookup.y[i] = y[i];
  }
  lookup.block(b);
}

struct NmLookupBlocks {
  const LinearArgs& args;
  const FewRows& x;
  const NmSpans spans;

  NmLookupBlocks(const LinearArgs& a, const FewRows& few)
      : args(a), x(few), spans(*a.weight, a.weight->k_block / a.weight->m * a.weight->n) {}

  void times_rows(std::int64_t row_block, std::int64_t, const FewSums& sums) const {
    const Header& h = *args.weight;
    alignas(64) float pieces[kRowsTogether][kPieceFloats] = {};
    for (std::int64_t k = 0; k < secateur::k_blocks(h); ++k) {
      const std::int64_t first = k * h.k_block;
      const std::int64_t width = secateur::smaller(h.k_block, h.in_features - first);
      for (int i = 0; i < x.count; ++i)
        for (std::int64_t at = 0; at < width; at += 16)
          _mm512_store_ps(pieces[i] + at, load_first(x.row[i] + first + at, width - at));
      const NmBlock b(args, row_block, k);
      typed(args.value_type, args.values, [&]<class V>(const V*) {
        const bool four_bits = NmBlock::code_bits(h) == 4, narrow = columns_of_16(h) <= 32;
        if (four_bits)
          narrow ? rows_of_x<4, 2, V>(b, pieces, sums) : rows_of_x<4, 4, V>(b, pieces, sums);
        else
          narrow ? rows_of_x<2, 2, V>(b, pieces, sums) : rows_of_x<2, 4, V>(b, pieces, sums);
      });
    }
  }

 private:
  // Windows of four registers leave room for two rows of x.
  template <int kBits, int kTables, class V>
  SECATEUR_INLINE void rows_of_x(const NmBlock& b, const float (*pieces)[kPieceFloats],
                                 const FewSums& sums) const {
    const Header& h = *args.weight;
    int i = 0;
    if constexpr (kTables == 2)
      for (; i + 4 <= x.count; i += 4)
        lookup_block<kBits, kTables, 4, V>(h, b, spans, pieces + i, sums.row + i);
    for (; i + 2 <= x.count; i += 2)
      lookup_block<kBits, kTables, 2, V>(h, b, spans, pieces + i, sums.row + i);
    for (; i < x.count; ++i)
      lookup_block<kBits, kTables, 1, V>(h, b, spans, pieces + i, sums.row + i);
  }
};

int nm_lookup_rank(const Header& h, std::int64_t rows) {
  const bool power = (h.m & (h.m - 1)) == 0;
  return rows <= kMostFewRows && power && columns_of_16(h) <= kWidestSpan ? 3 : 0;
}

}  // namespace
