// The gradient of the kept weights: d[o, k] = sum over t of grad_y[t, o] * x[t, k], kept (o, k)
// only. Both operands are packed feature-major, as x is in a forward: a weight's gradient is then a
// dot product of two rows of a panel, and the row of grad_y stays in registers for all weights of a
// row. Bound: load ports, as in a forward; on top come 21 shuffles and additions for 8 sums.
#pragma once

#include "cpu/dw/args.h"
#include "cpu/kernel.h"
#include "cpu/tile/panel.h"
#include "cpu/vec.h"

namespace {

using secateur::DwArgs;
using secateur::Header;
using secateur::LinearArgs;
using secateur::Part;

constexpr int kWidest = kLanes == 16 ? 4 : 8;   // vectors of tokens in a tile
constexpr std::int64_t kPanelFloats = 1 << 21;  // of x, packed at a time: 8 MB

// Two vectors to one: their halves (by bit D of the lane) added crosswise.
template <int D>
SECATEUR_INLINE Vec fold(Vec a, Vec b) {
  exchange<D>(a, b, std::make_integer_sequence<int, kLanes>{});
  return a + b;
}

// One output's gradients in one tile.
template <int kVectors>
struct DwRow {
  static constexpr int kTokens = kVectors * kLanes;

  Vec g[kVectors];

  SECATEUR_INLINE explicit DwRow(const float* grad) {
    SECATEUR_UNROLL
    for (int v = 0; v < kVectors; ++v) g[v] = load(grad + v * kLanes);
  }

  SECATEUR_INLINE Vec products(const float* x) const {
    Vec even = g[0] * load(x);
    if constexpr (kVectors == 1) {
      return even;
    } else {
      Vec odd = g[1] * load(x + kLanes);
      SECATEUR_UNROLL
      for (int v = 2; v < kVectors; v += 2) {
        even += g[v] * load(x + v * kLanes);
        odd += g[v + 1] * load(x + (v + 1) * kLanes);
      }
      return even + odd;
    }
  }

  // Lane i: the sum of column[i]'s products. Depth first, so that few vectors live at once.
  template <int D, int I>
  SECATEUR_INLINE Vec sums(const std::uint8_t* column, const float* panel) const {
    if constexpr (D == kLanes)
      return products(panel + column[I] * kTokens);
    else
      return fold<D>(sums<2 * D, I>(column, panel), sums<2 * D, I + D>(column, panel));
  }

  SECATEUR_INLINE void add(float* d, const std::uint8_t* column, int kept,
                           const float* panel) const {
    int j = 0;
    for (; j + kLanes <= kept; j += kLanes)
      store(d + j, load(d + j) + sums<1, 0>(column + j, panel));
    if (j == kept) return;
    std::uint8_t rest[kLanes] = {};  // lanes beyond the last weight repeat some column, unused
    for (int i = j; i < kept; ++i) rest[i - j] = column[i];
    const Vec last = sums<1, 0>(rest, panel);
    for (int i = j; i < kept; ++i) d[i] += last[i - j];
  }
};

// Calls tile(vectors, first token, tokens) for one tile of tokens [begin, end) after another, the
// widest first. More than half a tile stays one: two narrower tiles add up lanes twice.
template <int kVectors, class Tile>
void for_each_tile(std::int64_t begin, std::int64_t end, const Tile& tile) {
  constexpr std::int64_t kTokens = kVectors * kLanes;
  for (; begin < end; begin += kTokens) {
    const std::int64_t left = end - begin;
    if constexpr (kVectors > 1)
      if (left * 2 <= kTokens) return for_each_tile<kVectors / 2>(begin, end, tile);
    tile(std::integral_constant<int, kVectors>{}, begin, secateur::smaller(left, kTokens));
  }
}

// Tokens packed at a time, in whole tiles.
inline std::int64_t tokens_together(const Header& h, std::int64_t tokens) {
  constexpr std::int64_t kTokens = kWidest * kLanes;
  const std::int64_t some = kPanelFloats / (static_cast<std::int64_t>(h.in_features) * kTokens);
  const std::int64_t all = secateur::ceil_div(tokens, kTokens);
  return secateur::smaller(all, some > 1 ? some : 1) * kTokens;
}

// `Walk` is the format: it calls row(local row, values, columns, kept) for each row of a block,
// where `values` point into the gradient. `x_panel` holds the tile's tokens of x.
template <int kVectors, class Walk>
void dw_tile(const DwArgs& a, const Walk& walk, std::int64_t b, std::int64_t token,
             std::int64_t tokens, const float* x_panel, float* grad_panel) {
  constexpr int kTokens = kVectors * kLanes;
  const Header& h = *a.weight;
  const std::int64_t first = b * h.row_block;
  const std::int64_t outputs = secateur::smaller(h.row_block, h.out_features - first);
  pack_panel<kTokens>(a.grad_y + token * a.grad_stride + first, a.grad_stride, tokens, outputs,
                      grad_panel);
  for (std::int64_t k = 0; k < secateur::k_blocks(h); ++k) {
    const float* panel = x_panel + k * h.k_block * kTokens;
    walk(b, k, [&](int row, float* d, const std::uint8_t* column, int kept) {
      DwRow<kVectors>(grad_panel + row * kTokens).add(d, column, kept, panel);
    });
  }
}

template <class Walk>
void dw_run(const DwArgs& a, const Part& part, float* scratch) {
  const Walk walk(a);
  const std::int64_t in = a.weight->in_features;
  const std::int64_t together = tokens_together(*a.weight, a.tokens);
  float* grad_panel = scratch + together * in;
  for (std::int64_t first = 0; first < a.tokens; first += together) {
    const std::int64_t last = secateur::smaller(first + together, a.tokens);
    for_each_tile<kWidest>(first, last, [&](auto vectors, std::int64_t t, std::int64_t tokens) {
      pack_panel<vectors * kLanes>(a.x + t * a.x_stride, a.x_stride, tokens, in,
                                   scratch + (t - first) * in);
    });
    for (std::int64_t b = part.block_begin; b < part.block_end; ++b)
      for_each_tile<kWidest>(first, last, [&](auto vectors, std::int64_t t, std::int64_t tokens) {
        dw_tile<vectors>(a, walk, b, t, tokens, scratch + (t - first) * in, grad_panel);
      });
  }
}

int dw_rank(const Header&, std::int64_t) { return 1; }

std::int64_t dw_scratch(const Header& h, std::int64_t tokens) {
  return tokens_together(h, tokens) * h.in_features +
         static_cast<std::int64_t>(h.row_block) * kWidest * kLanes;
}

}  // namespace
