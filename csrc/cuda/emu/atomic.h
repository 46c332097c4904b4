// Atomics behind the templates of atomic.cuh: where the word is.
#pragma once

#include "cuda/emu/machine.h"

namespace secateur::emu {

// The bytes to update; null, and a report, where there are none. Another thread may run before.
void* atomic_word(const void* global, int bytes, const Where& where);
void* atomic_word(std::uint32_t shared, int bytes, const Where& where);

// Returns the old value, or zero where there is no word.
template <class T, class Change>
T change(void* word, Change next) {
  T old{};
  if (word == nullptr) return old;
  std::memcpy(&old, word, sizeof old);
  const T now = next(old);
  std::memcpy(word, &now, sizeof now);
  if (std::memcmp(&old, &now, sizeof now) != 0) machine().progress();
  return old;
}

}  // namespace secateur::emu
