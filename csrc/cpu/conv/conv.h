// Sparse convolution on panels: the tile of a linear layer (tile/), filled from planes. A panel row
// is one weight column (tap, channel) at up to 64 consecutive positions; it is copied once a tile
// and read once for each kept weight of its column. Nothing of the size of an unfolded x exists.
// Source of the scheme: Park et al., "Faster CNNs with Direct Sparse Convolutions" (ICLR 2017), and
// Elsen et al., "Fast Sparse ConvNets" (CVPR 2020); panels and phases are added here.
#pragma once

#include "cpu/conv/planes.h"
#include "cpu/conv/store.h"
#include "cpu/tile/tiled.h"

namespace {

// The planes of one image, and where each weight column is found in them.
struct Image {
  const ConvArgs& args;
  Planes planes;
  std::int64_t deep;  // channels of a group
  const float* start = nullptr;
  float* room;

  Image(const ConvArgs& c, float* scratch)
      : args(c), planes(c, kLanes), deep(c.channels / c.groups), room(scratch) {
    if (Planes::plain(c)) planes.plane = planes.channel = planes.positions;
  }

  // Floats of scratch it takes.
  std::int64_t floats() const { return Planes::plain(args) ? 0 : planes.channel * args.channels; }

  void open(std::int64_t n) {
    if (Planes::plain(args)) {
      start = static_cast<const float*>(args.layer.x) + n * args.channels * planes.channel;
    } else {
      make_planes(args, planes, n, room);
      start = room;
    }
  }

  std::int64_t tap_offset(std::int64_t tap) const {
    const Axis &h = args.high, &w = args.wide;
    const std::int64_t p = tap / w.kernel, q = tap % w.kernel;
    return (h.slot(p) * w.slots() + w.slot(q)) * planes.plane + h.shift(p) * planes.pitch +
           w.shift(q);
  }

  // The last of x may be the last of its memory.
  SECATEUR_INLINE static void copy_start(const float* x, std::int64_t count, float* to) {
    std::int64_t t = 0;
    for (; t + kLanes <= count; t += kLanes) store(to + t, load(x + t));
    if (t == count) return;
    store(to + t, Vec{});
    for (; t < count; ++t) to[t] = x[t];
  }

  // Weight columns [k, k + count) of `group` at positions [from, from + width) to the panel.
  template <class T>
  [[gnu::noinline]] void fill(std::int64_t group, std::int64_t k, std::int64_t count,
                              std::int64_t from, std::int64_t width, float* panel) const {
    while (count > 0) {
      const std::int64_t tap = k / deep, channel = k % deep;
      const std::int64_t some = secateur::smaller(count, deep - channel);
      const float* x = start + (group * deep + channel) * planes.channel + tap_offset(tap) + from;
      for (std::int64_t i = 0; i < some; ++i, x += planes.channel, panel += T::kRows) {
        if (width == T::kRows) {
          SECATEUR_UNROLL
          for (int t = 0; t < T::kRows; t += kLanes) store(panel + t, load(x + t));
        } else {
          copy_start(x, width, panel);
        }
      }
      k += some;
      count -= some;
    }
  }
};

// Positions [from, from + width) of image n, at most a tile, for the outputs of `part`.
template <class Blocks, class T>
void conv_tile(const Image& image, const Part& part, std::int64_t n, std::int64_t from,
               std::int64_t width, float* scratch) {
  const ConvArgs& c = image.args;
  const Header& h = *c.layer.weight;
  const Blocks blocks(c.layer);
  const Segments segments(c, image.planes.pitch, from, width);
  float* panel = scratch;
  float* sums = panel + static_cast<std::int64_t>(h.k_block) * T::kRows;
  const std::int64_t by_group = secateur::row_blocks(h) / c.groups;  // one group: all of them
  const std::int64_t together = std::max<std::int64_t>(1, secateur::kOutputsTogether / h.row_block);
  for (std::int64_t b = part.block_begin; b < part.block_end;) {
    const std::int64_t group = b / by_group;
    const std::int64_t last = std::min({b + together, part.block_end, (group + 1) * by_group});
    const std::int64_t first = b * h.row_block;
    const std::int64_t outputs = secateur::smaller(last * h.row_block, h.out_features) - first;
    start_sums<T>(c.layer.bias ? c.layer.bias + first : nullptr, outputs, sums);
    for (std::int64_t k = 0; k < secateur::k_blocks(h); ++k) {
      const std::int64_t column = k * h.k_block;
      image.fill<T>(group, column, secateur::smaller(h.k_block, h.in_features - column), from,
                    width, panel);
      for (std::int64_t block = b; block < last; ++block)
        blocks.template times_panel<T>(block, k, panel,
                                       sums + (block - b) * h.row_block * T::kRows);
    }
    store_outputs<T::kRows>(c, segments, n, first, outputs, sums);
    b = last;
  }
}

template <class Blocks, int kVectors>
void conv_positions(const Image& image, const Part& part, std::int64_t n, std::int64_t from,
                    std::int64_t to, float* scratch) {
  using T = Tile<kVectors, sets_for(kVectors)>;
  const bool fits = image.args.layer.weight->k_block * T::kRows * 4 <= kPanelBytes;
  for (; from < to; from += T::kRows) {
    const std::int64_t left = to - from;
    // Below three quarters of a tile, two narrower ones waste fewer multiplications by zero.
    if (kVectors > 1 && (!fits || left * 4 <= T::kRows * 3))
      return conv_positions<Blocks, (kVectors > 1 ? kVectors / 2 : 1)>(image, part, n, from, to,
                                                                       scratch);
    conv_tile<Blocks, T>(image, part, n, from, secateur::smaller(left, T::kRows), scratch);
  }
}

// `part` counts tiles, image after image, where a linear layer's counts rows.
template <class Blocks>
void conv_run(const ConvArgs& c, const Part& part, float* scratch) {
  Image image(c, scratch);
  const std::int64_t tiles = secateur::conv_tiles(c);
  std::int64_t open = -1;
  for (std::int64_t unit = part.row_begin; unit < part.row_end; ++unit) {
    const std::int64_t n = unit / tiles, from = unit % tiles * secateur::kWidestTile;
    if (n != open) image.open(n);
    open = n;
    const std::int64_t to = secateur::smaller(image.planes.positions, from + secateur::kWidestTile);
    conv_positions<Blocks, kWidest>(image, part, n, from, to, scratch + image.floats());
  }
}

[[maybe_unused]] int conv_rank(const Header&, std::int64_t) { return 1; }

}  // namespace
