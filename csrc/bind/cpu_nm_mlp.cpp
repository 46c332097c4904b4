#include "bind/mlp.h"

namespace secateur {

const KernelTable& nm_mlp_table();

namespace bind {
namespace {

struct Op {
  static const KernelTable& table() { return nm_mlp_table(); }
  static constexpr Format format = Format::nm;
  static constexpr const char* linear = "secateur::nm_linear_infer";
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(secateur, CPU, m) {
  m.impl("nm_mlp", TORCH_BOX(&mlp_from_dispatcher<Op>));
  m.impl("nm_mlp_infer", TORCH_BOX(&mlp_from_dispatcher<Op>));
}

}  // namespace bind
}  // namespace secateur
