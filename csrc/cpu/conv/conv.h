// Sparse convolution on panels: the tile of a linear layer (tile/), filled from planes (fill.h).
// Nothing of the size of an unfolded x exists. Where y is float32 with its channels first, a tile's
// sums go from registers to y.
// Source of the scheme: Park et al., "Faster CNNs with Direct Sparse Convolutions" (ICLR 2017), and
// Elsen et al., "Fast Sparse ConvNets" (CVPR 2020); panels and phases are added here.
#pragma once

#include "cpu/conv/fill.h"
#include "cpu/conv/store.h"
#include "cpu/tile/tiled.h"

namespace {

// Positions [from, from + width) of image n, at most a tile, for the outputs of `part`.
template <class Blocks, class T>
struct ConvTile {
  const Image& image;
  const ConvArgs& args = image.args;
  const Header& weight = *args.layer.weight;
  std::int64_t n, from, width;
  Segments segments{args, image.planes, from, width};
  Positions<T> positions{image.planes.pitch, from, width};
  Blocks blocks{args.layer};

  void run(const Part& part, float* scratch) const {
    // One group: all of them.
    const std::int64_t by_group = secateur::row_blocks(weight) / args.groups;
    const std::int64_t together = std::max<std::int64_t>(1, image.room.together / weight.row_block);
    for (std::int64_t b = part.block_begin; b < part.block_end;) {
      const std::int64_t group = b / by_group;
      const std::int64_t last = std::min({b + together, part.block_end, (group + 1) * by_group});
      float* sums = scratch + panel_floats<T>(weight);
      if (args.channels_last || args.layer.x_type != Type::f32 || image.planes.padded)
        to_buffer(group, b, last, scratch, sums);
      else
        to_y(group, b, last, scratch, sums);
      b = last;
    }
  }

 private:
  // Calls each(block, k) for all row blocks and K blocks.
  template <class Each>
  SECATEUR_INLINE void walk(std::int64_t group, std::int64_t begin, std::int64_t end, float* panel,
                            Each each) const {
    for (std::int64_t k = 0; k < secateur::k_blocks(weight); ++k) {
      const std::int64_t column = k * weight.k_block;
      const std::int64_t count = secateur::smaller(weight.k_block, weight.in_features - column);
      image.fill<T>(group, column, count, from, positions, panel);
      for (std::int64_t block = begin; block < end; ++block) each(block, k);
    }
  }

  void to_buffer(std::int64_t group, std::int64_t begin, std::int64_t end, float* panel,
                 float* sums) const {
    const LinearArgs& a = args.layer;
    const std::int64_t first = begin * weight.row_block;
    const std::int64_t outputs =
        secateur::smaller(end * weight.row_block, weight.out_features) - first;
    start_sums<T>(a.bias ? a.bias + first : nullptr, outputs, sums);
    walk(group, begin, end, panel, [&](std::int64_t block, std::int64_t k) {
      const Buffered<T> rows{sums + (block - begin) * weight.row_block * T::kRows};
      blocks.template times_panel<T>(block, k, panel, rows);
    });
    store_outputs<T::kRows>(args, segments, n, first, outputs, sums);
  }

  void to_y(std::int64_t group, std::int64_t begin, std::int64_t end, float* panel,
            float* sums) const {
    const LinearArgs& a = args.layer;
    const bool quick = a.act == Act::none || a.act == Act::relu || a.act == Act::relu6;
    const std::int64_t last = secateur::k_blocks(weight) - 1;
    walk(group, begin, end, panel, [&](std::int64_t block, std::int64_t k) {
      const std::int64_t first = block * weight.row_block;
      const ImageSums<T> rows{
          .sums = sums + (block - begin) * weight.row_block * T::kRows,
          .bias = a.bias ? a.bias + first : nullptr,
          .first = k == 0,
          .last = k == last,
          .to = store_at(args, n, first, weight.row_block, segments.all[0]),
          .quick = quick,
          .whole = width == T::kRows,
      };
      blocks.template times_panel<T>(block, k, panel, rows);
    });
  }
};

// Tiles are of up to four vectors, or of quarters of the widest.
constexpr int tile_of(int vectors) {
  const int step = vectors <= 4 ? 1 : kWidest / 4;
  return (vectors + step - 1) / step * step;
}

// One tile of `vectors`, as tile_of gives them, or of the next fewer.
template <class Blocks, int kVectors>
void conv_tile(int vectors, const Image& image, const Part& part, std::int64_t n, std::int64_t from,
               std::int64_t to, float* scratch) {
  if constexpr (kVectors > 1)
    if (vectors < kVectors)
      return conv_tile<Blocks, (kVectors > 4 ? kVectors - kWidest / 4 : kVectors - 1)>(
          vectors, image, part, n, from, to, scratch);
  using T = Tile<kVectors, sets_for(kVectors)>;
  const std::int64_t width = secateur::smaller(to - from, T::kRows);
  ConvTile<Blocks, T>{.image = image, .n = n, .from = from, .width = width}.run(part, scratch);
}

// Positions [from, to) of image n, in tiles of nearly one width: a narrow one at the end would cost
// nearly as much as a wide one.
template <class Blocks>
void conv_positions(const Image& image, const Part& part, std::int64_t n, std::int64_t from,
                    std::int64_t to, float* scratch) {
  const std::int64_t fitting =
      kPanelBytes / (panel_floats<Tile<1, 1>>(*image.args.layer.weight) * 4);
  const std::int64_t held = image.room.tile / kLanes;
  const auto widest = std::clamp<std::int64_t>(secateur::smaller(fitting, held), 1, kWidest);
  while (from < to) {
    const std::int64_t left = secateur::ceil_div(to - from, kLanes);
    const std::int64_t tiles = secateur::ceil_div(left, widest);
    const int vectors = tile_of(static_cast<int>(secateur::ceil_div(left, tiles)));
    conv_tile<Blocks, kWidest>(vectors, image, part, n, from, to, scratch);
    from += vectors * kLanes;
  }
}

// `part` counts positions, image after image, where a linear layer's counts rows.
template <class Blocks>
void conv_run(const ConvArgs& c, const Part& part, float* scratch) {
  Image image(c, scratch);
  const Planes& planes = image.planes;
  scratch += planes.floats(c);
  for (std::int64_t at = part.row_begin; at < part.row_end;) {
    const std::int64_t n = at / planes.positions, from = at % planes.positions;
    const std::int64_t row = from / planes.pitch;
    const std::int64_t to =
        std::min({planes.positions, from + part.row_end - at, (row + planes.band) * planes.pitch});
    image.open(n, row);
    conv_positions<Blocks>(image, part, n, from, to, scratch);
    at += to - from;
  }
}

[[maybe_unused]] int conv_rank(const Header&, std::int64_t) { return 1; }

}  // namespace
