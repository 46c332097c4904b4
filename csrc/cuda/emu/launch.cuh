// Model of ptx/launch.cuh.
#pragma once

#include "cuda/emu/machine.h"

namespace secateur::ptx {

template <class... P, class... A>
int launch(void (*kernel)(P...), Dim3 grid, Dim3 block, int shared_bytes, void*, A... args) {
  return emu::machine().run(grid, block, shared_bytes, [=] { kernel(args...); });
}

inline int multiprocessors() { return emu::machine().options.multiprocessors; }

}  // namespace secateur::ptx
