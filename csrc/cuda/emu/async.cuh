// Model of ptx/async.cuh.
#pragma once

#include "cuda/emu/async.h"

namespace secateur::ptx {

template <int kBytes, Cache kCache = kBytes == 16 ? Cache::global : Cache::all, class D, class S>
void cp_async(Shared<D> to, const S* from, int source_bytes = kBytes,
              const emu::Where& where = emu::Where::current()) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "cp.async copies 4, 8 or 16 bytes");
  static_assert(kBytes == 16 || kCache == Cache::all, "only 16 bytes can pass L1 by");
  emu::cp_async(to.address, from, kBytes, source_bytes, where);
}

inline void cp_async_commit() { emu::cp_async_commit(); }

template <int kPending>
void cp_async_wait() {
  emu::cp_async_wait(kPending);
}
inline void cp_async_wait_all() {
  emu::cp_async_commit();
  emu::cp_async_wait(0);
}

}  // namespace secateur::ptx
