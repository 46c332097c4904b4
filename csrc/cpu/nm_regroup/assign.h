// The assignment of rows to columns of the largest total value: the Hungarian method by shortest
// augmenting paths (Jonker and Volgenant, Computing 1987), O(n^3), in integers.
#pragma once

#include <cstdint>

namespace {

// Index 0 of every array is the method's virtual row and column; row i of `value` is i + 1 here.
class Assignment {
 public:
  // `work`: 6 * (n + 1) integers.
  Assignment(const std::int64_t* value, std::int64_t n, std::int64_t* work)
      : value_(value),
        n_(n),
        row_price_(work),
        price_(row_price_ + n + 1),
        slack_(price_ + n + 1),
        row_of_(slack_ + n + 1),
        from_(row_of_ + n + 1),
        used_(from_ + n + 1) {
    for (std::int64_t i = 0; i < 6 * (n + 1); ++i) work[i] = 0;
  }

  // Writes the column of each row. Among equal slacks the lowest column is taken, so that the same
  // values give the same assignment everywhere.
  void solve(std::int64_t* column_of) {
    for (std::int64_t row = 1; row <= n_; ++row) assign(row);
    for (std::int64_t column = 1; column <= n_; ++column)
      column_of[row_of_[column] - 1] = column - 1;
  }

 private:
  static constexpr std::int64_t kFar = INT64_MAX;

  void assign(std::int64_t row) {
    for (std::int64_t j = 0; j <= n_; ++j) {
      slack_[j] = kFar;
      used_[j] = 0;
    }
    row_of_[0] = row;
    std::int64_t column = 0;
    do {
      used_[column] = 1;
      relax(column);
      column = step();
    } while (row_of_[column] != 0);
    while (column != 0) {
      const std::int64_t before = from_[column];
      row_of_[column] = row_of_[before];
      column = before;
    }
  }

  // What the row of `column`, just reached, costs in each free column.
  void relax(std::int64_t column) {
    const std::int64_t row = row_of_[column];
    const std::int64_t* value = value_ + (row - 1) * n_ - 1;
    const std::int64_t paid = row_price_[row];
    for (std::int64_t j = 1; j <= n_; ++j) {
      const std::int64_t cost = -value[j] - paid - price_[j];
      const bool better = used_[j] == 0 && cost < slack_[j];
      slack_[j] = better ? cost : slack_[j];
      from_[j] = better ? column : from_[j];
    }
  }

  // Moves the prices until one more column costs nothing, and returns it.
  std::int64_t step() {
    std::int64_t nearest = 0, least = kFar;
    for (std::int64_t j = 1; j <= n_; ++j)
      if (used_[j] == 0 && slack_[j] < least) {
        least = slack_[j];
        nearest = j;
      }
    for (std::int64_t j = 0; j <= n_; ++j) {
      if (used_[j] != 0) {
        row_price_[row_of_[j]] += least;
        price_[j] -= least;
      } else {
        slack_[j] -= least;
      }
    }
    return nearest;
  }

  const std::int64_t* value_;
  std::int64_t n_;
  std::int64_t *row_price_, *price_, *slack_, *row_of_, *from_, *used_;
};

}  // namespace
