#include "cuda/emu/machine.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace secateur::emu {

namespace {
constexpr int kInvalidConfiguration = 9;  // cudaErrorInvalidConfiguration
constexpr int kMostThreads = 1024;
constexpr int kMostSharedBytes = 227 * 1024;  // of sm_90 and sm_100
constexpr std::int64_t kMostIdleYields = 1 << 20;

std::string text(const Dim3& at) {
  return "(" + std::to_string(at.x) + ", " + std::to_string(at.y) +
         (at.z != 0 ? ", " + std::to_string(at.z) : "") + ")";
}
}  // namespace

Machine the_machine;

std::string here() {
  const Thread& me = self();
  return "block " + text(me.block->at) + " thread " + std::to_string(me.index) + " ";
}

bool Machine::launchable(const Dim3& grid, const Dim3& block, int shared_bytes) {
  const std::int64_t threads = std::int64_t{block.x} * block.y * block.z;
  const bool fits = grid.x < (1U << 31) && grid.y <= 65535 && grid.z <= 65535;
  const bool some = grid.x > 0 && grid.y > 0 && grid.z > 0 && threads > 0;
  return some && fits && threads <= kMostThreads && shared_bytes >= 0 &&
         shared_bytes <= kMostSharedBytes;
}

int Machine::run(Dim3 grid_size, Dim3 block_size, int shared_bytes, std::function<void()> kernel) {
  if (!launchable(grid_size, block_size, shared_bytes)) return kInvalidConfiguration;
  const std::int64_t blocks = std::int64_t{grid_size.x} * grid_size.y * grid_size.z;
  grid = grid_size;
  block_dim = block_size;
  kernel_ = std::move(kernel);
  random_.seed(options.seed);
  idle_yields_ = 0;
  global_shadow().forget();
  std::int64_t started = 0;
  while (true) {
    while (started < blocks && static_cast<int>(resident_.size()) < std::max(1, options.resident))
      start(started++, shared_bytes);
    if (resident_.empty()) break;
    if (ready_.empty()) {
      deadlock();
      continue;
    }
    current = next();
    ++report().counters.switches;
    switch_fiber(scheduler_, current->fiber);
    Thread* ran = std::exchange(current, nullptr);
    if (ran->done && ran->block->live == 0) drop(ran->block);
  }
  kernel_ = nullptr;
  return 0;
}

Thread* Machine::next() {
  if (options.seed != 0) std::swap(ready_.front(), ready_[random_() % ready_.size()]);
  Thread* thread = ready_.front();
  ready_.pop_front();
  return thread;
}

void Machine::start(std::int64_t number, int shared_bytes) {
  const int threads = static_cast<int>(block_dim.x * block_dim.y * block_dim.z);
  std::unique_ptr<Block> block;
  if (pool_.empty()) {
    block = std::make_unique<Block>();
  } else {
    block = std::move(pool_.back());
    pool_.pop_back();
  }
  if (static_cast<int>(block->threads.size()) != threads) {
    block->stacks.reset(new std::byte[kStackBytes * static_cast<std::size_t>(threads)]);
    block->threads.resize(static_cast<std::size_t>(threads));
  }
  const auto x = number % grid.x, y = number / grid.x % grid.y, z = number / grid.x / grid.y;
  block->at = {static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z)};
  block->number = number;
  block->barriers.clear();
  block->shared.reset(shared_bytes, threads);
  block->live = threads;
  block->warps.clear();
  for (int first = 0; first < threads; first += kWarp)
    block->warps.push_back({first, std::min(kWarp, threads - first), 0, {}});
  for (int i = 0; i < threads; ++i) {
    Thread& thread = block->threads[static_cast<std::size_t>(i)];
    thread.block = block.get();
    thread.warp = &block->warps[static_cast<std::size_t>(i / kWarp)];
    thread.index = i;
    const auto u = static_cast<unsigned>(i);
    thread.at = {u % block_dim.x, u / block_dim.x % block_dim.y, u / block_dim.x / block_dim.y};
    thread.done = false;
    thread.waits_for = nullptr;
    thread.groups.clear();
    thread.open.clear();
    thread.log.clear();
    thread.horizon = {};
    make_fiber(thread.fiber, block->stacks.get() + kStackBytes * static_cast<std::size_t>(i),
               &Machine::enter);
    ready_.push_back(&thread);
  }
  ++report().counters.blocks;
  resident_.push_back(std::move(block));
}

void Machine::enter() {
  machine().kernel_();
  Machine& m = machine();
  m.finish_thread(m.current);
  switch_fiber(m.current->fiber, m.scheduler_);
}

void Machine::finish_thread(Thread* thread) {
  idle_yields_ = 0;
  lane_left(*thread);
  thread->done = true;
  --thread->block->live;
  thread_left_barriers(*thread->block);
}

void Machine::drop(Block* block) {
  std::erase_if(ready_, [&](const Thread* t) { return t->block == block; });
  const auto it = std::find_if(resident_.begin(), resident_.end(),
                               [&](const auto& b) { return b.get() == block; });
  pool_.push_back(std::move(*it));
  resident_.erase(it);
}

void Machine::wait(const char* for_what, const Where& where) {
  Thread* me = current;
  me->waits_for = for_what;
  me->waits_at = where.line();
  switch_fiber(me->fiber, scheduler_);
}

void Machine::wake(Thread* thread) {
  idle_yields_ = 0;
  thread->waits_for = nullptr;
  ready_.push_back(thread);
}

void Machine::yield(const Where& where) {
  Thread* me = current;
  if (++idle_yields_ > kMostIdleYields) {
    report().add("deadlock", where, here() + "polls memory that no other thread changes");
    give_up();
  }
  ready_.push_back(me);
  switch_fiber(me->fiber, scheduler_);
}

void Machine::give_up() {
  Thread* me = current;
  Block& block = *me->block;
  for (Thread& thread : block.threads) thread.done = true;
  block.live = 0;
  switch_fiber(me->fiber, scheduler_);
  __builtin_unreachable();
}

void Machine::deadlock() {
  for (const auto& block : resident_) {
    std::map<std::string, std::pair<int, int>> waiting;  // for what -> first thread, how many
    for (const Thread& thread : block->threads)
      if (!thread.done) {
        const std::string why =
            std::string(thread.waits_for) + " at line " + std::to_string(thread.waits_at);
        ++waiting.try_emplace(why, thread.index, 0).first->second.second;
      }
    std::string what = "block " + text(block->at) + " hangs:";
    for (const auto& [why, who] : waiting)
      what += " " + std::to_string(who.second) + " threads from " + std::to_string(who.first) +
              " on wait for " + why + ";";
    report().add("deadlock", Where::current(), what);
  }
  while (!resident_.empty()) drop(resident_.back().get());
}

}  // namespace secateur::emu
