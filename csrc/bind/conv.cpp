#include "bind/conv.h"

#include <algorithm>
#include <array>

#include "bind/dispatch.h"
#include "bind/run.h"
#include "bind/tensors.h"
#include "bind/types.h"
#include "cpu/conv/args.h"

namespace secateur::bind {
namespace {

using torch::stable::detail::from;

Tensor by_reference(const char* op, const ConvCall& c) {
  const LinearCall& l = c.layer;
  return dispatch<16>(
      op, "",
      {from(l.x), from(l.values), from(l.index), from(l.bias), from(l.residual), from(l.scale),
       from(l.dense), from(l.transposed), from(l.out_features), from(c.kernel_size), from(c.stride),
       from(c.padding), from(c.dilation), from(c.groups), from(l.act), from(c.residual_first)});
}

Tensor by_dense(const ConvCall& c) {
  const bool padded = std::ranges::any_of(c.padding, [](auto i) { return i > 0; });
  const Tensor x = padded ? torch::stable::pad(c.layer.x, c.padding) : c.layer.x;
  const Tensor y = dispatch<7>("aten::conv2d", "",
                               {from(x), from(*c.layer.dense), from(c.layer.bias), from(c.stride),
                                from(Ints{0, 0}), from(c.dilation), from(c.groups)});
  if (c.residual_first) return activated(plus(y, c.layer.residual), c.layer.act);
  return plus(activated(y, c.layer.act), c.layer.residual);
}

Axis axis_of(const ConvCall& c, int axis) {
  const std::int64_t size = c.layer.x.size(2 + axis), before = c.padding[axis == 0 ? 2 : 0];
  const std::int64_t after = c.padding[axis == 0 ? 3 : 1];
  const std::int64_t kernel = c.kernel_size[axis], stride = c.stride[axis];
  const std::int64_t dilation = c.dilation[axis];
  const std::int64_t room = size + before + after - dilation * (kernel - 1) - 1;
  return {size, room < 0 ? 0 : room / stride + 1, kernel, stride, before, dilation};
}

// What a kernel relies on; words for people are Python's.
bool well_formed(const ConvCall& c) {
  const auto all = [](const Ints& v, std::size_t count, std::int64_t least) {
    return v.size() == count && std::ranges::all_of(v, [&](auto i) { return i >= least; });
  };
  return c.layer.x.dim() == 4 && all(c.kernel_size, 2, 1) && all(c.stride, 2, 1) &&
         all(c.padding, 4, 0) && all(c.dilation, 2, 1) && c.groups >= 1 &&
         c.layer.x.size(1) % c.groups == 0 && c.layer.out_features % c.groups == 0;
}

const Header& conv_header(const ConvCall& c, Format format, const char* op) {
  STD_TORCH_CHECK(well_formed(c), op,
                  ": x must be [N, C, H, W], kernel_size, stride and dilation "
                  "two numbers from 1 on, padding four from 0 on, and groups divide the channels");
  const Header& h = checked_weight(c.layer, format, op);
  const std::int64_t columns = c.layer.x.size(1) / c.groups * c.kernel_size[0] * c.kernel_size[1];
  STD_TORCH_CHECK(columns == h.in_features, op, ": kernel_size and the channels of x make ",
                  columns, " columns but the packed weight has ", h.in_features);
  return h;
}

// The kernels take row blocks of one group each, and so many taps.
bool kernels_take(const ConvCall& c, const Header& h) {
  const bool whole = c.groups == 1 || h.out_features / c.groups % h.row_block == 0;
  return whole && c.kernel_size[0] <= kMostTaps && c.kernel_size[1] <= kMostTaps;
}

bool lies_channels_last(const Tensor& t) {
  const std::int64_t channels = t.size(1), width = t.size(3), height = t.size(2);
  return !t.is_contiguous() && t.stride(1) == 1 && t.stride(3) == channels &&
         t.stride(2) == width * channels && t.stride(0) == height * width * channels;
}

bool laid_out_as(const Tensor& t, bool channels_last) {
  return channels_last ? lies_channels_last(t) : t.is_contiguous();
}

Tensor laid_out(const Tensor& t, bool channels_last) {
  using torch::headeronly::MemoryFormat;
  if (laid_out_as(t, channels_last)) return t;  // a call costs 1 us
  return torch::stable::contiguous(
      t, channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
}

Tensor new_image(const ConvCall& c, const Axis& high, const Axis& wide, bool channels_last) {
  const std::int64_t images = c.layer.x.size(0), out = c.layer.out_features;
  if (!channels_last) return torch::stable::new_empty(c.layer.x, {images, out, high.out, wide.out});
  const Tensor pixels = torch::stable::new_empty(c.layer.x, {images, high.out, wide.out, out});
  return torch::stable::transpose(torch::stable::transpose(pixels, 1, 3), 2, 3);
}

bool has_shape(const Tensor& t, const std::array<std::int64_t, 4>& shape) {
  bool same = t.dim() == 4;
  for (std::int64_t i = 0; same && i < 4; ++i) same = t.size(i) == shape[i];
  return same;
}

}  // namespace

Tensor conv2d(const KernelTable& table, Format format, const char* reference, const ConvCall& c) {
  const LinearCall& l = c.layer;
  if (!types_fit(l)) return by_reference(reference, c);
  const Header& h = conv_header(c, format, table.op);
  const Axis high = axis_of(c, 0), wide = axis_of(c, 1);
  const std::int64_t images = l.x.size(0), pixels = images * high.out * wide.out;
  if (l.dense && believed_verdict(h, pixels) == Verdict::dense) return by_dense(c);
  const bool plain = *type_of(l.x) == Type::f32 && *type_of(l.values) == Type::f32;
  const Kernel* kernel = pick(table, h, pixels, plain);
  if (kernel == nullptr || !kernels_take(c, h)) return by_reference(reference, c);

  const bool channels_last = lies_channels_last(l.x);
  STD_TORCH_CHECK(
      !l.residual || has_shape(*l.residual, {images, l.out_features, high.out, wide.out}), table.op,
      ": residual must have y's shape");
  const bool over = c.over && laid_out_as(*l.residual, channels_last);
  Tensor y = over ? *l.residual : new_image(c, high, wide, channels_last);
  if (y.numel() == 0) return y;
  const Tensor x = laid_out(l.x, channels_last);
  const OptionalTensor bias = floats(l.bias), scale = floats(l.scale);
  OptionalTensor residual = l.residual;
  if (residual) residual = laid_out(*residual, channels_last);
  ConvArgs args{
      .layer = layer_args(h, l, x, y, {bias, residual, scale}, images),
      .channels = l.x.size(1),
      .groups = c.groups,
      .high = high,
      .wide = wide,
      .channels_last = channels_last,
      .residual_first = c.residual_first,
      .threads = 1,
  };
  const std::int64_t positions = Planes(args, high.out).positions;
  const Split split(h, images * positions, torch::stable::get_num_threads());
  args.threads = split.parts;
  run(*kernel, &args, split, Room(args).floats);
  return y;
}

void conv2d_over(const KernelTable& table, Format format, const char* reference, ConvCall c) {
  Tensor residual = *c.layer.residual;
  const Tensor y = conv2d(table, format, reference, c);
  if (y.const_data_ptr() != residual.const_data_ptr()) torch::stable::copy_(residual, y);
}

}  // namespace secateur::bind
