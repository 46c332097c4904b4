// What a kernel of a sparse MLP is given: two layers, the second fed by the first.
// Formula: h = act(bias1 + x W1^T), y = act_out(bias2 + h W2^T) + residual, sums over kept weights.
#pragma once

#include "cpu/kernel.h"

namespace secateur {

struct MlpArgs {
  LinearArgs first;   // its y and residual are null: h is never written out
  LinearArgs second;  // its x is null
};

// The MLP as one weight from x to y: what a kernel's scratch depends on.
inline Header outline(const Header& first, const Header& second) {
  Header whole = first;  // in_features and row_block
  whole.out_features = second.out_features;
  whole.k_block = second.k_block;
  return whole;
}

}  // namespace secateur
