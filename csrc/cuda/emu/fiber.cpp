// The switch by hand: ucontext's makes two system calls for the signal mask.
#include "cuda/emu/fiber.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)

// rdi: where to leave the stack pointer; rsi: the one to go on with.
extern "C" void secateur_emu_switch(void** from, void* to);
asm(R"(
.text
.hidden secateur_emu_switch
.globl secateur_emu_switch
.type secateur_emu_switch,@function
secateur_emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size secateur_emu_switch,.-secateur_emu_switch
)");
namespace {
constexpr int kSaved = 6;       // registers below the return address
constexpr int kReturnSlot = 6;  // of the frame, in words
constexpr int kFrameWords = 8;  // entry() finds the stack as after a call: 8 bytes off 16
}  // namespace

#elif defined(__aarch64__)

extern "C" void secateur_emu_switch(void** from, void* to);
asm(R"(
.text
.hidden secateur_emu_switch
.globl secateur_emu_switch
.type secateur_emu_switch,%function
secateur_emu_switch:
  sub sp, sp, 160
  stp x19, x20, [sp, 0]
  stp x21, x22, [sp, 16]
  stp x23, x24, [sp, 32]
  stp x25, x26, [sp, 48]
  stp x27, x28, [sp, 64]
  stp x29, x30, [sp, 80]
  stp d8, d9, [sp, 96]
  stp d10, d11, [sp, 112]
  stp d12, d13, [sp, 128]
  stp d14, d15, [sp, 144]
  mov x2, sp
  str x2, [x0]
  mov sp, x1
  ldp x19, x20, [sp, 0]
  ldp x21, x22, [sp, 16]
  ldp x23, x24, [sp, 32]
  ldp x25, x26, [sp, 48]
  ldp x27, x28, [sp, 64]
  ldp x29, x30, [sp, 80]
  ldp d8, d9, [sp, 96]
  ldp d10, d11, [sp, 112]
  ldp d12, d13, [sp, 128]
  ldp d14, d15, [sp, 144]
  add sp, sp, 160
  ret
.size secateur_emu_switch,.-secateur_emu_switch
)");
namespace {
constexpr int kReturnSlot = 11;  // x30
constexpr int kFrameWords = 20;
}  // namespace

#else
#include <ucontext.h>
#endif

namespace secateur::emu {

#if defined(__x86_64__) || defined(__aarch64__)

void make_fiber(Fiber& fiber, void* stack, void (*entry)()) {
  auto top = reinterpret_cast<std::uintptr_t>(stack) + kStackBytes;
  top &= ~std::uintptr_t{15};
  auto* frame = reinterpret_cast<std::uintptr_t*>(top) - kFrameWords;
  std::memset(frame, 0, kFrameWords * sizeof *frame);
  frame[kReturnSlot] = reinterpret_cast<std::uintptr_t>(entry);
  fiber.stack_pointer = frame;
}

void switch_fiber(Fiber& from, Fiber& to) {
  secateur_emu_switch(&from.stack_pointer, to.stack_pointer);
}

#else

void make_fiber(Fiber& fiber, void* stack, void (*entry)()) {
  if (fiber.context == nullptr) fiber.context = new ucontext_t;
  auto* context = static_cast<ucontext_t*>(fiber.context);
  getcontext(context);
  context->uc_stack.ss_sp = stack;
  context->uc_stack.ss_size = kStackBytes;
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
}

void switch_fiber(Fiber& from, Fiber& to) {
  if (from.context == nullptr) from.context = new ucontext_t;
  swapcontext(static_cast<ucontext_t*>(from.context), static_cast<ucontext_t*>(to.context));
}

#endif

}  // namespace secateur::emu
