// Which instruction sets this CPU runs, and which kernel of a table a problem gets.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/kernel.h"

namespace secateur {

// All kernels of one op; made by CMake from the files of the op's folder, as <op>_table().
struct KernelTable {
  const char* op;
  const Kernel* const* kernels;
  std::size_t count;

  const Kernel* const* begin() const { return kernels; }
  const Kernel* const* end() const { return kernels + count; }
};

// Every op's table; made by CMake from the folders.
struct KernelTables {
  const KernelTable* const* tables;
  std::size_t count;

  const KernelTable* const* begin() const { return tables; }
  const KernelTable* const* end() const { return tables + count; }
};
KernelTables all_tables();

// The best instruction set of this CPU, capped by SECATEUR_ISA=portable|avx2|avx512|neon.
Isa isa();
const char* isa_name(Isa isa);

// The kernel for a problem; `plain` where values and x are f32. Null if the table has none that
// fits.
const Kernel* pick(const KernelTable& table, const Header& weight, std::int64_t rows, bool plain);

// Makes pick() return the kernel of this name whenever it can run the problem; "" undoes it.
// For tests and benchmarks. False if no kernel has the name or this CPU cannot run it.
bool force(const char* kernel_name);

// Identifies CPU model and instruction set: a verdict timed elsewhere is not believed.
std::uint32_t machine_stamp();

}  // namespace secateur
