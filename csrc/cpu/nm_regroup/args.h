// What a kernel that regroups columns for N:M is given, and the limits its 32-bit sums rely on.
#pragma once

#include <cstdint>

namespace secateur {

constexpr std::int32_t kLargestScore = (1 << 20) - 1;
constexpr std::int64_t kRegroupRows = 16;  // rows come in multiples: whole vectors of every width
constexpr int kLargestGroup = 16;
constexpr std::int64_t kRegroupWork = 10;  // integers of scratch a group

// Positions 0 .. groups * m - 1 fall into groups of m that follow each other; order[p] is the
// column at position p. Whatever is called a sum is a sum over the rows.
struct RegroupArgs {
  const std::int32_t* columns;  // [columns, rows], 0 .. kLargestScore
  std::int64_t rows;
  std::int64_t groups;
  int n, m;                   // n kept of m, 1 <= n < m <= kLargestGroup
  const std::int64_t* picks;  // [rounds, groups], which of its m columns each group gives away
  std::int64_t rounds;
  std::int64_t patience;  // ends after so many rounds in a row that gained nothing
  std::int64_t* order;    // [groups * m], read and written
  std::int64_t* kept;     // [groups], written: sums of the n largest of each group
  std::int32_t* rival;    // [groups * m, rows], scratch
  std::int64_t* certain;  // [groups * m], scratch
  std::int64_t* value;    // [groups, groups], scratch
  std::int64_t* work;     // [kRegroupWork * groups], scratch
};

}  // namespace secateur
