// bsr x many rows of x: a few output rows share a register tile, so that each vector of the panel
// feeds them all. Bound: FMA ports; 4 rows x 3 vectors take 3 + 4 loads for 12 FMAs.
#pragma once

#include <cstddef>

#include "cpu/bsr_linear/blocks.h"
#include "cpu/tile/tiled.h"

namespace {

// Output rows of one register tile. With one vector of x, more rows make up for the chains.
template <class T>
constexpr int kMostJammed = T::kRows == kLanes ? 8 : 4;

// Vectors of x of one register tile: accumulators, vectors and a weight must fit the registers.
constexpr int vectors_for(int jammed) {
  if (kLanes == 16) return jammed == 8 ? 2 : 4;
  return jammed == 4 ? 3 : jammed == 8 ? 1 : 4;
}

// kJam rows of the strip, kVectors of the tile's vectors, from vector `from` on. `row` is the first
// of the rows' sums.
template <int kJam, int kVectors, class T, class Sums>
SECATEUR_INLINE void jam(const Strip& s, const float* panel, const Sums& sums, std::int64_t row,
                         int from) {
  Vec sum[kJam][kVectors];
  SECATEUR_UNROLL
  for (int i = 0; i < kJam; ++i) sums.start(sum[i], row + i, from);
  const float* w = s.w;
  panel += from * kLanes;
  for (int j = 0; j < s.count; ++j, w += s.height) {
    const float* at = panel + std::size_t{s.column[j]} * T::kRows;
    Vec x[kVectors];
    SECATEUR_UNROLL
    for (int v = 0; v < kVectors; ++v) x[v] = load(at + v * kLanes);
    SECATEUR_UNROLL
    for (int i = 0; i < kJam; ++i) {
      const Vec weight = splat(w[i]);
      SECATEUR_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[i][v] += weight * x[v];
    }
  }
  SECATEUR_UNROLL
  for (int i = 0; i < kJam; ++i) sums.finish(sum[i], row + i, from);
}

// kJam rows of the strip, from vector kFrom of the tile to its last.
template <int kJam, class T, int kFrom = 0, class Sums>
SECATEUR_INLINE void jam_across(const Strip& s, const float* panel, const Sums& sums,
                                std::int64_t row) {
  constexpr int kLeft = T::kRows / kLanes - kFrom;
  if constexpr (kLeft > 0) {
    constexpr int kWide = kLeft < vectors_for(kJam) ? kLeft : vectors_for(kJam);
    jam<kJam, kWide, T>(s, panel, sums, row, kFrom);
    jam_across<kJam, T, kFrom + kWide>(s, panel, sums, row);
  }
}

// As many groups of kJam rows as there are; returns with the rows that are left.
template <int kJam, class T, class Sums>
SECATEUR_INLINE void jam_groups(Strip& s, int& left, const float* panel, const Sums& sums,
                                std::int64_t& row) {
  for (; left >= kJam; left -= kJam, s.w += kJam, row += kJam) {
    SECATEUR_UNROLL
    for (int i = 0; i < kJam; ++i) sums.expect(row + kMostJammed<T> + i);
    jam_across<kJam, T>(s, panel, sums, row);
  }
}

// The sums of the strip's rows are those from `row` on.
template <class T, class Sums>
SECATEUR_INLINE void strip_times_panel(Strip s, const float* panel, const Sums& sums,
                                       std::int64_t row) {
  if (s.height == 1) {  // no row to share with
    T tile;
    sums.expect(row + kRowsAhead);
    sums.start(tile, row);
    row_times_panel(tile, s.count, s.w, s.column, panel);
    return sums.finish(tile, row);
  }
  int left = s.height;
  if constexpr (kMostJammed<T> == 8) jam_groups<8, T>(s, left, panel, sums, row);
  jam_groups<4, T>(s, left, panel, sums, row);
  jam_groups<2, T>(s, left, panel, sums, row);
  jam_groups<1, T>(s, left, panel, sums, row);
}

struct BsrBlocks {
  const LinearArgs& args;

  explicit BsrBlocks(const LinearArgs& a) : args(a) {}

  // `sums` says where a row starts from and ends (tile/tile.h).
  template <class T, class Sums>
  void times_panel(std::int64_t row_block, std::int64_t k_block, const float* panel,
                   const Sums& sums) const {
    Columns columns;
    for (BsrCursor at(args, row_block, k_block); !at.done(); at.next())
      if (*at.count > 0 || sums.every_row())
        strip_times_panel<T>(columns.strip(at), panel, sums, at.row);
  }
};

}  // namespace
