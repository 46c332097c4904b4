// What a kernel of a sparse 2-D convolution is given, and how one image is laid out for it.
// Formula: y[n, o, i, j] = act(bias[o] + sum over kept (o, p, q, c) of w[o, (p, q, c)] *
// x[n, c + group(o) * channels / groups, i * stride + p * dilation - pad, likewise j and q])
// + residual[n, o, i, j], or with the residual inside of act.
#pragma once

#include <algorithm>

#include "cpu/kernel.h"

namespace secateur {

constexpr std::int64_t kMostTaps = 64;  // of a kernel along one axis

// Height or width. x is split into `stride` phases, every stride-th row or column each, so that a
// tap moves by one in its phase where the output does: tap t of output i meets place i + shift(t)
// of phase(t).
struct Axis {
  std::int64_t size, out;  // of x and of y
  std::int64_t kernel, stride, pad, dilation;

  std::int64_t shift(std::int64_t tap) const {
    const std::int64_t first = tap * dilation - pad;
    return first >= 0 ? first / stride : -ceil_div(-first, stride);
  }
  std::int64_t phase(std::int64_t tap) const { return tap * dilation - pad - shift(tap) * stride; }

  // Rows or columns of x in a phase.
  std::int64_t length(std::int64_t phase) const {
    return phase < size ? ceil_div(size - phase, stride) : 0;
  }

  // Number of a tap's phase among those in use.
  std::int64_t slot(std::int64_t tap) const {
    std::int64_t first = 0;
    while (phase(first) != phase(tap)) ++first;
    return first;  // phases repeat only after all of them came: the first tap of each counts them
  }
  std::int64_t slots() const {
    std::int64_t count = 1;
    while (count < kernel && slot(count) == count) ++count;
    return count;
  }

  // No output meets a place of its phase beyond the last output's: rows of `out` places hold all.
  bool as_long_as_out() const {
    for (std::int64_t t = 0; t < kernel; ++t)
      if (shift(t) > 0 && length(phase(t)) > out) return false;
    return true;
  }
};

struct ConvArgs {
  // The weight as [out, kernel_h * kernel_w * channels / groups]; its rows are images.
  LinearArgs layer;
  std::int64_t channels, groups;
  Axis high, wide;
  bool channels_last;    // x, y and the residual
  bool residual_first;   // it is added before the activation
  std::int64_t threads;  // that share the call, each with scratch of its own
};

// In every object its own: a function that two instruction sets shared could be the newer one.
namespace {

// The planes of one image, or of a band of its rows: for each channel one for each pair of phases
// in use. Output (i, j) is position i * pitch + j, and a tap is at the same position of its plane
// plus its own offset. Where a tap falls outside of x, or into the row beside, its lanes are masked
// (fill.h). Mostly a plane's rows are as long as y's; else they are padded to all that taps reach,
// and positions between the end of an output row and the next are computed for nothing.
struct Planes {
  bool in_x;               // the planes are x as it lies
  bool padded;             // to the left and right
  std::int64_t origin;     // place of its phase that a row begins with
  std::int64_t pitch;      // floats of a row
  std::int64_t band;       // rows of y whose taps are held at a time
  std::int64_t rows;       // of a plane
  std::int64_t plane;      // floats of a plane, and what separates it from the next
  std::int64_t channel;    // floats of a channel
  std::int64_t positions;  // from the first output to the last

  // No more than `most` rows of y at a time.
  Planes(const ConvArgs& c, std::int64_t most) : band(most) {
    const Axis &h = c.high, &w = c.wide;
    padded = !w.as_long_as_out();
    origin = padded ? smaller(0, w.shift(0)) : 0;
    pitch = padded ? w.out + w.shift(w.kernel - 1) - origin : w.out;
    positions = (h.out - 1) * pitch + w.out;
    in_x = h.stride == 1 && w.stride == 1 && w.size == pitch && !padded && !c.channels_last &&
           c.layer.x_type == Type::f32;
    rows = ceil_div(h.size, h.stride);
    const std::int64_t reached = band + h.shift(h.kernel - 1) - h.shift(0);
    if (in_x || band >= h.out || reached >= rows)
      band = h.out;
    else
      rows = reached;
    plane = in_x ? h.size * w.size : apart(h.slots() * w.slots());
    channel = plane * h.slots() * w.slots();
  }

  // The row of its phase that a plane begins with, for outputs from row i on.
  std::int64_t first_row(const ConvArgs& c, std::int64_t i) const {
    return band == c.high.out ? 0 : i + c.high.shift(0);
  }

  // Floats of scratch.
  std::int64_t floats(const ConvArgs& c) const { return in_x ? 0 : channel * c.channels; }

 private:
  // Floats from a plane to the next, where a channel has `count` of them. A multiple of 4 KiB from
  // channel to channel would have them all share the same few lines of L1.
  std::int64_t apart(std::int64_t count) const {
    const std::int64_t floats = ceil_div(rows * pitch, 16) * 16;
    return floats * count % 1024 == 0 ? floats + 16 : floats;
  }
};

constexpr std::int64_t kOutputsTogether = 512;  // whose sums stay in L2 while panels pass
constexpr std::int64_t kWidestTile = 64;        // positions
constexpr std::int64_t kPage = 1024;            // floats, to which an allocation is rounded up
constexpr std::int64_t kAlways = 8192;          // floats that no call is too small for

// How a call uses its scratch, which shall be no more than x and y together: at first it takes
// fewer rows of the image at a time, then fewer outputs, then fewer positions. What is faster comes
// first, and the last try is taken whatever it needs.
struct Room {
  std::int64_t tile;      // positions, at most
  std::int64_t together;  // outputs whose sums are held
  Planes planes;
  std::int64_t floats;  // of scratch

  explicit Room(const ConvArgs& c) : Room(c, kWidestTile, kOutputsTogether, c.high.out) {
    const std::int64_t most = limit(c);
    for (std::int64_t t = kWidestTile; floats > most && t >= 16; t -= 16)
      for (std::int64_t outputs = kOutputsTogether; floats > most && outputs >= 64; outputs /= 2)
        for (std::int64_t rows = c.high.out; floats > most; rows = ceil_div(rows, 2)) {
          *this = Room(c, t, outputs, rows);
          if (planes.in_x || rows == 1 || rows * planes.pitch <= t) break;
        }
  }

 private:
  Room(const ConvArgs& c, std::int64_t positions, std::int64_t outputs, std::int64_t rows)
      : tile(positions), together(outputs), planes(c, rows) {
    const Header& h = *c.layer.weight;
    const std::int64_t sums = smaller(h.out_features, together + h.row_block);
    floats = planes.floats(c) + (smaller(h.k_block, h.in_features) + sums) * tile;
  }

  static std::int64_t limit(const ConvArgs& c) {
    const std::int64_t x = c.channels * c.high.size * c.wide.size;
    const std::int64_t y = c.layer.weight->out_features * c.high.out * c.wide.out;
    const std::int64_t bytes = (x + y) * c.layer.rows * bytes_of(c.layer.x_type);
    return std::max(bytes / 4 / c.threads - kPage, kAlways);
  }
};

}  // namespace
}  // namespace secateur
