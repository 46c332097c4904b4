// A stack of its own for every CUDA thread, and the way from one to another.
#pragma once

#include <cstddef>

namespace secateur::emu {

struct Fiber {
  void* stack_pointer = nullptr;
#if !defined(__x86_64__) && !defined(__aarch64__)
  void* context = nullptr;  // a ucontext_t, where the switch is not written by hand
#endif
};

constexpr std::size_t kStackBytes = 64 * 1024;

// A fiber that will run entry(), which must not return, on `stack` of kStackBytes.
void make_fiber(Fiber& fiber, void* stack, void (*entry)());
// Leaves `from`, to be resumed by another switch, and goes on with `to`.
void switch_fiber(Fiber& from, Fiber& to);

}  // namespace secateur::emu
