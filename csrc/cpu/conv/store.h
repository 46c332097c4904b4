// Sums of one tile of positions to y: the ends of plane rows are left out, the activation and the
// residual applied on the way.
#pragma once

#include "cpu/conv/args.h"
#include "cpu/tile/store.h"

namespace {

// The parts of a tile that are outputs, each within one row of y.
struct Segments {
  struct One {
    std::int64_t at;      // position in the tile
    std::int64_t length;  // outputs
    std::int64_t pixel;   // of y, row * width + column
  };
  One all[secateur::kWidestTile];
  int count = 0;

  Segments(const secateur::ConvArgs& c, std::int64_t pitch, std::int64_t from, std::int64_t width) {
    for (std::int64_t t = 0; t < width;) {
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

// `length` consecutive outputs of one channel. Reads whole vectors of sums.
template <class Y>
SECATEUR_INLINE void store_pixels(const Store& s, Y* y, std::int64_t at, const float* sums,
                                  std::int64_t length) {
  std::int64_t i = 0;
  for (; i + kLanes <= length; i += kLanes) store_vec(s, y, at + i, load(sums + i));
  if (i == length) return;
  if (length > kLanes) {  // once more, from a vector before the end
    store_vec(s, y, at + length - kLanes, load(sums + length - kLanes));
    return;
  }
  alignas(64) float lanes[kLanes];
  store(lanes, activate(s.act, load(sums + i)));
  const auto* residual = static_cast<const Y*>(s.residual);
  for (std::int64_t l = 0; i < length; ++i, ++l)
    from_float(y + at + i, residual ? lanes[l] + to_float(residual + at + i) : lanes[l]);
}

// `outputs` channels of image n, from `first` on.
template <int kTile>
void store_outputs(const secateur::ConvArgs& c, const Segments& segments, std::int64_t n,
                   std::int64_t first, std::int64_t outputs, const float* sums) {
  const secateur::LinearArgs& a = c.layer;
  const std::int64_t all = a.weight->out_features, pixels = c.high.out * c.wide.out;
  const auto element = [&](const void* base, std::int64_t pixel) -> const void* {
    const std::int64_t index =
        c.channels_last ? (n * pixels + pixel) * all + first : (n * all + first) * pixels + pixel;
    return base ? at(base, a.x_type, index) : nullptr;
  };
  for (int i = 0; i < segments.count; ++i) {
    const Segments::One& one = segments.all[i];
    const Store s{const_cast<void*>(element(a.y, one.pixel)),
                  element(a.residual, one.pixel),
                  all,
                  one.length,
                  outputs,
                  a.act,
                  a.x_type};
    typed(s.type, s.y, [&](auto* y) {
      if (c.channels_last) return store_tile<kTile>(sums + one.at, s, y);
      for (std::int64_t o = 0; o < outputs; ++o)
        store_pixels(s, y, o * pixels, sums + o * kTile + one.at, one.length);
    });
  }
}

}  // namespace
