// Model of ptx/memory.cuh.
#pragma once

#include "cuda/emu/memory.h"

namespace secateur::ptx {

using emu::Where;

template <class T>
constexpr void check_width() {
  static_assert(
      sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16,
      "one access moves 1, 2, 4, 8 or 16 bytes");
}

template <class T>
T load(const T* pointer, const Where& where = Where::current()) {
  check_width<T>();
  T value;
  emu::load_global(pointer, &value, sizeof value, where);
  return value;
}
template <class T>
T load_nc(const T* pointer, const Where& where = Where::current()) {
  return load(pointer, where);
}
template <class T>
T load_once(const T* pointer, const Where& where = Where::current()) {
  return load(pointer, where);
}
template <class T>
T load_cg(const T* pointer, const Where& where = Where::current()) {
  return load(pointer, where);
}
template <class T>
T load(Shared<T> pointer, const Where& where = Where::current()) {
  check_width<T>();
  T value;
  emu::load_shared(pointer.address, &value, sizeof value, where);
  return value;
}

template <class T>
std::uint32_t take_if(Shared<T>& next, std::uint32_t wanted,
                      const Where& where = Where::current()) {
  static_assert(sizeof(T) == 2, "take_if moves 2 bytes");
  if (wanted == 0) {
    emu::load_nothing(next.address, where);
    return 0;
  }
  const T value = load(next, where);
  next = next + 1;
  return bits_as<std::uint16_t>(value);
}

template <class T>
void store(T* pointer, std::type_identity_t<T> value, const Where& where = Where::current()) {
  check_width<T>();
  emu::store_global(pointer, &value, sizeof value, where);
}
template <class T>
void store_once(T* pointer, std::type_identity_t<T> value, const Where& where = Where::current()) {
  store(pointer, value, where);
}
template <class T>
void store(Shared<T> pointer, std::type_identity_t<T> value,
           const Where& where = Where::current()) {
  check_width<T>();
  emu::store_shared(pointer.address, &value, sizeof value, where);
}

inline std::uint32_t load_acquire(const std::uint32_t* pointer,
                                  const Where& where = Where::current()) {
  return emu::load_acquire(pointer, where);
}
inline void store_release(std::uint32_t* pointer, std::uint32_t value,
                          const Where& where = Where::current()) {
  emu::store_release(pointer, value, where);
}

inline void prefetch(const void*) {}
inline void fence() { emu::fence(); }
// Orders nothing between blocks, and in a block nothing that a barrier does not.
inline void fence_block() {}

}  // namespace secateur::ptx
