#include "bind/linear.h"

namespace secateur {

const KernelTable& csr_linear_table();

namespace bind {
namespace {

struct Op {
  static const KernelTable& table() { return csr_linear_table(); }
  static constexpr Format format = Format::csr;
  static constexpr const char* reference = "secateur::csr_linear_reference";
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(secateur, CPU, m) {
  m.impl("csr_linear", TORCH_BOX(&from_dispatcher<Op>));
  m.impl("csr_linear_infer", TORCH_BOX(&from_dispatcher<Op>));
}

}  // namespace bind
}  // namespace secateur
