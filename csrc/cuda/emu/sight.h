// Global memory between blocks: who touched each byte when, and who can have seen it. Time is the
// vector clock of shadow.h, carried from block to block by what the PTX memory model lets carry it:
//   fence       closes what the thread has done and seen; an atomic of it, or of a thread that it
//               meets at a barrier behind the fence, gives that on to who finds the value
//   atomic      finds what others gave; it is seen from the next fence on, of this thread or of one
//               that it meets at a barrier
//   store_release, load_acquire     both at once
// An access races with one of another thread that it has not seen, if either writes and one of them
// is no atomic, release or acquire. Blocks need not run at the same time for a race to be found.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "cuda/emu/report.h"

namespace secateur::emu {

struct Block;
struct Buffer;
struct Thread;

// How far the threads of each block are seen: number of the block -> clocks.
using Seen = std::map<std::int64_t, std::vector<std::uint32_t>>;
using Sight = std::shared_ptr<const Seen>;

// What a thread knows of others than its block.
struct Horizon {
  Sight seen;      // comes before all it will do
  Sight found;     // by atomics; seen from the next fence on
  Sight released;  // as of its last fence
};

enum class Touch { read, write, acquire, release, update };

class GlobalShadow {
 public:
  // All that was done comes before all that will be: between launches.
  void forget();
  // The current thread touches bytes that it may touch.
  void touch(std::uint64_t address, int bytes, Touch how, const Where& where);
  void fence();
  // What the members know, the waiting threads know.
  static void meet(Block& block, const std::vector<int>& members, const std::vector<int>& waiting);

 private:
  struct Event {
    std::int32_t block = 0;
    std::uint32_t clock = 0;  // 0: none
    std::uint16_t thread = 0;
    bool strong = false;  // an atomic, or a release
  };
  struct Cell {
    Event write, read;  // the last one; of reads, the first that was not seen since
  };

  static constexpr std::size_t kPage =
      4096;  // cells made at a time: buffers of 4 GB are touched here and there
  using Page = std::array<Cell, kPage>;

  static bool seen(const Event& event, const Thread& by);
  void note(Cell& cell, Touch how, std::int64_t at, const Buffer& buffer, const Where& where);
  static void race(const Event& other, const char* what, const std::string& mine,
                   const Where& where);
  void synchronize(std::uint64_t address, Touch how);

  Cell& cell(const Buffer& buffer, std::int64_t at);

  // By the buffer's host memory, a page for so many bytes of it.
  std::unordered_map<const void*, std::vector<std::unique_ptr<Page>>> pages_;
  std::unordered_map<std::uint64_t, Sight> given_;  // by atomics and releases at a word
};

GlobalShadow& global_shadow();

// All that the members did comes before all that the waiting threads of the block will do.
void order(Block& block, const std::vector<int>& members, const std::vector<int>& waiting);

}  // namespace secateur::emu
