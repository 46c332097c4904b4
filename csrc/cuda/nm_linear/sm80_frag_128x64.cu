// 2:4 product in fragment order, f16 and bf16: tiles of 128 x 64, for some hundred rows.
#include "cuda/tile/tokens.cuh"
#include "cuda/tile/weight.cuh"

namespace {

struct Tile {
  static constexpr int kOut = 128, kRows = 64, kStepBytes = 128;
  static constexpr int kWarpOut = 64, kWarpRows = 32, kStages = 4, kBlocks = 2;
  static constexpr bool kSplits = false;
};
template <class T>
using Weight = secateur::tile::Fragment24<Tile, T>;
template <class T>
using X = secateur::tile::Tokens<Tile, T>;
constexpr const char* kLayout = "fragment24";
constexpr bool kInt8 = false;

}  // namespace

#include "cuda/nm_linear/product.cuh"
