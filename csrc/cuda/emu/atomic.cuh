// Model of ptx/atomic.cuh.
#pragma once

#include "cuda/emu/atomic.h"

namespace secateur::ptx {

template <class T>
T atomic_add(T* pointer, std::type_identity_t<T> value,
             const emu::Where& where = emu::Where::current()) {
  return emu::change<T>(emu::atomic_word(pointer, sizeof(T), where),
                        [&](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomic_add(Shared<T> pointer, std::type_identity_t<T> value,
             const emu::Where& where = emu::Where::current()) {
  return emu::change<T>(emu::atomic_word(pointer.address, sizeof(T), where),
                        [&](T old) { return static_cast<T>(old + value); });
}
inline std::uint32_t atomic_or(std::uint32_t* pointer, std::uint32_t value,
                               const emu::Where& where = emu::Where::current()) {
  return emu::change<std::uint32_t>(emu::atomic_word(pointer, sizeof value, where),
                                    [&](std::uint32_t old) { return old | value; });
}
inline std::uint32_t atomic_or(Shared<std::uint32_t> pointer, std::uint32_t value,
                               const emu::Where& where = emu::Where::current()) {
  return emu::change<std::uint32_t>(emu::atomic_word(pointer.address, sizeof value, where),
                                    [&](std::uint32_t old) { return old | value; });
}
inline std::uint32_t atomic_exch(std::uint32_t* pointer, std::uint32_t value,
                                 const emu::Where& where = emu::Where::current()) {
  return emu::change<std::uint32_t>(emu::atomic_word(pointer, sizeof value, where),
                                    [&](std::uint32_t) { return value; });
}
inline std::uint32_t atomic_inc(std::uint32_t* pointer, std::uint32_t last,
                                const emu::Where& where = emu::Where::current()) {
  return emu::change<std::uint32_t>(emu::atomic_word(pointer, sizeof last, where),
                                    [&](std::uint32_t old) { return old >= last ? 0 : old + 1; });
}
inline std::uint32_t atomic_cas(std::uint32_t* pointer, std::uint32_t expected, std::uint32_t value,
                                const emu::Where& where = emu::Where::current()) {
  return emu::change<std::uint32_t>(
      emu::atomic_word(pointer, sizeof value, where),
      [&](std::uint32_t old) { return old == expected ? value : old; });
}

}  // namespace secateur::ptx
