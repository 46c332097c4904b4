// Sums of one tile of positions to y where they do not go there by themselves (sums.h): the ends of
// padded plane rows are left out, other types and memory formats are made.
#pragma once

#include "cpu/conv/sums.h"

namespace {

// The parts of a tile that are outputs, each consecutive in y.
struct Segments {
  struct One {
    std::int64_t at;      // position in the tile
    std::int64_t length;  // outputs
    std::int64_t pixel;   // of y, row * width + column
  };
  One all[secateur::kWidestTile];
  int count = 0;

  Segments(const secateur::ConvArgs& c, const secateur::Planes& planes, std::int64_t from,
           std::int64_t width) {
    const std::int64_t pitch = planes.pitch;
    if (!planes.padded) all[count++] = {0, width, from};  // row after row
    for (std::int64_t t = 0; planes.padded && t < width;) {
      const std::int64_t row = (from + t) / pitch, column = (from + t) % pitch;
      const std::int64_t left = c.wide.out - column;
      if (left <= 0) {
        t += pitch - column;
        continue;
      }
      const std::int64_t length = secateur::smaller(left, width - t);
      all[count++] = {t, length, row * c.wide.out + column};
      t += length;
    }
  }
};

// `outputs` channels of image n at one segment. Store's rows are pixels; its stride lies between
// pixels, or between channels where those come first.
SECATEUR_INLINE Store store_at(const secateur::ConvArgs& c, std::int64_t n, std::int64_t first,
                               std::int64_t outputs, const Segments::One& one) {
  const secateur::LinearArgs& a = c.layer;
  const std::int64_t all = a.weight->out_features, pixels = c.high.out * c.wide.out;
  const std::int64_t index = c.channels_last ? (n * pixels + one.pixel) * all + first
                                             : (n * all + first) * pixels + one.pixel;
  return {at(a.y, a.x_type, index),
          a.residual ? at(a.residual, a.x_type, index) : nullptr,
          c.channels_last ? all : pixels,
          one.length,
          outputs,
          a.act,
          a.x_type,
          c.residual_first};
}

// `outputs` channels of image n, from `first` on.
template <int kTile>
void store_outputs(const secateur::ConvArgs& c, const Segments& segments, std::int64_t n,
                   std::int64_t first, std::int64_t outputs, const float* sums) {
  for (int i = 0; i < segments.count; ++i) {
    const Segments::One& one = segments.all[i];
    const Store s = store_at(c, n, first, outputs, one);
    typed(s.type, s.y, [&](auto* y) {
      if (c.channels_last) return store_tile<kTile>(sums + one.at, s, y);
      for (std::int64_t o = 0; o < outputs; ++o)
        store_pixels(s, y, o * s.stride, sums + o * kTile + one.at, one.length);
    });
  }
}

}  // namespace
