// 2:4 convolution, the weight in fragment order: tiles of 128 channels and 128 pixels, for many of
// both.
#include "cuda/nm_conv2d/pixels.cuh"
#include "cuda/tile/weight.cuh"

namespace {

struct Tile {
  static constexpr int kOut = 128, kRows = 128, kStepBytes = 128;
  static constexpr int kWarpOut = 64, kWarpRows = 64, kStages = 3, kBlocks = 2;
  static constexpr bool kSplits = false;
};
template <class T>
using Stored = secateur::tile::Fragment24<Tile, T>;
constexpr const char* kLayout = "fragment24";

}  // namespace

#include "cuda/nm_conv2d/product.cuh"
