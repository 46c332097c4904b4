// 2:4 product in fragment order, f16 and bf16: tiles of 64 x 32, for some ten rows, columns split.
#include "cuda/tile/tokens.cuh"
#include "cuda/tile/weight.cuh"

namespace {

struct Tile {
  static constexpr int kOut = 64, kRows = 32, kStepBytes = 128;
  static constexpr int kWarpOut = 32, kWarpRows = 16, kStages = 4, kBlocks = 4;
  static constexpr bool kSplits = true;
};
template <class T>
using Weight = secateur::tile::Fragment24<Tile, T>;
template <class T>
using X = secateur::tile::Tokens<Tile, T>;
constexpr const char* kLayout = "fragment24";
constexpr bool kInt8 = false;

}  // namespace

#include "cuda/nm_linear/product.cuh"
