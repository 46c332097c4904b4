// Shuffles and votes behind the templates of warp.cuh.
#pragma once

#include "cuda/emu/report.h"
#include "cuda/ptx/types.cuh"

namespace secateur::emu {

enum class Shuffle { index, up, down, exclusive_or };

void shuffle(Shuffle how, void* value, int bytes, int operand, unsigned mask, const Where& where);
unsigned vote(const char* what, bool mine, unsigned mask, const Where& where);
void syncwarp(unsigned mask, const Where& where);
void barrier(int id, int expected, bool waits, const Where& where);

}  // namespace secateur::emu
