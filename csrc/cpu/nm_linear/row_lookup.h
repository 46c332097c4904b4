// nm x few rows of x, AVX-512, where 16 kept weights of a row lie within 64 columns and M is a
// power of two (2:4, 4:8, 3:4, 1:4): their x values are one lookup (vpermi2ps) in two registers, or
// two in four. Four rows of the weight go together, so that those registers are loaded once for
// all. Bound: the work to decode and look up, 2.5 cycles for 16 floats and 3 for 16 narrow values.
// From DRAM, 2.125 bytes a weight of the dense layer with floats (2:4), 1.125 with 16 bits.
#pragma once

#include "cpu/nm_linear/blocks.h"
#include "cpu/row/avx512.h"
#include "cpu/row/few.h"

namespace {

constexpr int kMostSpans = kMostKept / 16;
constexpr int kWidestSpan = 64;  // columns
constexpr int kMostFewRows = 8;  // of x: from here on the tiled kernel is as fast
constexpr int kPieceFloats =
    256 + kWidestSpan + 16;  // of one K block, and what a span reads past it

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
    return _mm512_mask_blend_ps(upper, low,
                                _mm512_permutex2var_ps(x[kTables - 2], k, x[kTables - 1]));
  }
};

// Rows of the weight go four at a time, each from its quarter of the row block: DRAM gives one core
// a third more when it is read at several places at once. Their sums, 16 lanes each, lie in the
// order of the work: far apart, those of four rows of x would all be of one set of L1.
struct LaneSums {
  float* lanes;  // [slot, row of x, 16]
  int count;     // rows of x

  SECATEUR_INLINE float* of(std::int64_t slot, int i) const {
    return lanes + 16 * (slot * count + i);
  }

  void clear(std::int64_t outputs) const {
    for (std::int64_t s = 0; s < outputs * count; ++s)
      _mm512_store_ps(lanes + 16 * s, _mm512_setzero_ps());
  }

  // Row i of x: the sums of the lanes, times each output's scale, on top of y.
  void add_up(std::int64_t outputs, int i, const float* scale, float* y) const {
    const std::int64_t quarter = outputs / 4;
    const auto add = [&](std::int64_t o, float sum) { y[o] += scale ? sum * scale[o] : sum; };
    for (std::int64_t o = 0; o < quarter; ++o) {
      __m512 lane[4];
      SECATEUR_UNROLL
      for (int r = 0; r < 4; ++r) lane[r] = _mm512_load_ps(of(4 * o + r, i));
      alignas(16) float four[4];
      _mm_store_ps(four, sums_of_4(lane));
      for (int r = 0; r < 4; ++r) add(o + r * quarter, four[r]);
    }
    for (std::int64_t o = 4 * quarter; o < outputs; ++o)
      add(o, _mm512_reduce_add_ps(_mm512_load_ps(of(o, i))));
  }
};

// Codes of kBits; kX rows of x.
template <int kBits, int kTables, int kX, class V>
struct NmLookup {
  const NmSpans& spans;
  const float* x[kX];  // their pieces
  LaneSums sums;
  int from;  // the first of them
  __m512i shift, code_mask;

  NmLookup(const Header& h, const NmSpans& s, const LaneSums& to, int first_row)
      : spans(s), sums(to), from(first_row), code_mask(_mm512_set1_epi32(h.m - 1)) {
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

  // kRows rows of the weight, `apart` from one to the next; their sums from `slot` on.
  template <int kRows>
  SECATEUR_INLINE void rows(const NmBlock& b, int slot, int apart) const {
    const V* w[kRows];
    const std::uint32_t* codes[kRows];
    __m512 sum[kX][kRows];
    SECATEUR_UNROLL
    for (int r = 0; r < kRows; ++r) {
      w[r] = b.w.as<V>() + static_cast<std::int64_t>(r) * apart * b.kept;
      codes[r] = b.codes + static_cast<std::int64_t>(r) * apart * b.words;
      SECATEUR_UNROLL
      for (int i = 0; i < kX; ++i) sum[i][r] = _mm512_load_ps(sums.of(slot + r, from + i));
    }
    // The span's weights of every row; the lanes that are not there stay, whatever they look up.
    const auto add = [&](int s, bool second, auto multiply_add) {
      const Window<kTables> at[] = {Window<kTables>(x[0] + spans.first[s]),
                                    Window<kTables>(x[kX > 1 ? 1 : 0] + spans.first[s]),
                                    Window<kTables>(x[kX > 2 ? 2 : 0] + spans.first[s]),
                                    Window<kTables>(x[kX > 2 ? 3 : 0] + spans.first[s])};
      SECATEUR_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const __m512i k = columns(codes[r] + s * kBits / 2, s, second);
        const __m512 weights = load(w[r] + 16 * s);
        SECATEUR_UNROLL
        for (int i = 0; i < kX; ++i) multiply_add(sum[i][r], weights, at[i](k, spans.upper[s]));
      }
    };
    const int whole = b.kept / 16, rest = b.kept % 16;
    for (int s = 0; s < whole; ++s)
      add(s, true, [](__m512& to, __m512 a, __m512 c) { to = _mm512_fmadd_ps(a, c, to); });
    if (rest != 0)
      add(whole, rest > 8, [&](__m512& to, __m512 a, __m512 c) {
        to = _mm512_mask3_fmadd_ps(a, c, to, first_lanes(rest));
      });
    SECATEUR_UNROLL
    for (int r = 0; r < kRows; ++r) {
      SECATEUR_UNROLL
      for (int i = 0; i < kX; ++i) _mm512_store_ps(sums.of(slot + r, from + i), sum[i][r]);
    }
  }

  void block(NmBlock b) const {
    const int quarter = b.rows / 4;
    for (int o = 0; o < quarter; ++o, b.next_row()) rows<4>(b, 4 * o, quarter);
    b.skip(3 * quarter);
    for (int o = 4 * quarter; o < b.rows; ++o, b.next_row()) rows<1>(b, o, 0);
  }
};

// kX rows of x, from `from` on.
template <int kBits, int kTables, int kX, class V>
[[gnu::noinline]] void lookup_block(const Header& h, const NmBlock& b, const NmSpans& spans,
                                    const float (*pieces)[kPieceFloats], const LaneSums& sums,
                                    int from) {
  NmLookup<kBits, kTables, kX, V> lookup(h, spans, sums, from);
  for (int i = 0; i < kX; ++i) lookup.x[i] = pieces[from + i];
  lookup.block(b);
}

struct NmLookupBlocks {
  const LinearArgs& args;
  const FewRows& x;
  const NmSpans spans;
  LaneSums lanes;

  NmLookupBlocks(const LinearArgs& a, const FewRows& few)
      : args(a), x(few), spans(*a.weight, a.weight->k_block / a.weight->m * a.weight->n) {
    const auto at = (reinterpret_cast<std::uintptr_t>(few.spare) + 63) / 64 * 64;
    lanes = {reinterpret_cast<float*>(at), x.count};
  }

  void times_rows(std::int64_t row_block, std::int64_t outputs, const FewSums& sums) const {
    const Header& h = *args.weight;
    lanes.clear(outputs);
    for (std::int64_t k = 0; k < secateur::k_blocks(h); ++k) times_k_block(row_block, k);
    const float* scale = args.scale ? args.scale + row_block * h.row_block : nullptr;
    for (int i = 0; i < x.count; ++i) lanes.add_up(outputs, i, scale, sums.row[i]);
  }

 private:
  void times_k_block(std::int64_t row_block, std::int64_t k_block) const {
    const Header& h = *args.weight;
    alignas(64) float pieces[kRowsTogether][kPieceFloats];
    const std::int64_t first = k_block * h.k_block;
    const std::int64_t width = secateur::smaller(h.k_block, h.in_features - first);
    for (int i = 0; i < x.count; ++i)
      for (std::int64_t at = 0; at < width + kWidestSpan; at += 16)
        store(pieces[i] + at, load_first(x.row[i] + first + at, width - at));
    const NmBlock b(args, row_block, k_block);
    typed(args.value_type, args.values, [&]<class V>(const V*) {
      const bool narrow = columns_of_16(h) <= 32;
      if (NmBlock::code_bits(h) == 4)
        narrow ? rows_of_x<4, 2, V>(b, pieces) : rows_of_x<4, 4, V>(b, pieces);
      else
        narrow ? rows_of_x<2, 2, V>(b, pieces) : rows_of_x<2, 4, V>(b, pieces);
    });
  }

  // Windows of four registers leave room for two rows of x.
  template <int kBits, int kTables, class V>
  SECATEUR_INLINE void rows_of_x(const NmBlock& b, const float (*pieces)[kPieceFloats]) const {
    const Header& h = *args.weight;
    int i = 0;
    if constexpr (kTables == 2)
      for (; i + 4 <= x.count; i += 4)
        lookup_block<kBits, kTables, 4, V>(h, b, spans, pieces, lanes, i);
    for (; i + 2 <= x.count; i += 2)
      lookup_block<kBits, kTables, 2, V>(h, b, spans, pieces, lanes, i);
    for (; i < x.count; ++i) lookup_block<kBits, kTables, 1, V>(h, b, spans, pieces, lanes, i);
  }
};

int nm_lookup_rank(const Header& h, std::int64_t rows) {
  const bool power = (h.m & (h.m - 1)) == 0;
  return rows <= kMostFewRows && power && columns_of_16(h) <= kWidestSpan ? 3 : 0;
}

std::int64_t nm_lookup_scratch(const Header& h, std::int64_t rows) {
  return few_scratch(h, rows) + 16 * (kRowsTogether * h.row_block + 1);
}

}  // namespace
