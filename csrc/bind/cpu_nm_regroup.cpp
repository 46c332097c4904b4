// Regrouping columns for N:M, from a dispatcher call to a kernel. The values inside the tensors are
// checked too: a kernel indexes by them.
#include <algorithm>
#include <tuple>

#include "bind/linear.h"
#include "cpu/nm_regroup/args.h"

namespace secateur {
const KernelTable& nm_regroup_table();
namespace bind {
namespace {

using torch::headeronly::ScalarType;

struct RegroupCall {
  Tensor columns, order, picks;
  std::int64_t n, patience;
};

bool within(const Tensor& t, std::int64_t end) {
  const auto* values = static_cast<const std::int64_t*>(t.const_data_ptr());
  return std::all_of(values, values + t.numel(), [=](std::int64_t v) { return v >= 0 && v < end; });
}

// Only columns that `order` names are read: a search looks at a few of many again and again.
bool scores_fit(const Tensor& columns, const Tensor& order) {
  const std::int64_t rows = columns.size(1);
  const auto* scores = static_cast<const std::int32_t*>(columns.const_data_ptr());
  const auto* named = static_cast<const std::int64_t*>(order.const_data_ptr());
  std::int32_t outside = 0;
  for (std::int64_t i = 0; i < order.numel(); ++i)
    for (std::int64_t r = 0; r < rows; ++r) outside |= scores[named[i] * rows + r] & ~kLargestScore;
  return outside == 0;
}

void check(const RegroupCall& c) {
  const bool typed = c.columns.scalar_type() == ScalarType::Int &&
                     c.order.scalar_type() == ScalarType::Long &&
                     c.picks.scalar_type() == ScalarType::Long;
  STD_TORCH_CHECK(typed, "nm_regroup: columns must be int32, order and picks int64");
  STD_TORCH_CHECK(c.columns.dim() == 2 && c.order.dim() == 1 && c.picks.dim() == 2,
                  "nm_regroup: columns must be [columns, rows], order [positions], picks "
                  "[rounds, groups]");
  STD_TORCH_CHECK(c.columns.size(1) % kRegroupRows == 0, "nm_regroup: columns has ",
                  c.columns.size(1), " rows, not a multiple of ", kRegroupRows);
  const std::int64_t groups = c.picks.size(1);
  STD_TORCH_CHECK(groups > 0 && c.order.numel() % groups == 0, "nm_regroup: order has ",
                  c.order.numel(), " positions, which ", groups, " groups cannot share");
  const std::int64_t m = c.order.numel() / groups;
  STD_TORCH_CHECK(1 <= c.n && c.n < m && m <= kLargestGroup, "nm_regroup: n must be 1 to m - 1, ",
                  "and m at most ", kLargestGroup, "; got n ", c.n, " and m ", m);
}

void check_values(const RegroupCall& c) {
  const std::int64_t m = c.order.numel() / c.picks.size(1);
  STD_TORCH_CHECK(within(c.order, c.columns.size(0)), "nm_regroup: order names columns beyond ",
                  c.columns.size(0));
  STD_TORCH_CHECK(within(c.picks, m), "nm_regroup: picks must be 0 to ", m - 1);
  STD_TORCH_CHECK(scores_fit(c.columns, c.order), "nm_regroup: scores must be 0 to ",
                  kLargestScore);
}

std::tuple<Tensor, Tensor> regroup(Tensor columns, Tensor order, Tensor picks, std::int64_t n,
                                   std::int64_t patience) {
  using torch::stable::contiguous;
  check({columns, order, picks, n, patience});
  const RegroupCall c{contiguous(columns), contiguous(order), contiguous(picks), n, patience};
  check_values(c);
  const std::int64_t groups = c.picks.size(1), positions = c.order.numel();
  const Tensor result = torch::stable::clone(c.order);
  const auto integers = [&](std::int64_t count) {
    return torch::stable::new_empty(c.order, {count});
  };
  const auto start = [](const Tensor& t) {
    return static_cast<std::int64_t*>(t.mutable_data_ptr());
  };
  const Tensor kept = integers(groups), certain = integers(positions);
  const Tensor value = integers(groups * groups), work = integers(kRegroupWork * groups);
  const Tensor rival = torch::stable::new_empty(c.columns, {positions, c.columns.size(1)});
  const RegroupArgs args{
      .columns = static_cast<const std::int32_t*>(c.columns.const_data_ptr()),
      .rows = c.columns.size(1),
      .groups = groups,
      .n = static_cast<int>(n),
      .m = static_cast<int>(positions / groups),
      .picks = static_cast<const std::int64_t*>(c.picks.const_data_ptr()),
      .rounds = c.picks.size(0),
      .patience = patience,
      .order = start(result),
      .kept = start(kept),
      .rival = static_cast<std::int32_t*>(rival.mutable_data_ptr()),
      .certain = start(certain),
      .value = start(value),
      .work = start(work),
  };
  const Kernel* kernel = pick(nm_regroup_table(), Header{}, c.columns.size(0), true);
  STD_TORCH_CHECK(kernel != nullptr, "nm_regroup: no kernel runs on this machine");
  kernel->run(&args, Part{}, nullptr);
  return {result, kept};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(secateur, CPU, m) { m.impl("nm_regroup", TORCH_BOX(&regroup)); }

}  // namespace bind
}  // namespace secateur
