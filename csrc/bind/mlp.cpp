#include "bind/mlp.h"

#include "bind/dispatch.h"
#include "bind/run.h"
#include "bind/tensors.h"
#include "cpu/mlp/args.h"

namespace secateur::bind {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::detail::from;

bool plain(const MlpCall& c) {
  const auto is = [](const Tensor& t) { return t.scalar_type() == ScalarType::Float; };
  const auto may = [&](const OptionalTensor& t) { return !t || is(*t); };
  return is(c.x) && is(c.values1) && is(c.values2) && may(c.bias1) && may(c.bias2) &&
         may(c.residual);
}

Tensor by_two_calls(const char* linear, const MlpCall& c) {
  const OptionalTensor none;
  const Tensor hidden =
      dispatch<10>(linear, "",
                   {from(c.x), from(c.values1), from(c.index1), from(c.bias1), from(none),
                    from(none), from(none), from(none), from(c.hidden_features), from(c.act)});
  return dispatch<10>(
      linear, "",
      {from(hidden), from(c.values2), from(c.index2), from(c.bias2), from(c.residual), from(none),
       from(none), from(none), from(c.out_features), from(c.act_out)});
}

// The calls of the layers, as the checks of one layer take them: h itself has no rows here.
LinearCall first_layer(const MlpCall& c) {
  return {c.x, c.values1, c.index1, c.bias1, {}, {}, {}, {}, c.hidden_features, c.act};
}
LinearCall second_layer(const MlpCall& c) {
  const Tensor hidden = torch::stable::new_empty(c.x, {0, c.hidden_features});
  return {hidden, c.values2, c.index2, c.bias2, {}, {}, {}, {}, c.out_features, c.act_out};
}

LinearArgs layer_args(const Header& weight, const LinearCall& c, const OptionalTensor& bias,
                      std::int64_t rows) {
  LinearArgs a{};
  a.weight = &weight;
  a.values = c.values.const_data_ptr();
  a.bias = bias ? static_cast<const float*>(bias->const_data_ptr()) : nullptr;
  a.rows = rows;
  a.act = act_named(c.act);
  a.value_type = a.x_type = Type::f32;
  return a;
}

// Rows of x are shared out, and nothing else: with fewer pieces of them than threads, two calls
// keep more threads at work, for those share out row blocks too.
bool too_few(std::int64_t rows, std::int64_t multiplications) {
  if (rows < kRowsTogether) return true;
  const bool idle = ceil_div(rows, kRowsTogether) < torch::stable::get_num_threads();
  return idle && multiplications >= kAlone;
}

}  // namespace

Tensor mlp(const KernelTable& table, Format format, const char* linear, const MlpCall& c) {
  if (!plain(c)) return by_two_calls(linear, c);
  const LinearCall one = first_layer(c), two = second_layer(c);
  const Header& first = checked_header(one, format, table.op);
  const Header& second = checked_header(two, format, table.op);
  LinearCall whole = one;  // what a residual must be shaped like
  whole.out_features = c.out_features;
  STD_TORCH_CHECK(!c.residual || shaped_like_y(*c.residual, whole), table.op,
                  ": residual must have y's shape");
  const std::int64_t rows = c.x.numel() / first.in_features;
  const std::int64_t kept = static_cast<std::int64_t>(first.nnz) + second.nnz;
  const Kernel* kernel = pick(table, first, rows, true);
  if (too_few(rows, rows * kept) || kernel == nullptr) return by_two_calls(linear, c);

  Tensor y = new_y(c.x, c.out_features);
  const Tensor x = evenly(c.x);
  const OptionalTensor bias1 = contiguous(c.bias1), bias2 = contiguous(c.bias2);
  const OptionalTensor residual = contiguous(c.residual);
  MlpArgs args{layer_args(first, one, bias1, rows), layer_args(second, two, bias2, rows)};
  args.first.x = x.const_data_ptr();
  args.first.x_stride = x.stride(x.dim() - 2);
  args.second.y = y.mutable_data_ptr();
  args.second.residual = residual ? residual->const_data_ptr() : nullptr;

  const Split split(first, rows, torch::stable::get_num_threads());
  run(*kernel, &args, split, kernel->scratch_floats(outline(first, second), rows));
  return y;
}

}  // namespace secateur::bind
