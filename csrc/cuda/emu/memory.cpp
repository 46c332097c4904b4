#include "cuda/emu/memory.h"

#include <cstring>

#include "cuda/emu/buffers.h"
#include "cuda/emu/machine.h"

namespace secateur::emu {

namespace {
void log(std::uint64_t address, int bytes, Kind kind, const Where& where) {
  self().log.push_back({where, address, bytes, kind});
}
void copy(void* to, const void* from, int bytes) {
  if (from == nullptr)
    std::memset(to, 0xff, static_cast<std::size_t>(bytes));
  else
    std::memcpy(to, from, static_cast<std::size_t>(bytes));
}
}  // namespace

void load_global(const void* from, void* to, int bytes, const Where& where) {
  log(address_of(from), bytes, Kind::load_global, where);
  copy(to, buffers().access(address_of(from), bytes, Use::read, where), bytes);
}

void store_global(void* to, const void* from, int bytes, const Where& where) {
  log(address_of(to), bytes, Kind::store_global, where);
  std::byte* found = buffers().access(address_of(to), bytes, Use::write, where);
  if (found != nullptr) copy(found, from, bytes);
}

void load_nothing(std::uint32_t from, const Where& where) {
  log(from, 0, Kind::load_shared, where);
}

void load_shared(std::uint32_t from, void* to, int bytes, const Where& where) {
  log(from, bytes, Kind::load_shared, where);
  copy(to, self().block->shared.read(from, bytes, where), bytes);
}

void store_shared(std::uint32_t to, const void* from, int bytes, const Where& where) {
  log(to, bytes, Kind::store_shared, where);
  std::byte* found = self().block->shared.write(to, bytes, where);
  if (found != nullptr) copy(found, from, bytes);
}

}  // namespace secateur::emu
