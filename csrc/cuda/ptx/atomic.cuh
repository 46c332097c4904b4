// Atomics on global and shared memory; each returns what was there before.
#pragma once

#include "cuda/ptx/types.cuh"

namespace secateur::ptx {

template <class T>
__device__ __forceinline__ T* generic(Shared<T> pointer) {
  return static_cast<T*>(__cvta_shared_to_generic(pointer.address));
}

// T: float, std::int32_t or std::uint32_t.
template <class T>
__device__ __forceinline__ T atomic_add(T* pointer, std::type_identity_t<T> value) {
  return atomicAdd(pointer, value);
}
template <class T>
__device__ __forceinline__ T atomic_add(Shared<T> pointer, std::type_identity_t<T> value) {
  return atomicAdd(generic(pointer), value);
}
__device__ __forceinline__ std::uint32_t atomic_or(std::uint32_t* pointer, std::uint32_t value) {
  return atomicOr(pointer, value);
}
__device__ __forceinline__ std::uint32_t atomic_or(Shared<std::uint32_t> pointer,
                                                   std::uint32_t value) {
  return atomicOr(generic(pointer), value);
}
__device__ __forceinline__ std::uint32_t atomic_exch(std::uint32_t* pointer, std::uint32_t value) {
  return atomicExch(pointer, value);
}
// Adds one, or goes back to 0 from `last` on: a counter that is ready for the next launch.
__device__ __forceinline__ std::uint32_t atomic_inc(std::uint32_t* pointer, std::uint32_t last) {
  return atomicInc(pointer, last);
}
__device__ __forceinline__ std::uint32_t atomic_cas(std::uint32_t* pointer, std::uint32_t expected,
                                                    std::uint32_t value) {
  return atomicCAS(pointer, expected, value);
}

}  // namespace secateur::ptx
