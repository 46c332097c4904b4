// What a CPU kernel of a sparse linear layer is given, and what it says of itself.
// Formula: y[t, o] = act(bias[o] + sum over kept (o, k) of w[o, k] * x[t, k]) + residual[t, o].
#pragma once

#include <cstdint>

#include "common/packed.h"

namespace secateur {

enum class Isa : std::uint8_t { portable = 0, avx2 = 1, avx512 = 2 };
enum class Act : std::uint8_t { none, relu, gelu, gelu_tanh, silu };

struct LinearArgs {
  const Header* weight;   // start of `index`
  const float* values;    // in the index's order
  const float* x;         // [rows, in_features]
  std::int64_t x_stride;  // elements between rows of x
  float* y;               // [rows, out_features], contiguous
  const float* bias;      // [out_features] or null
  const float* residual;  // [rows, out_features], contiguous, or null
  std::int64_t rows;
  Act act;
};

// The part of the output one thread computes.
struct Part {
  std::int64_t row_begin, row_end;      // rows of x
  std::int64_t block_begin, block_end;  // row blocks of the weight
};

// A constant in one ISA's object file; a table of pointers to these is the list of kernels.
struct Kernel {
  const char* name;  // <op>_<file>
  Isa isa;
  // How well it suits the problem: 0 cannot run it; among the runnable the highest wins.
  int (*rank)(const Header& weight, std::int64_t rows);
  std::int64_t (*scratch_floats)(const Header& weight, std::int64_t rows);
  void (*run)(const void* args, const Part& part, float* scratch);  // args: of the op's own type
};

// The function of a kernel as the table holds it.
template <auto kRun>
struct Erased;

template <class Args, void (*kRun)(const Args&, const Part&, float*)>
struct Erased<kRun> {
  static void call(const void* args, const Part& part, float* scratch) {
    kRun(*static_cast<const Args*>(args), part, scratch);
  }
};

}  // namespace secateur

// The last lines of a kernel's file; the build gives each file its name and instruction set.
#define SECATEUR_REGISTER(rank, scratch_floats, run)                                             \
  extern const secateur::Kernel SECATEUR_KERNEL;                                                 \
  constinit const secateur::Kernel SECATEUR_KERNEL = {SECATEUR_KERNEL_NAME, SECATEUR_KERNEL_ISA, \
                                                      rank, scratch_floats,                      \
                                                      secateur::Erased<&run>::call}
