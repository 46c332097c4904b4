// Two sparse layers on one tile of x. Sums are feature-major, as a panel is: row blocks of the
// first layer, activated in place, are the panel that the second multiplies with, at once and while
// they are in L2. Nothing is transposed or written between the two, and of h there is never more
// than kTogether features, a row block and the part of a K block that waits for the next one.
//
// All is float32. Scratch: [in] panel of x, [out] sums of y, and h, each times the tile.
#pragma once

#include <cstring>

#include "cpu/mlp/args.h"
#include "cpu/tile/tiled.h"

namespace {

using secateur::MlpArgs;

// Features of h that the second layer waits for: it loads and stores its sums once for all of them.
// With all of h at once they would leave L2 again; Zen 3 was slower with 256 and with all.
constexpr std::int64_t kTogether = 512;

// f on `features` rows of the tile where they lie; four at a time, for f is a long chain.
template <class T, class F>
void map_tile(std::int64_t features, float* sums, F f) {
  const std::int64_t floats = features * T::kRows;
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= floats; i += 4 * kLanes) {
    SECATEUR_UNROLL
    for (int v = 0; v < 4; ++v) store(sums + i + v * kLanes, f(load(sums + i + v * kLanes)));
  }
  for (; i < floats; i += kLanes) store(sums + i, f(load(sums + i)));
}

template <class T>
void activate_tile(Act act, std::int64_t features, float* sums) {
  switch (act) {
    case Act::none:
      return;
    case Act::relu:
      return map_tile<T>(features, sums, [](Vec v) { return relu(v); });
    case Act::gelu:
      return map_tile<T>(features, sums, [](Vec v) { return gelu(v); });
    case Act::gelu_tanh:
      return map_tile<T>(features, sums, [](Vec v) { return gelu_tanh(v); });
    case Act::silu:
      return map_tile<T>(features, sums, [](Vec v) { return silu(v); });
    case Act::relu6:
      return map_tile<T>(features, sums, [](Vec v) { return relu6(v); });
  }
}

// h on its way from the first layer to the second.
template <class Blocks, class T>
struct Hidden {
  const MlpArgs& args;
  Blocks first, second;
  float* features;
  std::int64_t held = 0;  // features that the second layer has not met yet
  std::int64_t next = 0;  // K block of the second layer that they begin with

  Hidden(const MlpArgs& a, float* scratch)
      : args(a), first(a.first), second(a.second), features(scratch) {}

  // Row block `b` of the first layer.
  void grow(std::int64_t b, const float* panel) {
    const Header& h = *args.first.weight;
    const std::int64_t begin = b * h.row_block;
    const std::int64_t count = secateur::smaller(h.row_block, h.out_features - begin);
    float* fresh = features + held * T::kRows;
    start_sums<T>(args.first.bias ? args.first.bias + begin : nullptr, count, fresh);
    for (std::int64_t k = 0; k < secateur::k_blocks(h); ++k)
      first.template times_panel<T>(b, k, panel + k * h.k_block * T::kRows, Buffered<T>{fresh});
    activate_tile<T>(args.first.act, count, fresh);
    held += count;
  }

  // Adds every whole K block of what is held to the sums of y; with `all`, the rest too.
  void drain(bool all, float* sums) {
    const Header& h = *args.second.weight;
    const std::int64_t deep = all ? secateur::ceil_div(held, h.k_block) : held / h.k_block;
    for (std::int64_t b = 0; b < secateur::row_blocks(h); ++b)
      for (std::int64_t k = 0; k < deep; ++k)
        second.template times_panel<T>(b, next + k, features + k * h.k_block * T::kRows,
                                       Buffered<T>{sums + b * h.row_block * T::kRows});
    next += deep;
    held = all ? 0 : held - deep * h.k_block;
    std::memmove(features, features + deep * h.k_block * T::kRows,
                 static_cast<std::size_t>(held * T::kRows) * sizeof(float));
  }
};

// At most T::kRows rows of x, from `row` on.
template <class Blocks, class T>
void tile_through_mlp(const MlpArgs& a, std::int64_t row, std::int64_t rows, float* scratch) {
  const Header& first = *a.first.weight;
  const std::int64_t in = first.in_features, out = a.second.weight->out_features;
  const std::int64_t stride = a.first.x_stride;
  float* panel = scratch;
  float* sums = panel + in * T::kRows;
  Hidden<Blocks, T> hidden(a, sums + out * T::kRows);
  const auto* x = static_cast<const float*>(a.first.x) + row * stride;
  pack_panel<T::kRows>(x, stride, rows, in, panel);
  start_sums<T>(a.second.bias, out, sums);
  const std::int64_t blocks = secateur::row_blocks(first);
  for (std::int64_t b = 0; b < blocks; ++b) {
    hidden.grow(b, panel);
    const bool last = b + 1 == blocks;
    if (last || hidden.held >= kTogether) hidden.drain(last, sums);
  }
  const Store to = store_at(a.second, row, 0, rows, out);
  store_tile<T::kRows>(sums, to, static_cast<float*>(to.y));
}

// A narrower tile reads the weights more often; that costs more than sums that leave L2.
template <class Blocks, int kVectors>
void mlp_rows(const MlpArgs& a, const Part& part, std::int64_t row, float* scratch) {
  using T = Tile<kVectors, sets_for(kVectors)>;
  const Header &first = *a.first.weight, &second = *a.second.weight;
  const std::int64_t deepest = first.k_block > second.k_block ? first.k_block : second.k_block;
  const bool fits = deepest * T::kRows * 4 <= kPanelBytes;
  for (; row < part.row_end; row += T::kRows) {
    const std::int64_t left = part.row_end - row;
    if (kVectors > 1 && (!fits || left * 4 <= T::kRows * 3))
      return mlp_rows<Blocks, (kVectors > 1 ? kVectors / 2 : 1)>(a, part, row, scratch);
    tile_through_mlp<Blocks, T>(a, row, secateur::smaller(left, T::kRows), scratch);
  }
}

template <class Blocks>
void mlp_run(const MlpArgs& a, const Part& part, float* scratch) {
  mlp_rows<Blocks, kWidest>(a, part, part.row_begin, scratch);
}

int mlp_rank(const Header&, std::int64_t) { return 1; }

std::int64_t mlp_scratch(const Header& outline, std::int64_t) {
  const std::int64_t hidden = kTogether + outline.row_block + outline.k_block;
  return (outline.in_features + static_cast<std::int64_t>(outline.out_features) + hidden) *
         kWidest * kLanes;
}

}  // namespace
