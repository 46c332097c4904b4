// Shared memory of a block, and who touched each byte of it when. Time is a vector clock: a thread
// knows how far it has seen each other thread, and barriers tell it more. An access races with one
// of another thread that it has not seen, if either of them writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cuda/emu/report.h"

namespace secateur::emu {

class Shadow {
 public:
  // Poisons `bytes` of memory, with NaN in every type of float, and forgets all.
  void reset(int bytes, int threads);

  int size() const { return static_cast<int>(memory_.size()); }

  // Bytes of the current thread, checked. `address` is of the shared window. Null, and a report, if
  // the access is outside or not aligned.
  const std::byte* read(std::uint32_t address, int bytes, const Where& where);
  std::byte* write(std::uint32_t address, int bytes, const Where& where);
  std::byte* update(std::uint32_t address, int bytes, const Where& where);  // an atomic

  // A cp.async of the current thread: it may write from now on, and is seen once it has landed.
  bool launch_copy(std::uint32_t address, int bytes, const Where& where);
  std::byte* land_copy(std::uint32_t address, int bytes);

  // How far a thread has seen another, or each; and the end of what others may have seen of it.
  std::uint32_t clock(int of, int about) const { return clocks_[place(of, about)]; }
  std::vector<std::uint32_t> seen_by(int thread) const;
  void tick(int thread) { ++reach(thread, thread); }

  // All that the members did comes before all that the waiting threads will do.
  void order(const std::vector<int>& members, const std::vector<int>& waiting);

 private:
  struct Event {
    std::uint32_t clock = 0;  // 0: none
    std::uint16_t thread = 0;
    bool atomic = false;
  };
  static constexpr int kReaders = 4;  // one of each of four warps, and the last that raced with one
  struct Cell {
    Event write, readers[kReaders + 1];
    std::uint16_t copies = 0;  // under way to here
  };

  std::byte* find(std::uint32_t address, int bytes, const char* verb, const Where& where);
  Event now() const;  // of the current thread
  bool seen(const Event& event, int by) const;
  void note_read(Cell& cell, std::uint32_t at, const Event& mine, const Where& where);
  void note_write(Cell& cell, std::uint32_t at, bool atomic, const Where& where);
  void race(const Event& other, const char* mine, const char* others, std::uint32_t at,
            const Where& where) const;
  std::size_t place(int of, int about) const {
    return static_cast<std::size_t>(of) * static_cast<std::size_t>(threads_) +
           static_cast<std::size_t>(about);
  }
  std::uint32_t& reach(int of, int about) { return clocks_[place(of, about)]; }

  std::vector<std::byte> memory_;
  std::vector<Cell> cells_;
  std::vector<std::uint32_t> clocks_;
  int threads_ = 0;
};

constexpr std::uint32_t kSharedBase = 1024;  // address 0 is nobody's, as on a GPU

}  // namespace secateur::emu
