#include "bind/linear.h"

namespace secateur {

const KernelTable& nm_linear_table();

namespace bind {
namespace {

struct Op {
  static const KernelTable& table() { return nm_linear_table(); }
  static constexpr Format format = Format::nm;
  static constexpr const char* reference = "secateur::nm_linear_reference";
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(secateur, CPU, m) {
  m.impl("nm_linear", TORCH_BOX(&from_dispatcher<Op>));
  m.impl("nm_linear_infer", TORCH_BOX(&from_dispatcher<Op>));
}

}  // namespace bind
}  // namespace secateur
