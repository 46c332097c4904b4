// Model of ptx/index.cuh.
#pragma once

#include "cuda/emu/machine.h"

namespace secateur::ptx {

inline Dim3 thread_index() { return emu::self().at; }
inline Dim3 block_index() { return emu::self().block->at; }
inline Dim3 block_dim() { return emu::machine().block_dim; }
inline Dim3 grid_dim() { return emu::machine().grid; }

inline int thread() { return static_cast<int>(emu::self().at.x); }
inline int lane() { return thread() & 31; }
inline int warp() { return thread() >> 5; }

template <class T = std::uint8_t>
Shared<T> shared() {
  return {emu::kSharedBase};
}

}  // namespace secateur::ptx
