// How nm_linear_decode shares a weight out to a GPU: the plan that takes the least, by a model in
// bytes. Numbers only; its figures of time are predicted, not measured.
#pragma once

#include <cstdint>

namespace secateur::cuda {

constexpr int kDecodeWarps = 8;  // of a block
constexpr int kDecodeDepth = 4;  // tiles of the weight that a warp has under way
constexpr int kDecodeMostRows = 16;
constexpr int kBandOut = 32;        // outputs of a band: one warp sums them
constexpr int kTileBytes = 64;      // of a row of x, that one tile of a band meets
constexpr int kMostSplit = 32;      // blocks that share a band
constexpr int kMostColumns = 1024;  // blocks side by side that may be split: one counter each

struct DecodeProblem {
  std::int64_t bands, tiles;  // of the weight: of 32 outputs; of 64 bytes of a row of x
  int rows;
  int weight_bytes;  // of a tile of a band, values and metadata
};

struct DecodePlan {
  int bands = 1;  // of a block: 1, 2 or 4. As many groups of warps, each all over the columns
  int split = 1;  // blocks that share a band, tiles after tiles
  std::int64_t tiles = 0;    // of a block, at most
  std::int64_t columns = 0;  // blocks side by side

  constexpr int parts() const { return kDecodeWarps / bands; }  // warps that share a band
  constexpr std::int64_t blocks() const { return columns * split; }
};

constexpr std::int64_t quotient_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// What a multiprocessor could have read while a block begins and ends, and while the sums of a
// split wait for each other: a third of a microsecond, and one, at an H100's share of 25 KB in
// each.
constexpr std::int64_t kBlockCost = 8 << 10, kSplitCost = 24 << 10;

// The plan with so many bands and about so much split; no block is without tiles.
constexpr DecodePlan decode_plan_of(const DecodeProblem& p, int bands, int split) {
  DecodePlan plan;
  plan.bands = bands;
  plan.tiles = quotient_up(p.tiles, split);
  plan.split = plan.tiles == 0 ? 1 : static_cast<int>(quotient_up(p.tiles, plan.tiles));
  plan.columns = quotient_up(p.bands, bands);
  return plan;
}

// What a plan takes, in bytes that a multiprocessor reads meanwhile while all do. Either the memory
// is what is waited for, or the multiprocessor that has most to do: with one block, which has 37 KB
// under way, it reads a quarter faster than its share, with more of them twice as fast. A warp
// without a tile counts as one with: the others do not go faster for it.
constexpr std::int64_t decode_cost(const DecodeProblem& p, const DecodePlan& plan,
                                   int multiprocessors) {
  const std::int64_t weight = quotient_up(plan.tiles, plan.parts()) * kDecodeWarps * p.weight_bytes;
  const std::int64_t x = plan.tiles * kTileBytes * p.rows;
  const std::int64_t sums = std::int64_t{plan.bands} * kBandOut * p.rows * 4;
  const bool split = plan.split > 1;
  const std::int64_t block = weight + x + (split ? 2 * sums : 0) + kBlockCost;
  const std::int64_t all = plan.blocks() * block / multiprocessors;
  const std::int64_t most = quotient_up(plan.blocks(), multiprocessors);
  const std::int64_t busiest = most == 1 ? block * 4 / 5 : most * block / 2;
  return (all > busiest ? all : busiest) + (split ? kSplitCost : 0);
}

// `split`: wanted parts of the columns, or 0.
constexpr DecodePlan decode_plan(const DecodeProblem& p, int multiprocessors, int split) {
  DecodePlan best = decode_plan_of(p, 1, split != 0 ? split : 1);
  std::int64_t least = -1;
  const int most = p.tiles < kMostSplit ? static_cast<int>(p.tiles) : kMostSplit;
  for (int bands = kDecodeWarps / 2; bands >= 1; bands /= 2)
    for (int parts = split != 0 ? split : 1; parts <= (split != 0 ? split : most); ++parts) {
      const DecodePlan plan = decode_plan_of(p, bands, parts);
      if (plan.split > 1 && plan.columns > kMostColumns) continue;
      const std::int64_t cost = decode_cost(p, plan, multiprocessors < 1 ? 1 : multiprocessors);
      if (least >= 0 && cost >= least) continue;
      least = cost;
      best = plan;
    }
  return best;
}

}  // namespace secateur::cuda
