// From a dispatcher call to a kernel, the same way for every sparse MLP.
#pragma once

#include "bind/linear.h"

namespace secateur::bind {

struct MlpCall {
  Tensor x, values1, index1, values2, index2;
  OptionalTensor bias1, bias2, residual;
  std::int64_t hidden_features, out_features;
  std::string act, act_out;
};

// `linear` is the op of one layer ("secateur::..._linear_infer"): two calls of it are the answer
// where the fused kernel has nothing to win, or does not take the types.
Tensor mlp(const KernelTable& table, Format format, const char* linear, const MlpCall& call);

// The function of a format's op as the dispatcher calls it.
template <class Op>
Tensor mlp_from_dispatcher(Tensor x, Tensor values1, Tensor index1, Tensor values2, Tensor index2,
                           OptionalTensor bias1, OptionalTensor bias2, OptionalTensor residual,
                           std::int64_t hidden_features, std::int64_t out_features, std::string act,
                           std::string act_out) {
  // #lizard forgives: the schema dictates the arguments.
  return mlp(Op::table(), Op::format, Op::linear,
             {x, values1, index1, values2, index2, bias1, bias2, residual, hidden_features,
              out_features, act, act_out});
}

}  // namespace secateur::bind

// The binding of a format's MLP op: all that its file in bind/ says.
#define SECATEUR_BIND_MLP(fmt)                                               \
  namespace secateur {                                                       \
  const KernelTable& fmt##_mlp_table();                                      \
  namespace bind {                                                           \
  namespace {                                                                \
  struct Op {                                                                \
    static const KernelTable& table() { return fmt##_mlp_table(); }          \
    static constexpr Format format = Format::fmt;                            \
    static constexpr const char* linear = "secateur::" #fmt "_linear_infer"; \
  };                                                                         \
  }                                                                          \
  STABLE_TORCH_LIBRARY_IMPL(secateur, CPU, m) {                              \
    m.impl(#fmt "_mlp", TORCH_BOX(&mlp_from_dispatcher<Op>));                \
    m.impl(#fmt "_mlp_infer", TORCH_BOX(&mlp_from_dispatcher<Op>));          \
  }                                                                          \
  }                                                                          \
  }
