// Barriers of a block and meetings of a warp: who has to come, and what is wrong if another does.
#include <algorithm>

#include "cuda/emu/machine.h"

namespace secateur::emu {

namespace {

constexpr const char* kBarriers[] = {"barrier 0",  "barrier 1",  "barrier 2",  "barrier 3",
                                     "barrier 4",  "barrier 5",  "barrier 6",  "barrier 7",
                                     "barrier 8",  "barrier 9",  "barrier 10", "barrier 11",
                                     "barrier 12", "barrier 13", "barrier 14", "barrier 15"};
constexpr int kBarrierCount = sizeof kBarriers / sizeof kBarriers[0];

void open_barrier(Block& block, Barrier& barrier) {
  std::vector<int> waiting;
  for (const Thread* thread : barrier.waiting) waiting.push_back(thread->index);
  order(block, barrier.members, waiting);
  const std::vector<Thread*> woken = std::move(barrier.waiting);
  barrier = {};
  for (Warp& warp : block.warps)
    if (std::any_of(woken.begin(), woken.end(), [&](const Thread* t) { return t->warp == &warp; }))
      account(block, warp.first, warp.lanes);
  for (Thread* thread : woken)
    if (thread != machine().current) machine().wake(thread);
}

bool complete(const Block& block, const Barrier& barrier) {
  if (barrier.expected != 0) return barrier.arrived >= barrier.expected;
  return barrier.arrived > 0 && static_cast<int>(barrier.waiting.size()) >= block.live;
}

}  // namespace

void barrier(int id, int expected, bool waits, const Where& where) {
  Thread& me = self();
  Block& block = *me.block;
  if (id < 0 || id >= kBarrierCount) {
    report().add("divergence", where, here() + "names barrier " + std::to_string(id) + ", of 16");
    machine().give_up();
  }
  Barrier& barrier = block.barriers[id];
  if (barrier.arrived != 0 && barrier.expected != expected) {
    report().add("divergence", where,
                 here() + "is at barrier " + std::to_string(id) + " for " +
                     std::to_string(expected) + " threads, others for " +
                     std::to_string(barrier.expected));
    machine().give_up();
  }
  if (expected % kWarp != 0)
    report().add("divergence", where,
                 here() + "names a barrier for " + std::to_string(expected) +
                     " threads, which are no whole warps");
  if (me.lane() == 0) ++report().counters.bar;
  barrier.expected = expected;
  ++barrier.arrived;
  barrier.members.push_back(me.index);
  if (waits) barrier.waiting.push_back(&me);
  if (complete(block, barrier)) return open_barrier(block, barrier);
  if (waits) machine().wait(kBarriers[id], where);
}

void thread_left_barriers(Block& block) {
  for (auto& [id, barrier] : block.barriers)
    if (barrier.expected == 0 && block.live > 0 && complete(block, barrier))
      open_barrier(block, barrier);
}

Meeting* meet(const char* what, unsigned mask, void* arguments, const Where& where) {
  Thread& me = self();
  Warp& warp = *me.warp;
  const unsigned lane = 1U << me.lane();
  const unsigned here_mask = warp.lanes == kWarp ? kFullMask : (1U << warp.lanes) - 1;
  const auto fail = [&](const std::string& why) {
    report().add("divergence", where,
                 here() + "(lane " + std::to_string(me.lane()) + ") does " + what + ": " + why);
    machine().give_up();
  };
  if ((mask & lane) == 0) fail("it is not in its own mask");
  if ((mask & ~here_mask) != 0) fail("the mask names lanes that the warp has not");
  if ((mask & warp.exited) != 0) fail("a lane of the mask has ended");
  auto found = std::find_if(warp.meetings.begin(), warp.meetings.end(),
                            [&](const Meeting& m) { return (m.mask & lane) != 0; });
  if (found == warp.meetings.end()) {
    const bool overlaps = std::any_of(warp.meetings.begin(), warp.meetings.end(),
                                      [&](const Meeting& m) { return (m.mask & mask) != 0; });
    if (overlaps) fail("lanes of its mask wait in another mask");
    warp.meetings.push_back({what, mask, 0, {}});
    found = warp.meetings.end() - 1;
  }
  if (found->mask != mask) fail("the others' mask is another");
  if (found->what != what && std::string_view(found->what) != what)
    fail(std::string("other lanes do ") + found->what + " at the same time");
  found->arrived |= lane;
  found->arguments[me.lane()] = arguments;
  if (found->arrived == mask) {
    if (mask == here_mask) account(*me.block, warp.first, warp.lanes);
    return &*found;
  }
  machine().wait(what, where);
  return nullptr;
}

void leave(Meeting* meeting) {
  Thread& me = self();
  Warp& warp = *me.warp;
  const unsigned mask = meeting->mask;
  warp.meetings.erase(warp.meetings.begin() + (meeting - warp.meetings.data()));
  for (int lane = 0; lane < warp.lanes; ++lane)
    if ((mask >> lane & 1U) != 0 && lane != me.lane())
      machine().wake(&me.block->threads[static_cast<std::size_t>(warp.first + lane)]);
}

void lane_left(Thread& thread) {
  Warp& warp = *thread.warp;
  const unsigned lane = 1U << thread.lane();
  for (const Meeting& meeting : warp.meetings)
    if ((meeting.mask & lane) != 0) {
      report().add("divergence", Where::current(),
                   here() + "ends while others of its warp wait for it in " + meeting.what);
      machine().give_up();
    }
  warp.exited |= lane;
  const unsigned all = warp.lanes == kWarp ? kFullMask : (1U << warp.lanes) - 1;
  if (warp.exited == all) account(*thread.block, warp.first, warp.lanes);
}

}  // namespace secateur::emu
