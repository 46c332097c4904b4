// One image of x to planes (args.h): padding, stride and memory format are settled here, once for
// all taps and outputs.
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

// Columns [begin, end) of a row of a phase that lie within x, and x's column at `begin`.
struct Within {
  std::int64_t begin, end, from;

  Within(const Axis& a, std::int64_t phase) {
    const std::int64_t first = a.pad - phase;  // column begin * stride must not come before
    begin = std::min(a.length(), first > 0 ? secateur::ceil_div(first, a.stride) : 0);
    const std::int64_t past = a.size + a.pad - phase;
    end = std::max(begin, std::min(a.length(), past > 0 ? secateur::ceil_div(past, a.stride) : 0));
    from = begin * a.stride + phase - a.pad;
  }
};

SECATEUR_INLINE void zero(float* to, std::int64_t count) {
  std::memset(to, 0, static_cast<std::size_t>(count) * sizeof(float));
}

// `count` columns, `step` apart in x, to consecutive floats.
template <class X>
SECATEUR_INLINE void copy_row(const X* x, std::int64_t step, std::int64_t count, float* to) {
  std::int64_t i = 0;
  if (step == 1)
    for (; i + kLanes <= count; i += kLanes) store(to + i, load(x + i));
  for (; i < count; ++i) to[i] = to_float(x + i * step);
}

// One channel after another.
template <class X>
[[gnu::noinline]] void planes_of_rows(const ConvArgs& c, const Planes& p, std::int64_t phase_h,
                                      std::int64_t phase_w, const X* x, float* to) {
  const Within rows(c.high, phase_h), columns(c.wide, phase_w);
  for (std::int64_t channel = 0; channel < c.channels; ++channel, to += p.channel) {
    const X* plane = x + channel * c.high.size * c.wide.size;
    zero(to, rows.begin * p.pitch);
    for (std::int64_t r = rows.begin; r < rows.end; ++r) {
      float* row = to + r * p.pitch;
      const X* from = plane + (rows.from + (r - rows.begin) * c.high.stride) * c.wide.size;
      zero(row, columns.begin);
      copy_row(from + columns.from, c.wide.stride, columns.end - columns.begin,
               row + columns.begin);
      zero(row + columns.end, p.pitch - columns.end);
    }
    zero(to + rows.end * p.pitch, (c.high.length() - rows.end) * p.pitch);
  }
}

// A row of up to a vector's channels at once, from pixels whose channels lie together. Whole
// vectors of columns are stored: what they write beyond a row is the next row's, or spare.
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
    for (int l = 0; l < channels; ++l) store(to + l * plane + i, v[l]);
  }
}

template <class X>
[[gnu::noinline]] void planes_of_pixels(const ConvArgs& c, const Planes& p, std::int64_t phase_h,
                                        std::int64_t phase_w, const X* x, float* to) {
  const Within rows(c.high, phase_h), columns(c.wide, phase_w);
  for (std::int64_t first = 0; first < c.channels; first += kLanes, to += kLanes * p.channel) {
    const std::int64_t channels = secateur::smaller(kLanes, c.channels - first);
    const auto clear = [&](std::int64_t from, std::int64_t count) {
      for (std::int64_t l = 0; l < channels; ++l) zero(to + l * p.channel + from, count);
    };
    clear(0, rows.begin * p.pitch);
    for (std::int64_t r = rows.begin; r < rows.end; ++r) {
      const std::int64_t row = r * p.pitch;
      const std::int64_t pixel =
          (rows.from + (r - rows.begin) * c.high.stride) * c.wide.size + columns.from;
      clear(row, columns.begin);
      transpose_row(x + pixel * c.channels + first, c.wide.stride * c.channels, channels,
                    columns.end - columns.begin, p.channel, to + row + columns.begin);
      clear(row + columns.end, p.pitch - columns.end);
    }
    clear(rows.end * p.pitch, (c.high.length() - rows.end) * p.pitch);
  }
}

// All planes of image `n`.
void make_planes(const ConvArgs& c, const Planes& p, std::int64_t n, float* to) {
  const std::int64_t image = c.channels * c.high.size * c.wide.size;
  const void* x = at(c.layer.x, c.layer.x_type, n * image);
  const std::int64_t wide_slots = c.wide.slots();
  for (std::int64_t a = 0; a < c.high.slots(); ++a)
    for (std::int64_t b = 0; b < wide_slots; ++b)
      typed(c.layer.x_type, x, [&]<class X>(const X* from) {
        if constexpr (!std::is_same_v<X, I8>) {
          float* here = to + (a * wide_slots + b) * p.plane;
          (c.channels_last ? planes_of_pixels<X> : planes_of_rows<X>)(c, p, c.high.phase(a),
                                                                      c.wide.phase(b), from, here);
        }
      });
}

}  // namespace
