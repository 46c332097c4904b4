#include "bind/dw.h"

namespace secateur {

const KernelTable& csr_linear_dw_table();

namespace bind {
namespace {

struct Op {
  static const KernelTable& table() { return csr_linear_dw_table(); }
  static constexpr Format format = Format::csr;
  static constexpr const char* reference = "secateur::csr_linear_dw_reference";
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(secateur, CPU, m) {
  m.impl("csr_linear_dw", TORCH_BOX(&dw_from_dispatcher<Op>));
}

}  // namespace bind
}  // namespace secateur
