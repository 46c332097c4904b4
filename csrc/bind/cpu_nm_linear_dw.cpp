#include "bind/dw.h"

namespace secateur {

const KernelTable& nm_linear_dw_table();

namespace bind {
namespace {

struct Op {
  static const KernelTable& table() { return nm_linear_dw_table(); }
  static constexpr Format format = Format::nm;
  static constexpr const char* reference = "secateur::nm_linear_dw_reference";
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(secateur, CPU, m) {
  m.impl("nm_linear_dw", TORCH_BOX(&dw_from_dispatcher<Op>));
}

}  // namespace bind
}  // namespace secateur
