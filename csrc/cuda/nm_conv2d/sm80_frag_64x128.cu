// 2:4 convolution, the weight in fragment order: tiles of 64 channels and 128 pixels, for few
// channels.
#include "cuda/nm_conv2d/pixels.cuh"
#include "cuda/tile/weight.cuh"

namespace {

struct Tile {
  static constexpr int kOut = 64, kRows = 128, kStepBytes = 128;
  static constexpr int kWarpOut = 32, kWarpRows = 64, kStages = 3, kBlocks = 2;
  static constexpr bool kSplits = false;
};
template <class T>
using Stored = secateur::tile::Fragment24<Tile, T>;
constexpr const char* kLayout = "fragment24";

}  // namespace

#include "cuda/nm_conv2d/product.cuh"
