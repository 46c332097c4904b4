// Model of ptx/warp.cuh.
#pragma once

#include "cuda/emu/warp.h"

namespace secateur::ptx {

inline void barrier(const emu::Where& where = emu::Where::current()) {
  emu::barrier(0, 0, true, where);
}
inline void barrier(int id, int threads, const emu::Where& where = emu::Where::current()) {
  emu::barrier(id, threads, true, where);
}
inline void barrier_arrive(int id, int threads, const emu::Where& where = emu::Where::current()) {
  emu::barrier(id, threads, false, where);
}
inline void syncwarp(unsigned mask = kFullMask, const emu::Where& where = emu::Where::current()) {
  emu::syncwarp(mask, where);
}

#define SECATEUR_SHUFFLE(name, Operand, how)                                                       \
  template <class T>                                                                               \
  T name(T value, Operand operand, unsigned mask = kFullMask,                                      \
         const emu::Where& where = emu::Where::current()) {                                        \
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shfl moves 4 or 8 bytes");                    \
    emu::shuffle(emu::Shuffle::how, &value, sizeof value, static_cast<int>(operand), mask, where); \
    return value;                                                                                  \
  }
SECATEUR_SHUFFLE(shfl, int, index)
SECATEUR_SHUFFLE(shfl_up, unsigned, up)
SECATEUR_SHUFFLE(shfl_down, unsigned, down)
SECATEUR_SHUFFLE(shfl_xor, int, exclusive_or)
#undef SECATEUR_SHUFFLE

inline int add_up(int value, unsigned delta, const emu::Where& where = emu::Where::current()) {
  const int below = shfl_up(value, delta, kFullMask, where);
  const bool there = (emu::self().index & 31) >= static_cast<int>(delta);
  return there ? value + below : value;
}

inline unsigned ballot(bool vote, unsigned mask = kFullMask,
                       const emu::Where& where = emu::Where::current()) {
  return emu::vote("ballot", vote, mask, where);
}
inline bool any(bool vote, unsigned mask = kFullMask,
                const emu::Where& where = emu::Where::current()) {
  return emu::vote("any", vote, mask, where) != 0;
}
inline bool all(bool vote, unsigned mask = kFullMask,
                const emu::Where& where = emu::Where::current()) {
  return emu::vote("all", vote, mask, where) == mask;
}

}  // namespace secateur::ptx
