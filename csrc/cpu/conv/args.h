// What a kernel of a sparse 2-D convolution is given, and how one image is laid out for it.
// Formula: y[n, o, i, j] = act(bias[o] + sum over kept (o, p, q, c) of w[o, (p, q, c)] *
// x[n, c + group(o) * channels / groups, i * stride + p * dilation - pad, likewise j and q])
// + residual[n, o, i, j].
#pragma once

#include "cpu/kernel.h"

namespace secateur {

constexpr std::int64_t kMostTaps = 64;  // of a kernel along one axis

// Height or width.
struct Axis {
  std::int64_t size, out;  // of x and of y
  std::int64_t kernel, stride, pad, dilation;

  // x is split into `stride` phases, every stride-th row or column each, so that a tap moves by one
  // in its phase where the output does. A phase that no tap reads is left out.
  std::int64_t phase(std::int64_t tap) const { return tap * dilation % stride; }
  std::int64_t shift(std::int64_t tap) const { return tap * dilation / stride; }

  // Rows or columns of a phase that some tap reads.
  std::int64_t length() const { return out + shift(kernel - 1); }

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
};

struct ConvArgs {
  // The weight as [out, kernel_h * kernel_w * channels / groups]; its rows are images.
  LinearArgs layer;
  std::int64_t channels, groups;
  Axis high, wide;
  bool channels_last;  // x, y and the residual
};

// The planes of one image: for each channel one for each pair of phases, padding included. Output
// (i, j) is position i * pitch + j of a plane, for every tap at the tap's own offset; positions
// between the end of an output row and the next are computed for nothing.
struct Planes {
  std::int64_t pitch;      // floats of a row
  std::int64_t plane;      // floats of a plane, and what separates it from the next
  std::int64_t channel;    // floats of a channel
  std::int64_t positions;  // from the first output to the last

  Planes(const ConvArgs& c, std::int64_t lanes)
      : pitch(c.wide.length()), positions((c.high.out - 1) * pitch + c.wide.out) {
    const std::int64_t floats = c.high.length() * pitch + lanes;  // whole vectors are stored
    plane = ceil_div(floats, 16) * 16;
    channel = plane * c.high.slots() * c.wide.slots();
    if (channel % 1024 == 0) {  // else all channels share the same few lines of L1
      plane += 16;
      channel = plane * c.high.slots() * c.wide.slots();
    }
  }

  // One image of x as it lies is its planes.
  static bool plain(const ConvArgs& c) {
    const auto all = [](const Axis& a) { return a.kernel == 1 && a.stride == 1 && a.pad == 0; };
    return all(c.high) && all(c.wide) && !c.channels_last && c.layer.x_type == Type::f32;
  }
};

constexpr std::int64_t kOutputsTogether = 512;  // whose sums stay in L2 while panels pass
constexpr std::int64_t kWidestTile = 64;        // positions

// Floats of scratch; no kernel has wider vectors or tiles than this allows for.
inline std::int64_t conv_scratch(const ConvArgs& c) {
  const Header& h = *c.layer.weight;
  const std::int64_t planes = Planes::plain(c) ? 0 : Planes(c, 16).channel * c.channels;
  const std::int64_t outputs = smaller(h.out_features, kOutputsTogether + h.row_block);
  return planes + (h.k_block + outputs) * kWidestTile + 64;
}

// Pieces of work of one image: tiles of the widest kind.
inline std::int64_t conv_tiles(const ConvArgs& c) {
  return ceil_div((c.high.out - 1) * c.wide.length() + c.wide.out, kWidestTile);
}

}  // namespace secateur
