// ldmatrix behind the templates of matrix.cuh.
#pragma once

#include "cuda/emu/report.h"
#include "cuda/ptx/types.cuh"

namespace secateur::emu {

void ldmatrix(std::uint32_t* r, std::uint32_t row, int matrices, bool transposed,
              const Where& where);

}  // namespace secateur::emu
