// Copies behind the templates of async.cuh. Bytes land at the wait, and not before.
#pragma once

#include "cuda/emu/report.h"
#include "cuda/ptx/types.cuh"

namespace secateur::emu {

void cp_async(std::uint32_t to, const void* from, int bytes, int source_bytes, const Where& where);
void cp_async_commit();
void cp_async_wait(int pending);

}  // namespace secateur::emu
