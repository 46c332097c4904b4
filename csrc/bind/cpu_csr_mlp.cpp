#include "bind/mlp.h"

namespace secateur {

const KernelTable& csr_mlp_table();

namespace bind {
namespace {

struct Op {
  static const KernelTable& table() { return csr_mlp_table(); }
  static constexpr Format format = Format::csr;
  static constexpr const char* linear = "secateur::csr_linear_infer";
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(secateur, CPU, m) {
  m.impl("csr_mlp", TORCH_BOX(&mlp_from_dispatcher<Op>));
  m.impl("csr_mlp_infer", TORCH_BOX(&mlp_from_dispatcher<Op>));
}

}  // namespace bind
}  // namespace secateur
