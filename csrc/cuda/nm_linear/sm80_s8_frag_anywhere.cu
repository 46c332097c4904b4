// 2:4 product in fragment order, int8, of rows of x that begin anywhere: slower.
#include "cuda/tile/tokens.cuh"
#include "cuda/tile/weight.cuh"

namespace {

struct Tile {
  static constexpr int kOut = 64, kRows = 64, kStepBytes = 128;
  static constexpr int kWarpOut = 32, kWarpRows = 32, kStages = 4, kBlocks = 3;
  static constexpr bool kSplits = true;
};
template <class T>
using Weight = secateur::tile::Fragment24<Tile, T>;
template <class T>
using X = secateur::tile::TokensAnywhere<Tile, T>;
constexpr const char* kLayout = "fragment24";
constexpr bool kInt8 = true;

}  // namespace

#include "cuda/nm_linear/product.cuh"
