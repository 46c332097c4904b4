// cp.async: copies from global to shared memory that go on behind the thread's back.
#pragma once

#include "cuda/ptx/types.cuh"

namespace secateur::ptx {

// Copies the first `source_bytes` of kBytes (4, 8 or 16) and fills the rest with zeros; with none
// the source is not touched. Both addresses are multiples of kBytes.
template <int kBytes, Cache kCache = kBytes == 16 ? Cache::global : Cache::all, class D, class S>
__device__ __forceinline__ void cp_async(Shared<D> to, const S* from, int source_bytes = kBytes) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "cp.async copies 4, 8 or 16 bytes");
  static_assert(kBytes == 16 || kCache == Cache::all, "only 16 bytes can pass L1 by");
  if constexpr (kCache == Cache::global)
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], %2, %3;" ::"r"(to.address),
                 "l"(from), "n"(kBytes), "r"(source_bytes)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to.address), "l"(from),
                 "n"(kBytes), "r"(source_bytes)
                 : "memory");
}

// Closes a group: the copies since the last one.
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most kPending of this thread's groups are not done. Other threads see the bytes
// behind a barrier.
template <int kPending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}
// Waits for every copy of this thread, in a group or not.
__device__ __forceinline__ void cp_async_wait_all() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}

}  // namespace secateur::ptx
