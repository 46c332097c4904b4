// What Python may ask through ctypes of scores: the n highest of every group of m, and which are
// above a bracket or inside.
#include "cpu/groups.h"

#include "cpu/between.h"

// 1 if it was done, 0 if there is nothing compiled for groups of this size. `keep` holds a byte for
// every score.
extern "C" __attribute__((visibility("default"))) int secateur_keep_in_groups(const float* scores,
                                                                              std::int64_t groups,
                                                                              int m, int n,
                                                                              std::uint8_t* keep) {
  switch (m) {
    case 2:
      secateur::Groups<2>::mark(scores, groups, n, keep);
      return 1;
    case 4:
      secateur::Groups<4>::mark(scores, groups, n, keep);
      return 1;
    case 8:
      secateur::Groups<8>::mark(scores, groups, n, keep);
      return 1;
    case 16:
      secateur::Groups<16>::mark(scores, groups, n, keep);
      return 1;
    case 32:
      secateur::Groups<32>::mark(scores, groups, n, keep);
      return 1;
    default:
      return 0;
  }
}

// See mark_between.
extern "C" __attribute__((visibility("default"))) std::int64_t secateur_mark_between(
    const float* scores, std::int64_t count, float low, float high, std::uint8_t* keep,
    std::int32_t* at) {
  return secateur::mark_between(scores, count, low, high, keep, at);
}
