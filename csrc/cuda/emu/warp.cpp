#include "cuda/emu/warp.h"

#include <cstring>

#include "cuda/emu/machine.h"

namespace secateur::emu {

namespace {

constexpr const char* kNames[] = {"shfl.idx", "shfl.up", "shfl.down", "shfl.bfly"};

struct Call {
  void* value;
  int operand;
  std::byte old[8];
};

// The lane that `lane` reads; its own where the other is outside of the warp. Of the operand five
// bits count: a delta of 33 is one of 1.
int source(Shuffle how, int lane, int operand) {
  const int b = operand & (kWarp - 1);
  switch (how) {
    case Shuffle::index:
      return b;
    case Shuffle::up:
      return lane < b ? lane : lane - b;
    case Shuffle::down:
      return lane + b >= kWarp ? lane : lane + b;
    case Shuffle::exclusive_or:
      return lane ^ b;
  }
  return lane;
}

}  // namespace

void shuffle(Shuffle how, void* value, int bytes, int operand, unsigned mask, const Where& where) {
  Call mine{value, operand, {}};
  std::memcpy(mine.old, value, static_cast<std::size_t>(bytes));
  together(kNames[static_cast<int>(how)], mask, mine, where, [&](Call** lanes) {
    ++report().counters.shfl;
    for (int lane = 0; lane < kWarp; ++lane) {
      if (lanes[lane] == nullptr) continue;
      const int from = source(how, lane, lanes[lane]->operand);
      if (lanes[from] == nullptr) {
        std::memset(lanes[lane]->value, 0xff, static_cast<std::size_t>(bytes));
        report().add("divergence", where,
                     here() + "shuffles; lane " + std::to_string(lane) + " reads lane " +
                         std::to_string(from) + ", which is not in the mask");
      } else {
        std::memcpy(lanes[lane]->value, lanes[from]->old, static_cast<std::size_t>(bytes));
      }
    }
  });
}

unsigned vote(const char* what, bool mine, unsigned mask, const Where& where) {
  struct Vote {
    bool mine;
    unsigned all;
  } call{mine, 0};
  together(what, mask, call, where, [&](Vote** lanes) {
    ++report().counters.vote;
    unsigned all = 0;
    for (int lane = 0; lane < kWarp; ++lane)
      if (lanes[lane] != nullptr && lanes[lane]->mine) all |= 1U << lane;
    for (Vote* lane : std::vector<Vote*>(lanes, lanes + kWarp))
      if (lane != nullptr) lane->all = all;
  });
  return call.all;
}

void syncwarp(unsigned mask, const Where& where) {
  int nothing = 0;
  together("syncwarp", mask, nothing, where, [&](int** lanes) {
    ++report().counters.syncwarp;
    std::vector<int> threads;
    for (int lane = 0; lane < kWarp; ++lane)
      if (lanes[lane] != nullptr) threads.push_back(self().warp->first + lane);
    order(*self().block, threads, threads);
  });
}

}  // namespace secateur::emu
