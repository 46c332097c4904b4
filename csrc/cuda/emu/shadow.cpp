#include "cuda/emu/shadow.h"

#include <algorithm>
#include <string>

#include "cuda/emu/machine.h"

namespace secateur::emu {

void Shadow::reset(int bytes, int threads) {
  memory_.assign(static_cast<std::size_t>(bytes), std::byte{0xff});
  cells_.assign(static_cast<std::size_t>(bytes), Cell());
  threads_ = threads;
  clocks_.assign(static_cast<std::size_t>(threads) * static_cast<std::size_t>(threads), 0);
  for (int i = 0; i < threads; ++i) reach(i, i) = 1;
}

std::byte* Shadow::find(std::uint32_t address, int bytes, const char* verb, const Where& where) {
  const std::int64_t offset = std::int64_t{address} - kSharedBase;
  const auto what = [&](const char* how) {
    return here() + verb + " " + std::to_string(bytes) + " bytes of shared memory at byte " +
           std::to_string(offset) + how;
  };
  if (offset < 0 || offset + bytes > size()) {
    report().add("out_of_bounds", where, what(", of ") + std::to_string(size()));
    return nullptr;
  }
  if (offset % bytes != 0) {
    report().add("misaligned", where, what(", not a multiple of their number"));
    return nullptr;
  }
  return memory_.data() + offset;
}

Shadow::Event Shadow::now() const {
  const int me = self().index;
  return {clock(me, me), static_cast<std::uint16_t>(me), false};
}

bool Shadow::seen(const Event& event, int by) const {
  return event.clock <= clock(by, event.thread);
}

std::vector<std::uint32_t> Shadow::seen_by(int thread) const {
  const auto begin = clocks_.begin() + static_cast<std::ptrdiff_t>(place(thread, 0));
  return {begin, begin + threads_};
}

void Shadow::race(const Event& other, const char* mine, const char* others, std::uint32_t at,
                  const Where& where) const {
  if (!report().wants("race")) return;
  report().add("race", where,
               here() + mine + " byte " + std::to_string(at) +
                   " of shared memory with no barrier since thread " +
                   std::to_string(other.thread) + others);
}

void Shadow::note_read(Cell& cell, std::uint32_t at, const Event& mine, const Where& where) {
  const int me = mine.thread;
  if (cell.copies != 0 && report().wants("race"))
    report().add("race", where,
                 here() + "reads byte " + std::to_string(at) +
                     " of shared memory while a cp.async is under way to it");
  if (cell.write.clock == 0) {
    if (report().wants("uninitialised"))
      report().add("uninitialised", where,
                   here() + "reads byte " + std::to_string(at) +
                       " of shared memory, which nothing has written");
  } else if (!seen(cell.write, me)) {
    race(cell.write, "reads", " wrote it", at, where);
  }
  Event& slot = cell.readers[me / kWarp % kReaders];
  if (slot.clock == 0 || slot.thread == me || seen(slot, me))
    slot = mine;
  else
    cell.readers[kReaders] = mine;
}

void Shadow::note_write(Cell& cell, std::uint32_t at, bool atomic, const Where& where) {
  const int me = self().index;
  if (!(atomic && cell.write.atomic) && !seen(cell.write, me))
    race(cell.write, "writes", " wrote it", at, where);
  for (const Event& reader : cell.readers)
    if (!seen(reader, me)) {
      race(reader, "writes", " read it", at, where);
      break;
    }
  cell.write = {clock(me, me), static_cast<std::uint16_t>(me), atomic};
}

const std::byte* Shadow::read(std::uint32_t address, int bytes, const Where& where) {
  const std::byte* found = find(address, bytes, "reads", where);
  if (found == nullptr) return nullptr;
  const auto at = static_cast<std::uint32_t>(found - memory_.data());
  const Event mine = now();
  for (std::uint32_t i = at; i < at + static_cast<std::uint32_t>(bytes); ++i)
    note_read(cells_[i], i, mine, where);
  return found;
}

std::byte* Shadow::write(std::uint32_t address, int bytes, const Where& where) {
  std::byte* found = find(address, bytes, "writes", where);
  if (found == nullptr) return nullptr;
  const auto at = static_cast<std::uint32_t>(found - memory_.data());
  for (std::uint32_t i = at; i < at + static_cast<std::uint32_t>(bytes); ++i) {
    if (cells_[i].copies != 0 && report().wants("race"))
      report().add("race", where,
                   here() + "writes byte " + std::to_string(i) +
                       " of shared memory while a cp.async is under way to it");
    note_write(cells_[i], i, false, where);
  }
  return found;
}

std::byte* Shadow::update(std::uint32_t address, int bytes, const Where& where) {
  std::byte* found = find(address, bytes, "updates", where);
  if (found == nullptr) return nullptr;
  const auto at = static_cast<std::uint32_t>(found - memory_.data());
  for (std::uint32_t i = at; i < at + static_cast<std::uint32_t>(bytes); ++i) {
    if (cells_[i].write.clock == 0 && report().wants("uninitialised"))
      report().add("uninitialised", where,
                   here() + "updates byte " + std::to_string(i) +
                       " of shared memory, which nothing has written");
    note_write(cells_[i], i, true, where);
  }
  return found;
}

bool Shadow::launch_copy(std::uint32_t address, int bytes, const Where& where) {
  std::byte* found = write(address, bytes, where);
  if (found == nullptr) return false;
  std::fill(found, found + bytes, std::byte{0xff});
  const auto at = found - memory_.data();
  for (auto i = at; i < at + bytes; ++i) ++cells_[static_cast<std::size_t>(i)].copies;
  return true;
}

std::byte* Shadow::land_copy(std::uint32_t address, int bytes) {
  const auto at = static_cast<std::size_t>(address - kSharedBase);
  const Event mine = now();
  for (std::size_t i = at; i < at + static_cast<std::size_t>(bytes); ++i) {
    --cells_[i].copies;
    cells_[i].write = mine;
  }
  return memory_.data() + at;
}

void Shadow::order(const std::vector<int>& members, const std::vector<int>& waiting) {
  const auto n = static_cast<std::size_t>(threads_);
  std::vector<std::uint32_t> joined(n, 0);
  if (members.size() == n) {
    for (int i = 0; i < threads_; ++i) joined[static_cast<std::size_t>(i)] = clock(i, i);
  } else {
    for (const int member : members)
      for (int i = 0; i < threads_; ++i)
        joined[static_cast<std::size_t>(i)] =
            std::max(joined[static_cast<std::size_t>(i)], clock(member, i));
  }
  for (const int thread : waiting)
    for (int i = 0; i < threads_; ++i)
      reach(thread, i) = std::max(clock(thread, i), joined[static_cast<std::size_t>(i)]);
  for (const int member : members) tick(member);
}

}  // namespace secateur::emu
