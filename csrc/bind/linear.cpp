#include "bind/linear.h"

#include "bind/dispatch.h"
#include "bind/run.h"
#include "bind/tensors.h"

namespace secateur::bind {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::detail::from;

std::optional<Type> type_of(const Tensor& t) {
  switch (t.scalar_type()) {
    case ScalarType::Float:
      return Type::f32;
    case ScalarType::BFloat16:
      return Type::bf16;
    case ScalarType::Half:
      return Type::f16;
    case ScalarType::Char:
      return Type::i8;
    default:
      return std::nullopt;
  }
}

// What the kernels read: x, y and residual of one floating type, values of any, int8 with a scale.
bool types_fit(const LinearCall& c) {
  const auto x = type_of(c.x), values = type_of(c.values);
  const bool known = x && values && *x != Type::i8;
  return known && (*values == Type::i8) == c.scale.has_value() &&
         (!c.residual || type_of(*c.residual) == x) && (!c.bias || type_of(*c.bias)) &&
         (!c.scale || c.scale->scalar_type() == ScalarType::Float);
}

// A small float32 tensor that a kernel reads in whole: bias, scale.
OptionalTensor floats(const OptionalTensor& t) {
  if (!t) return t;
  if (t->scalar_type() == ScalarType::Float) return torch::stable::contiguous(*t);
  return torch::stable::contiguous(torch::stable::to(*t, ScalarType::Float));
}

Tensor by_reference(const char* op, const LinearCall& c) {
  return dispatch<10>(
      op, "",
      {from(c.x), from(c.values), from(c.index), from(c.bias), from(c.residual), from(c.scale),
       from(c.dense), from(c.transposed), from(c.out_features), from(c.act)});
}

Tensor activated(const Tensor& y, const std::string& act) {
  if (act == "relu") return dispatch<1>("aten::relu", "", {from(y)});
  if (act == "silu") return dispatch<1>("aten::silu", "", {from(y)});
  if (act == "gelu" || act == "gelu_tanh")
    return dispatch<2>("aten::gelu", "",
                       {from(y), from(std::string(act == "gelu" ? "none" : "tanh"))});
  return y;
}

Tensor plus(const Tensor& y, const OptionalTensor& residual) {
  return residual ? torch::stable::subtract(y, *residual, -1.0) : y;  // the stable ABI has no add
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
  const auto start = [](const OptionalTensor& t) { return t ? t->const_data_ptr() : nullptr; };
  const LinearArgs args{
      .weight = &h,
      .values = c.values.const_data_ptr(),
      .x = x.const_data_ptr(),
      .x_stride = x.dim() > 1 ? x.stride(x.dim() - 2) : h.in_features,
      .y = y.mutable_data_ptr(),
      .bias = static_cast<const float*>(start(bias)),
      .residual = start(residual),
      .scale = static_cast<const float*>(start(scale)),
      .rows = rows,
      .act = act_named(c.act),
      .value_type = *type_of(c.values),
      .x_type = *type_of(c.x),
  };
  const Split split(h, rows, torch::stable::get_num_threads());
  run(*kernel, &args, split, kernel->scratch_floats(h, rows));
  return y;
}

}  // namespace secateur::bind
