// 2:4 product in torch's order, int8: tiles of 128 x 128, for many rows.
#include "cuda/tile/tokens.cuh"
#include "cuda/tile/weight.cuh"

namespace {

struct Tile {
  static constexpr int kOut = 128, kRows = 128, kStepBytes = 128;
  static constexpr int kWarpOut = 64, kWarpRows = 64, kStages = 3, kBlocks = 2;
  static constexpr bool kSplits = false;
};
template <class T>
using Weight = secateur::tile::Torch24<Tile, T>;
template <class T>
using X = secateur::tile::Tokens<Tile, T>;
constexpr const char* kLayout = "torch24";
constexpr bool kInt8 = true;

}  // namespace

#include "cuda/nm_linear/product.cuh"
