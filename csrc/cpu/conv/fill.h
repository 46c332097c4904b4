// Panels of a convolution: rows of a panel are weight columns (tap, channel), each copied from its
// plane at the tap's offset; lanes that fall outside of x are zeroed on the way. It is done once a
// tile, and each row is then read once for every kept weight of its column.
#pragma once

#include "cpu/conv/planes.h"

namespace {

typedef std::int32_t Mask __attribute__((vector_size(kLanes * 4)));  // a lane: all bits, or none

SECATEUR_INLINE Vec masked(Vec v, Mask mask) {
  return __builtin_bit_cast(Vec, __builtin_bit_cast(Mask, v) & mask);
}

// Output row and column of each position of a tile; those past its end are outside of every x.
template <class T>
struct Positions {
  static constexpr int kVectors = T::kRows / kLanes;
  Mask row[kVectors], column[kVectors];

  Positions(std::int64_t pitch, std::int64_t from, std::int64_t width) {
    std::int64_t i = from / pitch, j = from % pitch;
    for (int t = 0; t < T::kRows; ++t) {
      row[t / kLanes][t % kLanes] = t < width ? static_cast<std::int32_t>(i) : INT32_MIN / 2;
      column[t / kLanes][t % kLanes] = static_cast<std::int32_t>(j);
      if (++j == pitch) ++i, j = 0;
    }
  }
};

// Lanes that tap (p, q) finds within x.
template <class T>
struct Found {
  Mask lanes[Positions<T>::kVectors];

  Found(const ConvArgs& c, const Planes& planes, const Positions<T>& at, std::int64_t p,
        std::int64_t q) {
    const auto rows = static_cast<std::int32_t>(c.high.length(c.high.phase(p)));
    const auto columns = static_cast<std::int32_t>(c.wide.length(c.wide.phase(q)));
    const auto down = static_cast<std::int32_t>(c.high.shift(p));
    const auto right = static_cast<std::int32_t>(c.wide.shift(q));
    for (int v = 0; v < Positions<T>::kVectors; ++v) {
      const Mask row = at.row[v] + down, column = at.column[v] + right;
      lanes[v] = (row >= 0) & (row < rows);
      if (!planes.padded) lanes[v] &= (column >= 0) & (column < columns);
    }
  }
};

// The planes of one image or band, and where each weight column is found in them.
struct Image {
  const ConvArgs& args;
  secateur::Room room;
  const Planes& planes = room.planes;
  std::int64_t deep;  // channels of a group
  float* scratch;
  std::int64_t first_row = 0;  // of its phase, in a plane
  const float* start = nullptr;
  const float* begin = nullptr;  // of the memory that may be read
  const float* end = nullptr;

  Image(const ConvArgs& c, float* floats)
      : args(c), room(c), deep(c.channels / c.groups), scratch(floats) {}
  Image(const Image&) = delete;

  // For the outputs of image n from row i on.
  void open(std::int64_t n, std::int64_t i) {
    if (planes.in_x) {
      begin = static_cast<const float*>(args.layer.x);
      end = begin + args.layer.rows * args.channels * planes.channel;
      start = begin + n * args.channels * planes.channel;
    } else {
      first_row = planes.first_row(args, i);
      make_planes(args, planes, n, first_row, scratch);
      start = begin = scratch;
      end = scratch + planes.floats(args);
    }
  }

  std::int64_t tap_offset(std::int64_t p, std::int64_t q) const {
    const Axis &h = args.high, &w = args.wide;
    return (h.slot(p) * w.slots() + w.slot(q)) * planes.plane +
           (h.shift(p) - first_row) * planes.pitch + w.shift(q) - planes.origin;
  }

  // One row of a panel, of which not all may be memory.
  template <class T>
  [[gnu::noinline]] void copy_found(const float* x, const Found<T>& found, float* panel) const {
    for (int t = 0; t < T::kRows; ++t) panel[t] = found.lanes[t / kLanes][t % kLanes] ? x[t] : 0.0F;
  }

  // Weight columns [k, k + count) of `group` to the panel; the tile begins at position `from`.
  template <class T>
  [[gnu::noinline]] void fill(std::int64_t group, std::int64_t k, std::int64_t count,
                              std::int64_t from, const Positions<T>& at, float* panel) const {
    while (count > 0) {
      const std::int64_t tap = k / deep, channel = k % deep;
      const std::int64_t p = tap / args.wide.kernel, q = tap % args.wide.kernel;
      const std::int64_t some = secateur::smaller(count, deep - channel);
      const Found<T> found(args, planes, at, p, q);
      const float* x = start + (group * deep + channel) * planes.channel + tap_offset(p, q) + from;
      for (std::int64_t i = 0; i < some; ++i, x += planes.channel, panel += T::kRows) {
        if (x < begin || x + T::kRows > end) {
          copy_found<T>(x, found, panel);
          continue;
        }
        SECATEUR_UNROLL
        for (int v = 0; v < Positions<T>::kVectors; ++v)
          store(panel + v * kLanes, masked(load(x + v * kLanes), found.lanes[v]));
      }
      k += some;
      count -= some;
    }
  }
};

}  // namespace
