// What a CPU kernel of a sparse linear layer is given, and what it says of itself.
// Formula: y[t, o] = act(bias[o] + sum over kept (o, k) of w[o, k] * x[t, k]) + residual[t, o].
#pragma once

#include <cstdint>

#include "common/packed.h"
#include "common/types.h"

namespace secateur {

enum class Isa : std::uint8_t { portable = 0, avx2 = 1, avx512 = 2, neon = 3 };

// Types are those of the elements in memory; the arithmetic is float throughout.
struct LinearArgs {
  const Header* weight;   // start of `index`
  const void* values;     // in the index's order
  const void* x;          // [rows, in_features]
  std::int64_t x_stride;  // elements between rows of x
  void* y;                // [rows, out_features], contiguous
  const float* bias;      // [out_features] or null
  const void* residual;   // [rows, out_features], contiguous, or null
  const float* scale;     // [out_features], what each row's values are multiplied by, or null
  std::int64_t rows;
  Act act;
  Type value_type;  // of the values
  Type x_type;      // of x, y and the residual; not i8

  bool plain() const { return value_type == Type::f32 && x_type == Type::f32; }
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
  bool any_type;  // takes values and x of every Type, not of f32 alone
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
#define SECATEUR_REGISTER(rank, scratch_floats, run) \
  SECATEUR_KERNEL_ENTRY(false, rank, scratch_floats, run)
#define SECATEUR_REGISTER_ANY_TYPE(rank, scratch_floats, run) \
  SECATEUR_KERNEL_ENTRY(true, rank, scratch_floats, run)
#define SECATEUR_KERNEL_ENTRY(any_type, rank, scratch_floats, run)       \
  extern const secateur::Kernel SECATEUR_KERNEL;                         \
  constinit const secateur::Kernel SECATEUR_KERNEL = {                   \
      SECATEUR_KERNEL_NAME, SECATEUR_KERNEL_ISA,         any_type, rank, \
      scratch_floats,       secateur::Erased<&run>::call}
