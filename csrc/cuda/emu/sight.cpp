#include "cuda/emu/sight.h"

#include <algorithm>
#include <string>
#include <utility>

#include "cuda/emu/buffers.h"
#include "cuda/emu/machine.h"

namespace secateur::emu {

namespace {

Sight joined(const Sight& a, const Sight& b) {
  if (a == nullptr || a == b) return b;
  if (b == nullptr) return a;
  auto both = std::make_shared<Seen>(*a);
  for (const auto& [block, clocks] : *b) {
    auto& mine = (*both)[block];
    if (mine.size() < clocks.size()) mine.resize(clocks.size(), 0);
    for (std::size_t i = 0; i < clocks.size(); ++i) mine[i] = std::max(mine[i], clocks[i]);
  }
  return both;
}

// All that the thread has done and seen until now; what it does next is no part of it.
Sight snapshot(Thread& thread) {
  auto all = std::make_shared<Seen>(thread.horizon.seen != nullptr ? *thread.horizon.seen : Seen());
  (*all)[thread.block->number] = thread.block->shared.seen_by(thread.index);
  thread.block->shared.tick(thread.index);
  return all;
}

const char* verb(Touch how) {
  return how == Touch::read ? "reads" : how == Touch::acquire ? "acquires" : "writes";
}

}  // namespace

GlobalShadow& global_shadow() {
  static GlobalShadow the_shadow;
  return the_shadow;
}

void GlobalShadow::forget() {
  pages_.clear();
  given_.clear();
}

bool GlobalShadow::seen(const Event& event, const Thread& by) {
  if (event.clock == 0) return true;
  if (event.block == by.block->number)
    return event.clock <= by.block->shared.clock(by.index, event.thread);
  if (by.horizon.seen == nullptr) return false;
  const auto found = by.horizon.seen->find(event.block);
  return found != by.horizon.seen->end() && event.clock <= found->second[event.thread];
}

void GlobalShadow::race(const Event& other, const char* what, const std::string& mine,
                        const Where& where) {
  const bool same = other.block == self().block->number;
  report().add(
      "race", where,
      here() + mine +
          (same ? " with no barrier since thread " : " with no fence and flag since thread ") +
          std::to_string(other.thread) +
          (same ? "" : " of block number " + std::to_string(other.block)) + what);
}

void GlobalShadow::note(Cell& cell, Touch how, std::int64_t at, const Buffer& buffer,
                        const Where& where) {
  const Thread& me = self();
  const bool strong = how != Touch::read && how != Touch::write;
  const auto check = [&](const Event& other, const char* what) {
    if (seen(other, me) || !report().wants("race")) return;
    race(other, what, verb(how) + (" byte " + std::to_string(at)) + " of " + buffer.name, where);
  };
  const Event now{static_cast<std::int32_t>(me.block->number),
                  me.block->shared.clock(me.index, me.index), static_cast<std::uint16_t>(me.index),
                  strong};
  if (!strong || !cell.write.strong) check(cell.write, " wrote it");
  if (how == Touch::acquire) return;
  if (how == Touch::read) {
    if (seen(cell.read, me)) cell.read = now;
    return;
  }
  check(cell.read, " read it");
  cell.write = now;
}

void GlobalShadow::synchronize(std::uint64_t address, Touch how) {
  Thread& me = self();
  Sight& here = given_[address];
  if (how == Touch::acquire) {
    me.horizon.seen = joined(me.horizon.seen, here);
  } else if (how == Touch::release) {
    here = snapshot(me);
  } else {
    me.horizon.found = joined(me.horizon.found, here);
    here = joined(here, me.horizon.released);
  }
}

GlobalShadow::Cell& GlobalShadow::cell(const Buffer& buffer, std::int64_t at) {
  auto& pages = pages_[buffer.bytes];
  if (pages.empty()) pages.resize(static_cast<std::size_t>(buffer.size) / kPage + 1);
  auto& page = pages[static_cast<std::size_t>(at) / kPage];
  if (page == nullptr) page = std::make_unique<Page>();
  return (*page)[static_cast<std::size_t>(at) % kPage];
}

void GlobalShadow::touch(std::uint64_t address, int bytes, Touch how, const Where& where) {
  std::int64_t offset = 0;
  const Buffer* buffer = buffers().find(address, offset);
  if (buffer == nullptr || buffer->use == Use::read) return;
  for (std::int64_t i = offset; i < offset + bytes; ++i)
    note(cell(*buffer, i), how, i, *buffer, where);
  if (how != Touch::read && how != Touch::write) synchronize(address, how);
}

void GlobalShadow::fence() {
  Thread& me = self();
  me.horizon.seen = joined(me.horizon.seen, std::exchange(me.horizon.found, nullptr));
  me.horizon.released = snapshot(me);
}

void GlobalShadow::meet(Block& block, const std::vector<int>& members,
                        const std::vector<int>& waiting) {
  Horizon all;
  const auto thread = [&](int i) -> Thread& { return block.threads[static_cast<std::size_t>(i)]; };
  for (const int member : members) {
    const Horizon& one = thread(member).horizon;
    all.seen = joined(all.seen, one.seen);
    all.found = joined(all.found, one.found);
    all.released = joined(all.released, one.released);
  }
  if (all.seen == nullptr && all.found == nullptr && all.released == nullptr) return;
  for (const int waiter : waiting) {
    Horizon& one = thread(waiter).horizon;
    one.seen = joined(one.seen, all.seen);
    one.found = joined(one.found, all.found);
    one.released = joined(one.released, all.released);
  }
}

void order(Block& block, const std::vector<int>& members, const std::vector<int>& waiting) {
  GlobalShadow::meet(block, members, waiting);
  block.shared.order(members, waiting);
}

}  // namespace secateur::emu
