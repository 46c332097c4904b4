#include "bind/linear.h"

#include <array>
#include <vector>

#include "bind/checks.h"
#include "bind/scratch.h"

namespace secateur::bind {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::detail::from;
using torch::stable::detail::to;

constexpr std::int64_t kAlone = 2'000'000;  // multiplications one thread does in about 50 us
constexpr std::int64_t kRowsTogether = 16;  // narrower pieces of x waste lanes

template <std::size_t N>
Tensor dispatch(const char* op, const char* overload, std::array<StableIValue, N> stack) {
  STABLE_TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher(op, overload, stack.data(), TORCH_ABI_VERSION));
  return to<Tensor>(stack[0]);
}

bool all_float32(const LinearCall& c) {
  const auto is = [](const Tensor& t) { return t.scalar_type() == ScalarType::Float; };
  return is(c.x) && is(c.values) && (!c.bias || is(*c.bias)) && (!c.residual || is(*c.residual));
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

// How a call is shared out to threads: the rows of x first; if there are too few, the row blocks of
// the weight.
struct Split {
  std::int64_t rows, blocks;  // of the whole
  std::int64_t units, parts;
  bool by_rows;

  Split(const Header& h, std::int64_t rows_of_x) : rows(rows_of_x), blocks(row_blocks(h)) {
    const std::int64_t threads = torch::stable::get_num_threads();
    const std::int64_t groups = ceil_div(rows, kRowsTogether);
    by_rows = groups >= threads || groups >= blocks;
    units = by_rows ? groups : blocks;
    parts = rows * h.nnz < kAlone ? 1 : smaller(threads, units);
  }

  Part operator[](std::int64_t i) const {
    const std::int64_t begin = units * i / parts, end = units * (i + 1) / parts;
    if (!by_rows) return {0, rows, begin, end};
    return {begin * kRowsTogether, smaller(end * kRowsTogether, rows), 0, blocks};
  }
};

void run(const Kernel& kernel, const LinearArgs& args) {
  const Split split(*args.weight, args.rows);
  const std::int64_t floats = kernel.scratch_floats(*args.weight, args.rows);
  auto work = [&](std::int64_t begin, std::int64_t end) {
    float* scratch = thread_scratch(floats);  // null: no memory; a throw must not leave a worker
    for (std::int64_t i = begin; i < end && scratch != nullptr; ++i)
      kernel.run(&args, split[i], scratch);
    if (scratch == nullptr) scratch_failed() = true;
  };
  if (split.parts == 1)
    work(0, 1);
  else
    torch::stable::parallel_for(0, split.parts, 1, work);
  STD_TORCH_CHECK(!scratch_failed().exchange(false), kernel.name, ": no memory for ", floats * 4,
                  " bytes of scratch");
}

Act act_named(const std::string& act) {
  constexpr std::array<const char*, 5> kNames = {"none", "relu", "gelu", "gelu_tanh", "silu"};
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (act == kNames[i]) return static_cast<Act>(i);
  STD_TORCH_CHECK(false, "act must be one of none, relu, gelu, gelu_tanh, silu; got ", act);
}

}  // namespace

Tensor linear(const KernelTable& table, Format format, const char* reference, const LinearCall& c) {
  if (!all_float32(c) || c.scale) return by_reference(reference, c);
  const Header& h = checked_header(c, format, table.op);
  const std::int64_t rows = c.x.numel() / h.in_features;
  if (c.dense && believed_verdict(h, rows) == Verdict::dense) return by_dense(c);

  std::vector<std::int64_t> shape;
  for (std::int64_t i = 0; i + 1 < c.x.dim(); ++i) shape.push_back(c.x.size(i));
  shape.push_back(c.out_features);
  Tensor y = torch::stable::new_empty(c.x, shape);
  if (y.numel() == 0) return y;

  const Tensor x = rows_evenly_apart(c.x) ? c.x : torch::stable::contiguous(c.x);
  const auto packed = [](const OptionalTensor& t) {
    return t ? OptionalTensor(torch::stable::contiguous(*t)) : std::nullopt;
  };
  const OptionalTensor bias = packed(c.bias), residual = packed(c.residual);
  const LinearArgs args{
      .weight = &h,
      .values = static_cast<const float*>(c.values.const_data_ptr()),
      .x = static_cast<const float*>(x.const_data_ptr()),
      .x_stride = x.dim() > 1 ? x.stride(x.dim() - 2) : h.in_features,
      .y = static_cast<float*>(y.mutable_data_ptr()),
      .bias = bias ? static_cast<const float*>(bias->const_data_ptr()) : nullptr,
      .residual = residual ? static_cast<const float*>(residual->const_data_ptr()) : nullptr,
      .rows = rows,
      .act = act_named(c.act),
  };
  const Kernel* kernel = pick(table, h, rows);
  STD_TORCH_CHECK(kernel != nullptr, table.op, ": no kernel runs this weight; reinstall secateur");
  run(*kernel, args);
  return y;
}

}  // namespace secateur::bind
