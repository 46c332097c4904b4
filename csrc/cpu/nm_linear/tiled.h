// nm x many rows of x. Codes become columns eight at a time in one integer register, where nothing
// else is short: decoded to memory, by vectors, they took 12 % of the time of 2:4 on Zen 4.
#pragma once

#include "cpu/nm_linear/blocks.h"
#include "cpu/tile/tiled.h"

namespace {

// Codes of 8 weights, from the `eighth`-th on.
template <int kBits>
SECATEUR_INLINE std::uint64_t eight_codes(const std::uint32_t* codes, int eighth) {
  std::uint32_t word = 0;
  std::memcpy(&word, reinterpret_cast<const char*>(codes) + eighth * kBits, kBits);
  return spread<kBits>(word);
}

// `kept` weights of a row against the panel of their K block; `first` holds where their groups
// start.
template <int kBits, class T>
SECATEUR_INLINE void coded_times_panel(T& tile, int kept, const float* w,
                                       const std::uint32_t* codes, const std::uint8_t* first,
                                       const float* panel) {
  const auto at = [&](std::uint64_t k, int byte) {
    return panel + (k >> (8 * byte) & 255U) * T::kRows;
  };
  int j = 0;
  for (; j + 8 <= kept; j += 8) {
    std::uint64_t k;
    std::memcpy(&k, first + j, sizeof k);
    k += eight_codes<kBits>(codes, j / 8);  // no carries: a column is below 256
    const Vec low = load_quad(w + j), high = load_quad(w + j + 4);
    tile.template add<0>(splat_of_quad<0>(low), at(k, 0));
    tile.template add<1>(splat_of_quad<1>(low), at(k, 1));
    tile.template add<2>(splat_of_quad<2>(low), at(k, 2));
    tile.template add<3>(splat_of_quad<3>(low), at(k, 3));
    tile.template add<0>(splat_of_quad<0>(high), at(k, 4));
    tile.template add<1>(splat_of_quad<1>(high), at(k, 5));
    tile.template add<2>(splat_of_quad<2>(high), at(k, 6));
    tile.template add<3>(splat_of_quad<3>(high), at(k, 7));
  }
  for (; j < kept; ++j) {
    const std::uint32_t code = codes[j * kBits / 32] >> (j * kBits % 32) & ((1U << kBits) - 1U);
    tile.template add<0>(splat(w[j]), panel + (first[j] + code) * T::kRows);
  }
}

struct NmBlocks {
  const LinearArgs& args;
  GroupStarts groups;

  explicit NmBlocks(const LinearArgs& a) : args(a), groups(*a.weight) {}

  template <class T, class Sums>
  void times_panel(std::int64_t row_block, std::int64_t k_block, const float* panel,
                   const Sums& sums) const {
    if (NmBlock::code_bits(*args.weight) == 4)
      rows_times_panel<4, T>(row_block, k_block, panel, sums);
    else
      rows_times_panel<2, T>(row_block, k_block, panel, sums);
  }

 private:
  template <int kBits, class T, class Sums>
  SECATEUR_INLINE void rows_times_panel(std::int64_t row_block, std::int64_t k_block,
                                        const float* panel, const Sums& sums) const {
    alignas(64) float wide[kMostKept + kLanes];
    NmBlock b(args, row_block, k_block);
    for (int i = 0; i < b.rows; ++i, b.next_row()) {
      T tile;
      sums.expect(i + kRowsAhead);
      sums.start(tile, i);
      coded_times_panel<kBits>(tile, b.kept, b.w.floats(b.kept, i, wide), b.codes, groups.first,
                               panel);
      sums.finish(tile, i);
    }
  }
};

}  // namespace
