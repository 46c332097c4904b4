// bsr x many rows of x: a few output rows share a register tile, so that each vector of the panel
// feeds them all. Bound: FMA ports; 4 rows x 3 vectors take 3 + 4 loads for 12 FMAs.
#pragma once

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

// kJam rows of the strip, kVectors of the tile's vectors.
template <class T, int kJam, int kVectors>
SECATEUR_INLINE void jam(const Strip& s, const float* panel, float* sums) {
  Vec sum[kJam][kVectors];
  SECATEUR_UNROLL
  for (int i = 0; i < kJam; ++i) {
    SECATEUR_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[i][v] = load(sums + i * T::kRows + v * kLanes);
  }
  const float* w = s.w;
  for (int j = 0; j < s.count; ++j, w += s.height) {
    const float* at = panel + s.column[j] * T::kRows;
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
  for (int i = 0; i < kJam; ++i) {
    SECATEUR_UNROLL
    for (int v = 0; v < kVectors; ++v) store(sums + i * T::kRows + v * kLanes, sum[i][v]);
  }
}

// kJam rows of the strip, from vector kFrom of the tile to its last.
template <class T, int kJam, int kFrom = 0>
SECATEUR_INLINE void jam_across(const Strip& s, const float* panel, float* sums) {
  constexpr int kLeft = T::kRows / kLanes - kFrom;
  if constexpr (kLeft > 0) {
    constexpr int kWide = kLeft < vectors_for(kJam) ? kLeft : vectors_for(kJam);
    jam<T, kJam, kWide>(s, panel + kFrom * kLanes, sums + kFrom * kLanes);
    jam_across<T, kJam, kFrom + kWide>(s, panel, sums);
  }
}

// As many groups of kJam rows as there are; returns with the rows that are left.
template <class T, int kJam>
SECATEUR_INLINE void jam_groups(Strip& s, int& left, const float* panel, float*& sums) {
  for (; left >= kJam; left -= kJam, s.w += kJam, sums += kJam * T::kRows)
    jam_across<T, kJam>(s, panel, sums);
}

template <class T>
SECATEUR_INLINE void strip_times_panel(Strip s, const float* panel, float* sums) {
  if (s.height == 1) {  // no row to share with
    T tile;
    const Buffered<T> row{sums};
    row.start(tile, 0);
    row_times_panel(tile, s.count, s.w, s.column, panel);
    return row.finish(tile, 0);
  }
  int left = s.height;
  if constexpr (kMostJammed<T> == 8) jam_groups<T, 8>(s, left, panel, sums);
  jam_groups<T, 4>(s, left, panel, sums);
  jam_groups<T, 2>(s, left, panel, sums);
  jam_groups<T, 1>(s, left, panel, sums);
}

struct BsrBlocks {
  const LinearArgs& args;

  explicit BsrBlocks(const LinearArgs& a) : args(a) {}

  template <class T>
  void times_panel(std::int64_t row_block, std::int64_t k_block, const float* panel,
                   const Buffered<T>& sums) const {
    Columns columns;
    for (BsrCursor at(args, row_block, k_block); !at.done(); at.next())
      if (*at.count > 0)
        strip_times_panel<T>(columns.strip(at), panel, sums.sums + at.row * T::kRows);
  }
};

}  // namespace
