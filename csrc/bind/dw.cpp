#include "bind/dw.h"

#include "bind/dispatch.h"
#include "bind/run.h"
#include "bind/tensors.h"
#include "cpu/dw/args.h"

namespace secateur::bind {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::detail::from;

Tensor by_reference(const char* op, const DwCall& c) {
  return dispatch<4>(op, "", {from(c.grad_y), from(c.x), from(c.index), from(c.length)});
}

std::int64_t row_stride(const Tensor& t) { return t.dim() > 1 ? t.stride(t.dim() - 2) : 0; }

void check(const DwCall& c, const Header& h, const char* op) {
  const auto last = [](const Tensor& t) { return t.dim() == 0 ? 0 : t.size(t.dim() - 1); };
  STD_TORCH_CHECK(last(c.grad_y) == h.out_features && last(c.x) == h.in_features, op,
                  ": grad_y and x must end in out_features and in_features, ", h.out_features,
                  " and ", h.in_features);
  STD_TORCH_CHECK(c.grad_y.numel() / h.out_features == c.x.numel() / h.in_features, op,
                  ": grad_y and x must have equally many rows");
  STD_TORCH_CHECK(c.length >= h.nnz, op, ": length is ", c.length, " but the index names ", h.nnz);
}

}  // namespace

Tensor dw(const KernelTable& table, Format format, const char* reference, const DwCall& c) {
  const Header& h = checked_index(c.index, format, table.op);
  check(c, h, table.op);
  const bool plain =
      c.x.scalar_type() == ScalarType::Float && c.grad_y.scalar_type() == ScalarType::Float;
  const std::int64_t tokens = c.x.numel() / h.in_features;
  const Kernel* kernel = plain ? pick(table, h, tokens, true) : nullptr;
  if (kernel == nullptr) return by_reference(reference, c);
  Tensor values = torch::stable::new_zeros(c.grad_y, {c.length});
  if (tokens == 0) return values;
  const Tensor grad_y = evenly(c.grad_y), x = evenly(c.x);
  const DwArgs args{
      .weight = &h,
      .grad_y = static_cast<const float*>(grad_y.const_data_ptr()),
      .grad_stride = row_stride(grad_y),
      .x = static_cast<const float*>(x.const_data_ptr()),
      .x_stride = row_stride(x),
      .values = static_cast<float*>(values.mutable_data_ptr()),
      .tokens = tokens,
  };
  const Split split(h, tokens, torch::stable::get_num_threads(), true);
  run(*kernel, &args, split, kernel->scratch_floats(h, tokens));
  return values;
}

}  // namespace secateur::bind
