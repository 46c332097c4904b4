#include "cuda/emu/atomic.h"

#include "cuda/emu/buffers.h"

namespace secateur::emu {

void* atomic_word(const void* global, int bytes, const Where& where) {
  machine().yield(where);  // a lock may be taken this way
  self().log.push_back({where, address_of(global), bytes, Kind::atomic_global});
  std::byte* found = buffers().access(address_of(global), bytes, Use::both, where);
  if (found != nullptr) global_shadow().touch(address_of(global), bytes, Touch::update, where);
  return found;
}

void* atomic_word(std::uint32_t shared, int bytes, const Where& where) {
  self().log.push_back({where, shared, bytes, Kind::atomic_shared});
  return self().block->shared.update(shared, bytes, where);
}

}  // namespace secateur::emu
