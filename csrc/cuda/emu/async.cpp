#include "cuda/emu/async.h"

#include <cstring>
#include <utility>

#include "cuda/emu/buffers.h"
#include "cuda/emu/machine.h"

namespace secateur::emu {

namespace {

// Whether all that the copy will read may be read. Checked in parts, as access() takes whole ones.
bool readable(std::uint64_t from, int bytes, int source_bytes, const Where& where) {
  if (source_bytes == bytes) return buffers().access(from, bytes, Use::read, where) != nullptr;
  if (from % static_cast<std::uint64_t>(bytes) != 0 && source_bytes > 0)
    return buffers().access(from, bytes, Use::read, where) != nullptr;
  for (int i = 0; i < source_bytes; ++i)
    if (buffers().access(from + static_cast<std::uint64_t>(i), 1, Use::read, where) == nullptr)
      return false;
  return true;
}

void land(const Copy& copy) {
  std::byte* to = self().block->shared.land_copy(copy.to, copy.bytes);
  std::memset(to, 0, static_cast<std::size_t>(copy.bytes));
  std::int64_t offset = 0;
  if (copy.source_bytes == 0) return;
  const Buffer* source = buffers().find(copy.from, offset);
  std::memcpy(to, source->bytes + offset, static_cast<std::size_t>(copy.source_bytes));
}

}  // namespace

void cp_async(std::uint32_t to, const void* from, int bytes, int source_bytes, const Where& where) {
  Thread& me = self();
  const std::uint64_t source = address_of(from);
  if (source_bytes < 0 || source_bytes > bytes)
    return report().add("out_of_bounds", where,
                        here() + "copies " + std::to_string(source_bytes) + " of " +
                            std::to_string(bytes) + " bytes");
  me.log.push_back({where, to, bytes, Kind::copy_to});
  if (source_bytes > 0) me.log.push_back({where, source, source_bytes, Kind::copy_from});
  const bool may_read = readable(source, bytes, source_bytes, where);
  if (may_read && source_bytes > 0) global_shadow().touch(source, source_bytes, Touch::read, where);
  if (!me.block->shared.launch_copy(to, bytes, where)) return;
  me.open.push_back({to, source, bytes, may_read ? source_bytes : 0, where});
}

void cp_async_commit() {
  Thread& me = self();
  me.groups.push_back(std::exchange(me.open, {}));
}

void cp_async_wait(int pending) {
  Thread& me = self();
  while (static_cast<int>(me.groups.size()) > pending) {
    for (const Copy& copy : me.groups.front()) land(copy);
    me.groups.erase(me.groups.begin());
  }
}

}  // namespace secateur::emu
