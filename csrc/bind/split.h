// How a call is shared out to threads: the rows of x first; if there are too few, the row blocks of
// the weight, so that every thread gets about equally many kept weights.
#pragma once

#include "cpu/kernel.h"

namespace secateur::bind {

constexpr std::int64_t kAlone = 2'000'000;  // multiplications one thread does in about 50 us
constexpr std::int64_t kRowsTogether = 16;  // narrower pieces of x waste lanes

struct Split {
  const Header& weight;
  std::int64_t rows, blocks;  // of the whole
  std::int64_t groups, parts;
  bool by_rows;

  // `blocks_only`: every part sees all rows of x.
  Split(const Header& h, std::int64_t rows_of_x, std::int64_t threads, bool blocks_only = false)
      : weight(h),
        rows(rows_of_x),
        blocks(row_blocks(h)),
        groups(ceil_div(rows, kRowsTogether)),
        by_rows(!blocks_only && (groups >= threads || groups >= blocks)) {
    parts = rows * h.nnz < kAlone ? 1 : smaller(threads, by_rows ? groups : blocks);
  }

  Part operator[](std::int64_t i) const {
    if (!by_rows) return {0, rows, first_block(i), first_block(i + 1)};
    const std::int64_t begin = groups * i / parts, end = groups * (i + 1) / parts;
    return {begin * kRowsTogether, smaller(end * kRowsTogether, rows), 0, blocks};
  }

 private:
  // Kept weights in the blocks before `block`; other formats than csr keep about equally many in
  // each.
  std::int64_t kept_before(std::int64_t block) const {
    if (block == blocks) return weight.nnz;
    if (weight.format != Format::csr) return weight.nnz * block / blocks;
    return section<Block>(weight, weight.table)[block * k_blocks(weight)].first_value;
  }

  // Where part `i` begins: the boundary of blocks nearest to its share of the kept weights.
  std::int64_t first_block(std::int64_t i) const {
    const std::int64_t share = weight.nnz * i / parts;
    std::int64_t block = 0;
    while (block < blocks && kept_before(block + 1) <= share) ++block;
    const bool nearer =
        block < blocks && kept_before(block + 1) - share < share - kept_before(block);
    return nearer ? block + 1 : block;
  }
};

}  // namespace secateur::bind
