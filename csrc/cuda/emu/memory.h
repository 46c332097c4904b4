// Loads and stores behind the templates of memory.cuh: checked, raced, logged.
#pragma once

#include "cuda/emu/report.h"
#include "cuda/ptx/types.cuh"

namespace secateur::emu {

// What cannot be read is read as all ones, NaN in every type of float; such a store is dropped.
void load_global(const void* from, void* to, int bytes, const Where& where);
void store_global(void* to, const void* from, int bytes, const Where& where);
// This lane's part in a warp's load_shared that its predicate keeps it from.
void load_nothing(std::uint32_t from, const Where& where);
void load_shared(std::uint32_t from, void* to, int bytes, const Where& where);
// Of a word that threads of different blocks share.
std::uint32_t load_acquire(const std::uint32_t* from, const Where& where);
void store_release(std::uint32_t* to, std::uint32_t value, const Where& where);
void fence();
void store_shared(std::uint32_t to, const void* from, int bytes, const Where& where);

}  // namespace secateur::emu
