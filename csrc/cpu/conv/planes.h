// One image of x, or a band of its rows, to planes (args.h): stride and memory format are settled
// here, once for all taps and outputs.
#pragma once

#include <algorithm>
#include <cstring>

#include "cpu/conv/args.h"
#include "cpu/narrow.h"
#include "cpu/vec.h"

namespace {

using secateur::Axis;
using secateur::ConvArgs;
using secateur::Planes;

// Columns [begin, end) of a row of a phase's planes that lie within x, and x's column at `begin`.
struct Within {
  std::int64_t begin, end, from;

  Within(const Axis& a, const Planes& p, std::int64_t phase)
      : begin(-p.origin), end(std::min(begin + a.length(phase), p.pitch)), from(phase) {}
};

SECATEUR_INLINE void zero(float* to, std::int64_t count) {
  if (count > 0) std::memset(to, 0, static_cast<std::size_t>(count) * sizeof(float));
}

// Where a walk through the rows of a phase that are within x and the planes begins, how often, and
// how far it goes: where all of x is one plane, it is one row.
struct Rows {
  std::int64_t begin, count, length;

  Rows(const ConvArgs& c, const Planes& p, std::int64_t first_row, std::int64_t phase_h,
       const Within& columns)
      : begin(std::max<std::int64_t>(first_row, 0)),
        count(std::max<std::int64_t>(std::min(c.high.length(phase_h), first_row + p.rows) - begin,
                                     0)),
        length(columns.end - columns.begin) {
    if (count == 0 || c.high.stride > 1 || c.wide.stride > 1 || p.padded || p.pitch != c.wide.size)
      return;
    length *= count;
    count = 1;
  }
};

// `count` columns, `step` apart in x, to consecutive floats.
template <class X>
SECATEUR_INLINE void copy_row(const X* x, std::int64_t step, std::int64_t count, float* to) {
  std::int64_t i = 0;
  for (; step == 1 && i + kLanes <= count; i += kLanes) store(to + i, load(x + i));
  for (; step == 2 && i + kLanes < count; i += kLanes)
    store(to + i, every_other(load(x + 2 * i), load(x + 2 * i + kLanes)));
  if constexpr (std::is_same_v<X, float>) {  // what is left, and not a byte of x beyond it
    const std::int64_t left = count - i, floats = 2 * left - 1;
    if (step == 1) return store_first(to + i, load_first(x + i, left), left);
    if (step == 2) {
      const Vec low = load_first(x + 2 * i, floats);
      const Vec high = load_first(x + 2 * i + kLanes, floats - kLanes);
      return store_first(to + i, every_other(low, high), left);
    }
  }
  for (; i < count; ++i) to[i] = to_float(x + i * step);
}

// One channel after another.
template <class X>
[[gnu::noinline]] void planes_of_rows(const ConvArgs& c, const Planes& p, std::int64_t first_row,
                                      std::int64_t phase_h, std::int64_t phase_w, const X* x,
                                      float* to) {
  const Within columns(c.wide, p, phase_w);
  const Rows rows(c, p, first_row, phase_h, columns);
  const std::int64_t line = rows.begin * c.high.stride + phase_h;
  to += (rows.begin - first_row) * p.pitch;
  for (std::int64_t channel = 0; channel < c.channels; ++channel, to += p.channel) {
    const X* from = x + (channel * c.high.size + line) * c.wide.size + columns.from;
    float* row = to;
    for (std::int64_t r = 0; r < rows.count;
         ++r, row += p.pitch, from += c.high.stride * c.wide.size) {
      zero(row, columns.begin);
      copy_row(from, c.wide.stride, rows.length, row + columns.begin);
      zero(row + columns.end, p.pitch - columns.end);
    }
  }
}

// A row of up to a vector's channels at once, from pixels whose channels lie together.
template <class X>
SECATEUR_INLINE void transpose_row(const X* x, std::int64_t step, std::int64_t channels,
                                   std::int64_t count, std::int64_t plane, float* to) {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    Vec v[kLanes];
    if (channels == kLanes) {
      SECATEUR_UNROLL
      for (int l = 0; l < kLanes; ++l) v[l] = i + l < count ? load(x + (i + l) * step) : Vec{};
    } else {
      for (int l = 0; l < kLanes; ++l) {
        alignas(64) float some[kLanes] = {};
        for (std::int64_t k = 0; k < channels && i + l < count; ++k)
          some[k] = to_float(x + (i + l) * step + k);
        v[l] = load(some);
      }
    }
    transpose(v);
    if (i + kLanes <= count) {
      for (int l = 0; l < channels; ++l) store(to + l * plane + i, v[l]);
    } else {
      for (int l = 0; l < channels; ++l) store_first(to + l * plane + i, v[l], count - i);
    }
  }
}

template <class X>
[[gnu::noinline]] void planes_of_pixels(const ConvArgs& c, const Planes& p, std::int64_t first_row,
                                        std::int64_t phase_h, std::int64_t phase_w, const X* x,
                                        float* to) {
  const Within columns(c.wide, p, phase_w);
  const Rows rows(c, p, first_row, phase_h, columns);
  const std::int64_t line = rows.begin * c.high.stride + phase_h;
  to += (rows.begin - first_row) * p.pitch;
  for (std::int64_t first = 0; first < c.channels; first += kLanes, to += kLanes * p.channel) {
    const std::int64_t channels = secateur::smaller(kLanes, c.channels - first);
    for (std::int64_t r = 0; r < rows.count; ++r) {
      float* row = to + r * p.pitch;
      const std::int64_t pixel = (r * c.high.stride + line) * c.wide.size + columns.from;
      for (std::int64_t l = 0; l < channels; ++l) {
        zero(row + l * p.channel, columns.begin);
        zero(row + l * p.channel + columns.end, p.pitch - columns.end);
      }
      transpose_row(x + pixel * c.channels + first, c.wide.stride * c.channels, channels,
                    rows.length, p.channel, row + columns.begin);
    }
  }
}

// All planes of image `n`; they begin with row `first_row` of their phase, which may be above x.
void make_planes(const ConvArgs& c, const Planes& p, std::int64_t n, std::int64_t first_row,
                 float* to) {
  const std::int64_t image = c.channels * c.high.size * c.wide.size;
  const void* x = at(c.layer.x, c.layer.x_type, n * image);
  const std::int64_t wide_slots = c.wide.slots();
  for (std::int64_t a = 0; a < c.high.slots(); ++a)
    for (std::int64_t b = 0; b < wide_slots; ++b)
      typed(c.layer.x_type, x, [&]<class X>(const X* from) {
        if constexpr (!std::is_same_v<X, I8>) {
          float* here = to + (a * wide_slots + b) * p.plane;
          (c.channels_last ? planes_of_pixels<X> : planes_of_rows<X>)(c, p, first_row,
                                                                      c.high.phase(a),
                                                                      c.wide.phase(b), from, here);
        }
      });
}

}  // namespace
