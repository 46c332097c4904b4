// The assignment of rows to columns of the largest total value: the Hungarian method by shortest
// augmenting paths (Jonker and Volgenant, Computing 1987), O(n^3), in integers below 2^56.
#pragma once

#include <cstdint>

#include "cpu/vec.h"

namespace {

class Assignment {
 public:
  static constexpr std::int64_t integers(std::int64_t n) { return 8 * n; }

  // `value` is [n, n]; `work` holds integers(n).
  Assignment(const std::int64_t* value, std::int64_t n, std::int64_t* work)
      : value_(value),
        n_(n),
        row_price_(work),
        price_(row_price_ + n),
        distance_(price_ + n),
        row_of_(distance_ + n),
        from_(row_of_ + n),
        reached_(from_ + n),
        price_there_(reached_ + n),
        distance_there_(price_there_ + n) {
    for (std::int64_t i = 0; i < n; ++i) {
      row_price_[i] = price_[i] = 0;
      row_of_[i] = kNone;
    }
  }

  // Writes the column of each row. Among columns equally near the lowest is taken, so that the same
  // values give the same assignment everywhere.
  void solve(std::int64_t* column_of) {
    for (std::int64_t row = 0; row < n_; ++row) assign(row);
    for (std::int64_t j = 0; j < n_; ++j) column_of[row_of_[j]] = j;
  }

 private:
  static constexpr std::int64_t kNone = -1;
  static constexpr std::int64_t kFar = std::int64_t{1} << 60;

  void assign(std::int64_t row) {
    for (std::int64_t j = 0; j < n_; ++j) distance_[j] = kFar;
    count_ = 0;
    std::int64_t column = nearest_by(row, kNone, 0);
    while (row_of_[column] != kNone) {
      const std::int64_t distance = distance_[column];
      pass(column);
      column = nearest_by(row_of_[column], column, distance);
    }
    settle(row, distance_[column]);
    for (; from_[column] != kNone; column = from_[column]) row_of_[column] = row_of_[from_[column]];
    row_of_[column] = row;
  }

  // Relaxes the ways through `row`, which `column` leads to, and returns the nearest column.
  std::int64_t nearest_by(std::int64_t row, std::int64_t column, std::int64_t distance) {
    const std::int64_t* value = value_ + row * n_;
    const std::int64_t start = distance - row_price_[row];
    std::int64_t least = kFar;
    for (std::int64_t j = 0; j < n_; ++j) {
      const std::int64_t through = start - value[j] - price_[j];
      const bool better = through < distance_[j];
      from_[j] = better ? column : from_[j];
      distance_[j] = better ? through : distance_[j];
      least = distance_[j] < least ? distance_[j] : least;
    }
    std::int64_t j = 0;
    while (distance_[j] != least) ++j;
    return j;
  }

  // A column passed is never nearest again: neither as it lies, nor by any way. So the loop above
  // needs no condition.
  void pass(std::int64_t column) {
    reached_[count_] = column;
    price_there_[count_] = price_[column];
    distance_there_[count_++] = distance_[column];
    distance_[column] = kFar / 2;
    price_[column] = -kFar;
  }

  // The prices under which the path just found, `distance` long, costs nothing.
  void settle(std::int64_t row, std::int64_t distance) {
    row_price_[row] += distance;
    for (std::int64_t i = 0; i < count_; ++i) {
      const std::int64_t saved = distance - distance_there_[i];
      row_price_[row_of_[reached_[i]]] += saved;
      price_[reached_[i]] = price_there_[i] - saved;
    }
  }

  const std::int64_t* value_;
  std::int64_t n_;
  std::int64_t *row_price_, *price_, *distance_, *row_of_, *from_;
  std::int64_t *reached_, *price_there_, *distance_there_;
  std::int64_t count_ = 0;
};

}  // namespace
