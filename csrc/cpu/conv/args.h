// What a kernel of a sparse 2-D convolution is given, and how one image is laid out for it.
// Formula: y[n, o, i, j] = act(bias[o] + sum over kept (o, p, q, c) of w[o, (p, q, c)] *
// x[n, c + group(o) * channels / groups, i * stride + p * dilation - pad, likewise j and q])
// + residual[n, o, i, j], or with the residual inside of act.
#pragma once

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
  bool channels_last;   // x, y and the residual
  bool residual_first;  // it is added before the activation
};

// In every object its own: a function that two instruction sets shared could be the newer one.
namespace {

// The planes of one image: for each channel one for each pair of phases in use. Output (i, j) is
// position i * pitch + j, and a tap is at the same position of its plane plus its own offset. Where
// a tap falls outside of x, or into the row beside, its lanes are masked (fill.h). Mostly a plane's
// rows are as long as y's; else they are padded to all that taps reach, and positions between the
// end of an output row and the next are computed for nothing.
struct Planes {
  bool in_x;               // the planes are x as it lies
  bool padded;             // to the left and right
  std::int64_t origin;     // place of its phase that a row begins with
  std::int64_t pitch;      // floats of a row
  std::int64_t plane;      // floats of a plane, and what separates it from the next
  std::int64_t channel;    // floats of a channel
  std::int64_t positions;  // from the first output to the last

  explicit Planes(const ConvArgs& c) {
    const Axis &h = c.high, &w = c.wide;
    padded = !w.as_long_as_out();
    origin = padded ? smaller(0, w.shift(0)) : 0;
    pitch = padded ? w.out + w.shift(w.kernel - 1) - origin : w.out;
    positions = (h.out - 1) * pitch + w.out;
    in_x = h.stride == 1 && w.stride == 1 && w.size == pitch && !padded && !c.channels_last &&
           c.layer.x_type == Type::f32;
    plane = in_x ? h.size * w.size : ceil_div(ceil_div(h.size, h.stride) * pitch, 16) * 16;
    channel = plane * h.slots() * w.slots();
    if (!in_x && channel % 1024 == 0) {  // else all channels share the same few lines of L1
      plane += 16;
      channel = plane * h.slots() * w.slots();
    }
  }

  // Floats of scratch.
  std::int64_t floats(const ConvArgs& c) const { return in_x ? 0 : channel * c.channels; }
};

constexpr std::int64_t kOutputsTogether = 512;  // whose sums stay in L2 while panels pass
constexpr std::int64_t kWidestTile = 64;        // positions

// Floats of scratch; no kernel has wider tiles than this allows for.
inline std::int64_t conv_scratch(const ConvArgs& c) {
  const Header& h = *c.layer.weight;
  const std::int64_t outputs = smaller(h.out_features, kOutputsTogether + h.row_block);
  return Planes(c).floats(c) + (h.k_block + outputs) * kWidestTile;
}

}  // namespace
}  // namespace secateur
