// Moves columns between groups of m so that N:M keeps more. One round: every group gives one column
// away, and they are handed out again in the best of all ways; that is an assignment problem, for a
// group's sum depends on its other columns only through `rival` and `certain`. No round loses.
#pragma once

#include "cpu/kernel.h"
#include "cpu/nm_regroup/assign.h"
#include "cpu/nm_regroup/sums.h"

namespace {

using secateur::Header;
using secateur::Part;

// Groups whose columns stay in the caches while all their pairs are summed.
constexpr std::int64_t kTogether = 32;

class Regroup {
 public:
  explicit Regroup(const RegroupArgs& args)
      : a_(args),
        taken_(a_.work + Assignment::integers(a_.groups)),
        column_of_(taken_ + a_.groups) {
    static_assert(Assignment::integers(1) + 2 == secateur::kRegroupWork);
  }

  void run() {
    for (std::int64_t g = 0; g < a_.groups; ++g) measure(g);
    std::int64_t idle = 0;
    for (std::int64_t i = 0; i < a_.rounds && idle < a_.patience; ++i)
      idle = round(a_.picks + i * a_.groups) ? 0 : idle + 1;
  }

 private:
  void measure(std::int64_t group) {
    if (a_.n == 2 && a_.m == 4)
      measure_group<2, 4>(a_, group);
    else
      measure_group<0, 0>(a_, group);
  }

  // Returns whether it gained anything.
  bool round(const std::int64_t* picks) {
    fill(picks);
    Assignment(a_.value, a_.groups, a_.work).solve(column_of_);
    std::int64_t gain = 0;
    for (std::int64_t g = 0; g < a_.groups; ++g)
      gain += a_.value[g * a_.groups + column_of_[g]] - a_.value[g * a_.groups + g];
    if (gain <= 0) return false;
    for (std::int64_t g = 0; g < a_.groups; ++g) taken_[g] = a_.order[g * a_.m + picks[g]];
    for (std::int64_t g = 0; g < a_.groups; ++g)
      if (column_of_[g] != g) {
        a_.order[g * a_.m + picks[g]] = taken_[column_of_[g]];
        measure(g);
      }
    return true;
  }

  // value[g, h]: what group g keeps if its picked column is replaced by group h's.
  void fill(const std::int64_t* picks) {
    const std::int64_t groups = a_.groups;
    for (std::int64_t g = 0; g < groups; ++g)
      for (std::int64_t h = 0; h < groups; ++h)
        a_.value[g * groups + h] = a_.certain[g * a_.m + picks[g]];
    for (std::int64_t g = 0; g < groups; g += kTogether)
      for (std::int64_t h = 0; h < groups; h += kTogether)
        for (std::int64_t r = 0; r < a_.rows; r += kChunk) fill_square(picks, g, h, r);
  }

  void fill_square(const std::int64_t* picks, std::int64_t g, std::int64_t h, std::int64_t r) {
    const std::int64_t g_end = secateur::smaller(g + kTogether, a_.groups);
    const std::int64_t h_end = secateur::smaller(h + kTogether, a_.groups);
    for (std::int64_t i = g; i < g_end; i += kTall)
      for (std::int64_t j = h; j < h_end; j += kWide) fill_pairs(picks, i, j, r);
  }

  void fill_pairs(const std::int64_t* picks, std::int64_t g, std::int64_t h, std::int64_t r) {
    const std::int64_t last = a_.groups - 1;
    const std::int32_t *rival[kTall], *column[kWide];
    for (int i = 0; i < kTall; ++i) {  // beyond the last group the last again, and not stored
      const std::int64_t group = secateur::smaller(g + i, last);
      rival[i] = a_.rival + (group * a_.m + picks[group]) * a_.rows + r;
    }
    for (int j = 0; j < kWide; ++j) {
      const std::int64_t group = secateur::smaller(h + j, last);
      column[j] = a_.columns + a_.order[group * a_.m + picks[group]] * a_.rows + r;
    }
    const Ints sum = pair_sums(rival, column, secateur::smaller(kChunk, a_.rows - r));
    for (int i = 0; i < kTall && g + i < a_.groups; ++i)
      for (int j = 0; j < kWide && h + j < a_.groups; ++j)
        a_.value[(g + i) * a_.groups + h + j] += sum[i * kWide + j];
  }

  const RegroupArgs& a_;
  std::int64_t *taken_, *column_of_;
};

int regroup_rank(const Header&, std::int64_t) { return 1; }

std::int64_t regroup_scratch(const Header&, std::int64_t) { return 0; }

void regroup_run(const RegroupArgs& a, const Part&, float*) { Regroup(a).run(); }

}  // namespace
