#include "bind/linear.h"

namespace secateur {

const KernelTable& bsr_linear_table();

namespace bind {
namespace {

struct Op {
  static const KernelTable& table() { return bsr_linear_table(); }
  static constexpr Format format = Format::bsr;
  static constexpr const char* reference = "secateur::bsr_linear_reference";
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(secateur, CPU, m) {
  m.impl("bsr_linear", TORCH_BOX(&from_dispatcher<Op>));
  m.impl("bsr_linear_infer", TORCH_BOX(&from_dispatcher<Op>));
}

}  // namespace bind
}  // namespace secateur
