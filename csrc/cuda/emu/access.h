// Accesses of single lanes, put together again to warp instructions, and what those cost.
#pragma once

#include <cstdint>

#include "cuda/emu/report.h"

namespace secateur::emu {

struct Block;

enum class Kind : std::uint8_t {
  load_shared,
  store_shared,
  load_global,
  store_global,
  copy_from,
  copy_to,
  atomic_global,
  atomic_shared
};

struct Access {
  Where where;  // with the how-maniest-th of a lane there, what makes lanes one instruction
  std::uint64_t address;
  int bytes;  // 0: the lane's predicate was off
  Kind kind;
};

// Counts what the warp's lanes did since they last met, and forgets it.
void account(Block& block, int first_thread, int lanes);

// Wavefronts that 8 rows of 16 bytes at these shared addresses take.
int row_wavefronts(const std::uint32_t (&rows)[8]);

}  // namespace secateur::emu
