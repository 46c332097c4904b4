#include "bind/linear.h"

#include "bind/dispatch.h"
#include "bind/run.h"
#include "bind/tensors.h"
#include "bind/types.h"

namespace secateur::bind {
namespace {

using torch::stable::detail::from;

Tensor by_reference(const char* op, const LinearCall& c) {
  return dispatch<10>(
      op, "",
      {from(c.x), from(c.values), from(c.index), from(c.bias), from(c.residual), from(c.scale),
       from(c.dense), from(c.transposed), from(c.out_features), from(c.act)});
}

Tensor by_dense(const LinearCall& c) {
  const Tensor y = dispatch<3>("aten::linear", "", {from(c.x), from(*c.dense), from(c.bias)});
  return plus(activated(y, c.act), c.residual);
}

}  // namespace

Tensor linear(const KernelTable& table, Format format, const char* reference, const LinearCall& c) {
  if (!types_fit(c)) return by_reference(reference, c);
  const Header& h = checked_header(c, format, table.op);
  const std::int64_t rows = c.x.numel() / h.in_features;
  if (c.dense && believed_verdict(h, rows) == Verdict::dense) return by_dense(c);

  Tensor y = new_y(c.x, c.out_features);
  if (y.numel() == 0) return y;

  const bool plain = *type_of(c.x) == Type::f32 && *type_of(c.values) == Type::f32;
  const Kernel* kernel = pick(table, h, rows, plain);
  if (kernel == nullptr) return by_reference(reference, c);
  const Tensor x = evenly(c.x);
  const OptionalTensor bias = floats(c.bias), scale = floats(c.scale);
  const OptionalTensor residual = contiguous(c.residual);
  const LinearArgs args = layer_args(h, c, x, y, {bias, residual, scale}, rows);
  const Split split(h, rows, torch::stable::get_num_threads());
  run(*kernel, &args, split, kernel->scratch_floats(h, rows));
  return y;
}

}  // namespace secateur::bind
