// 2:4 product in torch's order, int8: tiles of 64 x 16, for few rows, long steps, columns split.
#include "cuda/tile/tokens.cuh"
#include "cuda/tile/weight.cuh"

namespace {

struct Tile {
  static constexpr int kOut = 64, kRows = 16, kStepBytes = 256;
  static constexpr int kWarpOut = 32, kWarpRows = 8, kStages = 4, kBlocks = 4;
  static constexpr bool kSplits = true;
};
template <class T>
using Weight = secateur::tile::Torch24<Tile, T>;
template <class T>
using X = secateur::tile::Tokens<Tile, T>;
constexpr const char* kLayout = "torch24";
constexpr bool kInt8 = true;

}  // namespace

#include "cuda/nm_linear/product.cuh"
