// Loads and stores of 1, 2, 4, 8 or 16 bytes, from global memory by pointer and from shared memory
// by Shared<T>. An address is a multiple of the size of what it points to.
#pragma once

#include "cuda/ptx/types.cuh"

namespace secateur::ptx {

// Loads pass L2 by the policy that says: first to go.
__device__ __forceinline__ std::uint64_t evict_first() {
  std::uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

// One function for each instruction, of all widths. Behind the address may come one more operand,
// a policy: hint1, hint2 and hint4 name it where 1, 2 and 4 registers are loaded.
#define SECATEUR_LOAD(name, space, Pointer, address, constraint, hint1, hint2, hint4, ...) \
  template <class T>                                                                       \
  __device__ __forceinline__ T name(Pointer pointer) {                                     \
    if constexpr (sizeof(T) == 1) {                                                        \
      std::uint32_t r;                                                                     \
      asm volatile(space ".u8 %0, [%1]" hint1 ";"                                          \
                   : "=r"(r)                                                               \
                   : constraint(address) __VA_OPT__(, ) __VA_ARGS__                        \
                   : "memory");                                                            \
      return bits_as<T>(static_cast<std::uint8_t>(r));                                     \
    } else if constexpr (sizeof(T) == 2) {                                                 \
      std::uint16_t r;                                                                     \
      asm volatile(space ".u16 %0, [%1]" hint1 ";"                                         \
                   : "=h"(r)                                                               \
                   : constraint(address) __VA_OPT__(, ) __VA_ARGS__                        \
                   : "memory");                                                            \
      return bits_as<T>(r);                                                                \
    } else if constexpr (sizeof(T) == 4) {                                                 \
      std::uint32_t r;                                                                     \
      asm volatile(space ".u32 %0, [%1]" hint1 ";"                                         \
                   : "=r"(r)                                                               \
                   : constraint(address) __VA_OPT__(, ) __VA_ARGS__                        \
                   : "memory");                                                            \
      return bits_as<T>(r);                                                                \
    } else if constexpr (sizeof(T) == 8) {                                                 \
      Vec<std::uint32_t, 2> r;                                                             \
      asm volatile(space ".v2.u32 {%0, %1}, [%2]" hint2 ";"                                \
                   : "=r"(r.v[0]), "=r"(r.v[1])                                            \
                   : constraint(address) __VA_OPT__(, ) __VA_ARGS__                        \
                   : "memory");                                                            \
      return bits_as<T>(r);                                                                \
    } else {                                                                               \
      static_assert(sizeof(T) == 16, "a load moves 1, 2, 4, 8 or 16 bytes");               \
      Vec<std::uint32_t, 4> r;                                                             \
      asm volatile(space ".v4.u32 {%0, %1, %2, %3}, [%4]" hint4 ";"                        \
                   : "=r"(r.v[0]), "=r"(r.v[1]), "=r"(r.v[2]), "=r"(r.v[3])                \
                   : constraint(address) __VA_OPT__(, ) __VA_ARGS__                        \
                   : "memory");                                                            \
      return bits_as<T>(r);                                                                \
    }                                                                                      \
  }

#define SECATEUR_STORE(name, space, Pointer, address, constraint)                                  \
  template <class T>                                                                               \
  __device__ __forceinline__ void name(Pointer pointer, std::type_identity_t<T> value) {           \
    if constexpr (sizeof(T) == 1) {                                                                \
      const std::uint32_t r = bits_as<std::uint8_t>(value);                                        \
      asm volatile(space ".u8 [%0], %1;" ::constraint(address), "r"(r) : "memory");                \
    } else if constexpr (sizeof(T) == 2) {                                                         \
      const auto r = bits_as<std::uint16_t>(value);                                                \
      asm volatile(space ".u16 [%0], %1;" ::constraint(address), "h"(r) : "memory");               \
    } else if constexpr (sizeof(T) == 4) {                                                         \
      const auto r = bits_as<std::uint32_t>(value);                                                \
      asm volatile(space ".u32 [%0], %1;" ::constraint(address), "r"(r) : "memory");               \
    } else if constexpr (sizeof(T) == 8) {                                                         \
      const auto r = bits_as<Vec<std::uint32_t, 2>>(value);                                        \
      asm volatile(space ".v2.u32 [%0], {%1, %2};" ::constraint(address), "r"(r.v[0]), "r"(r.v[1]) \
                   : "memory");                                                                    \
    } else {                                                                                       \
      static_assert(sizeof(T) == 16, "a store moves 1, 2, 4, 8 or 16 bytes");                      \
      const auto r = bits_as<Vec<std::uint32_t, 4>>(value);                                        \
      asm volatile(space ".v4.u32 [%0], {%1, %2, %3, %4};" ::constraint(address), "r"(r.v[0]),     \
                   "r"(r.v[1]), "r"(r.v[2]), "r"(r.v[3])                                           \
                   : "memory");                                                                    \
    }                                                                                              \
  }

SECATEUR_LOAD(load, "ld.global", const T*, pointer, "l", "", "", "")
// What no thread writes while the kernel runs: through the read-only path.
SECATEUR_LOAD(load_nc, "ld.global.nc", const T*, pointer, "l", "", "", "")
// The same, and read once: it passes the caches by, so that what is used again stays there.
SECATEUR_LOAD(load_once, "ld.global.nc.L1::no_allocate.L2::cache_hint", const T*, pointer, "l",
              ", %2", ", %3", ", %5", "l"(evict_first()))
// What other blocks write while the kernel runs, past the L1 cache: a lock, a partial sum.
SECATEUR_LOAD(load_cg, "ld.global.cg", const T*, pointer, "l", "", "", "")
SECATEUR_LOAD(load, "ld.shared", Shared<T>, pointer.address, "r", "", "", "")
SECATEUR_STORE(store, "st.global", T*, pointer, "l")
// What this kernel does not read again.
SECATEUR_STORE(store_once, "st.global.cs", T*, pointer, "l")
SECATEUR_STORE(store, "st.shared", Shared<T>, pointer.address, "r")

#undef SECATEUR_LOAD
#undef SECATEUR_STORE

// The two bytes at `next`, and `next` to those behind them, where `wanted` is not 0; elsewhere
// zeros. Two predicated instructions, no branch.
template <class T>
__device__ __forceinline__ std::uint32_t take_if(Shared<T>& next, std::uint32_t wanted) {
  static_assert(sizeof(T) == 2, "take_if moves 2 bytes");
  std::uint32_t r;
  asm volatile(
      "{\n\t.reg .pred p;\n\tsetp.ne.u32 p, %2, 0;\n\tmov.u32 %0, 0;\n\t"
      "@p ld.shared.u16 %0, [%1];\n\t@p add.u32 %1, %1, 2;\n\t}"
      : "=&r"(r), "+r"(next.address)
      : "r"(wanted)
      : "memory");
  return r;
}

// A lock's word: no access of this thread behind it is done before it, in any block's eyes.
__device__ __forceinline__ std::uint32_t load_acquire(const std::uint32_t* pointer) {
  std::uint32_t r;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(r) : "l"(pointer) : "memory");
  return r;
}
// And none before it is done after it.
__device__ __forceinline__ void store_release(std::uint32_t* pointer, std::uint32_t value) {
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(pointer), "r"(value) : "memory");
}

__device__ __forceinline__ void prefetch(const void* pointer) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(pointer));
}

// __threadfence(): this thread's writes before it are seen by all blocks before those behind it.
__device__ __forceinline__ void fence() { __threadfence(); }
__device__ __forceinline__ void fence_block() { __threadfence_block(); }

}  // namespace secateur::ptx
