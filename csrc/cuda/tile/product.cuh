// One block of y = x Wᵀ: a loader of the weight and one of x into a pipeline, mma.sp, the epilogue.
#pragma once

#include "cuda/tile/epilogue.cuh"
#include "cuda/tile/pipeline.cuh"
#include "cuda/tile/raster.cuh"
#include "cuda/tile/split.cuh"

namespace secateur::tile {

// A kernel's argument. Weight and X are loaders, for example Torch24<Tile, T> and Tokens<Tile, T>.
template <class Weight, class X, class Y>
struct ProductArgs {
  typename Weight::Args weight;
  typename X::Args x;
  Result<Y> result;
  unsigned out_tiles, row_tiles;  // blocks: out_tiles * row_tiles by `parts`
  int steps, parts;               // of the columns; one part unless Tile::kSplits
  void* workspace;                // where there is more than one part
};

// Block (b, part) of out_tiles * row_tiles by parts.
template <class Tile, class T, class Weight, class X>
__device__ __forceinline__ void product_block(
    const ProductArgs<Weight, X, typename Shape<Tile, T>::Y>& args) {
  using S = Shape<Tile, T>;
  const ptx::Shared<std::uint8_t> memory = ptx::shared();
  const auto block = ptx::block_index();
  const Place at = place(block.x, args.out_tiles, args.row_tiles);
  const std::int64_t out0 = std::int64_t{at.out} * Tile::kOut;
  const std::int64_t row0 = std::int64_t{at.row} * Tile::kRows;
  const int part = static_cast<int>(block.y);
  const int first = static_cast<int>(std::int64_t{args.steps} * part / args.parts);
  const int end = static_cast<int>(std::int64_t{args.steps} * (part + 1) / args.parts);

  Weight weight(args.weight, out0, first);
  X x(args.x, row0, first);
  Warp<Tile, T> warp;
  pipeline<Tile::kStages, S::kStageBytes>(
      end - first, memory,
      [&](ptx::Shared<std::uint8_t> stage) {
        weight.fetch(stage);
        x.fetch(stage + S::kXAt);
      },
      [&](ptx::Shared<std::uint8_t> stage) { multiply<Weight>(warp, stage); });

  if constexpr (Tile::kSplits)
    if (args.parts > 1) {
      Parts<Tile, T> parts(args.workspace, static_cast<int>(block.x), args.parts);
      parts.store(warp, part);
      if (!parts.last(memory.as<std::uint32_t>())) return;
      parts.sum(warp);
    }
  ptx::barrier();  // no warp reads a stage, or the flag, any more
  finish<Tile, T>(warp, args.result, out0, row0, memory.as<float>());
}

}  // namespace secateur::tile
