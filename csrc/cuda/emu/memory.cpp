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
void load_as(Touch how, const void* from, void* to, int bytes, const Where& where) {
  log(address_of(from), bytes, Kind::load_global, where);
  const std::byte* found = buffers().access(address_of(from), bytes, Use::read, where);
  if (found != nullptr) global_shadow().touch(address_of(from), bytes, how, where);
  copy(to, found, bytes);
}
void store_as(Touch how, void* to, const void* from, int bytes, const Where& where) {
  log(address_of(to), bytes, Kind::store_global, where);
  std::byte* found = buffers().access(address_of(to), bytes, Use::write, where);
  if (found == nullptr) return;
  global_shadow().touch(address_of(to), bytes, how, where);
  copy(found, from, bytes);
}
}  // namespace

void load_global(const void* from, void* to, int bytes, const Where& where) {
  load_as(Touch::read, from, to, bytes, where);
}

void store_global(void* to, const void* from, int bytes, const Where& where) {
  store_as(Touch::write, to, from, bytes, where);
}

void load_nothing(std::uint32_t from, const Where& where) {
  log(from, 0, Kind::load_shared, where);
}

// Polling has to let the other threads run.
std::uint32_t load_acquire(const std::uint32_t* from, const Where& where) {
  machine().yield(where);
  std::uint32_t value;
  load_as(Touch::acquire, from, &value, sizeof value, where);
  return value;
}

void store_release(std::uint32_t* to, std::uint32_t value, const Where& where) {
  store_as(Touch::release, to, &value, sizeof value, where);
  machine().progress();
}

void fence() { global_shadow().fence(); }

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
