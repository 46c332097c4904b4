// The emulated GPU: blocks of fibers, who waits for whom, and who runs next. One host thread runs
// it all; a CUDA thread runs until it waits.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cuda/emu/access.h"
#include "cuda/emu/fiber.h"
#include "cuda/emu/report.h"
#include "cuda/emu/shadow.h"
#include "cuda/emu/sight.h"
#include "cuda/ptx/types.cuh"

namespace secateur::emu {

using ptx::Dim3;
using ptx::kFullMask;

constexpr int kWarp = 32;

struct Options {
  std::uint64_t seed = 0;  // of the order in which threads run; 0: as they come
  int resident = 1;        // blocks that run interleaved
  int multiprocessors = 108;
};

// One cp.async that is under way.
struct Copy {
  std::uint32_t to;
  std::uint64_t from;
  int bytes, source_bytes;
  Where where;
};

struct Block;
struct Warp;

struct Thread {
  Fiber fiber;
  Block* block;
  Warp* warp;
  int index;  // in its block
  Dim3 at;
  bool done = false;
  const char* waits_for = nullptr;        // null while it can run
  unsigned waits_at = 0;                  // line
  std::vector<std::vector<Copy>> groups;  // committed, oldest first
  std::vector<Copy> open;                 // not yet committed
  std::vector<Access> log;                // since the warp last met
  Horizon horizon;                        // of other blocks

  int lane() const { return index % kWarp; }
};

// Lanes of a warp that do one instruction together.
struct Meeting {
  const char* what;
  unsigned mask, arrived;
  void* arguments[kWarp];
};

struct Warp {
  int first;  // thread
  int lanes;  // fewer than 32 at the end of an odd block
  unsigned exited = 0;
  std::vector<Meeting> meetings;
};

struct Barrier {
  int arrived = 0;
  int expected = 0;  // 0: every thread that has not ended
  std::vector<Thread*> waiting;
  std::vector<int> members;  // threads whose writes the waiting ones will see
};

struct Block {
  Dim3 at;
  std::int64_t number;  // in the grid
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::map<int, Barrier> barriers;
  Shadow shared;
  int live = 0;
  std::unique_ptr<std::byte[]> stacks;
};

class Machine {
 public:
  Options options;
  Thread* current = nullptr;
  Dim3 grid, block_dim;

  // Runs kernel() for every thread; 0, or an error code of CUDA.
  int run(Dim3 grid, Dim3 block, int shared_bytes, std::function<void()> kernel);

  // The current thread waits until wake(it).
  void wait(const char* for_what, const Where& where);
  void wake(Thread* thread);
  // The current thread lets others run; too often without anybody's progress is a livelock.
  void yield(const Where& where);
  // Something was done that a polling thread may have waited for.
  void progress() { idle_yields_ = 0; }
  // The current thread's block cannot go on: it is given up.
  [[noreturn]] void give_up();

 private:
  static bool launchable(const Dim3& grid, const Dim3& block, int shared_bytes);
  void start(std::int64_t number, int shared_bytes);
  void finish_thread(Thread* thread);
  void drop(Block* block);
  Thread* next();
  void deadlock();
  static void enter();

  std::function<void()> kernel_;
  std::vector<std::unique_ptr<Block>> resident_, pool_;
  std::deque<Thread*> ready_;
  std::mt19937_64 random_;
  Fiber scheduler_;
  std::int64_t idle_yields_ = 0;
};

extern Machine the_machine;
inline Machine& machine() { return the_machine; }

inline Thread& self() { return *machine().current; }

// "block (0, 1) thread 37 ": how a message begins.
std::string here();

// The whole-block barrier is 0 with `expected` 0. Waits, unless it only arrives.
void barrier(int id, int expected, bool waits, const Where& where);
void thread_left_barriers(Block& block);

// Joins the current lane to the lanes of `mask`; the last to come gets the meeting and must call
// leave(), the others get null once it has.
Meeting* meet(const char* what, unsigned mask, void* arguments, const Where& where);
void leave(Meeting* meeting);
void lane_left(Thread& thread);

// act(Arguments* lanes[32]) is called once with the arguments of all lanes, null for those outside.
template <class Arguments, class Act>
void together(const char* what, unsigned mask, Arguments& mine, const Where& where, Act act) {
  Meeting* meeting = meet(what, mask, &mine, where);
  if (meeting == nullptr) return;
  Arguments* lanes[kWarp];
  for (int i = 0; i < kWarp; ++i)
    lanes[i] = (mask >> i & 1U) != 0 ? static_cast<Arguments*>(meeting->arguments[i]) : nullptr;
  act(lanes);
  leave(meeting);
}

}  // namespace secateur::emu
