// 2:4 convolution, the weight in torch's order: tiles of 64 channels and 64 pixels, for few pixels,
// the sum split.
#include "cuda/nm_conv2d/pixels.cuh"
#include "cuda/tile/weight.cuh"

namespace {

struct Tile {
  static constexpr int kOut = 64, kRows = 64, kStepBytes = 128;
  static constexpr int kWarpOut = 32, kWarpRows = 32, kStages = 4, kBlocks = 3;
  static constexpr bool kSplits = true;
};
template <class T>
using Stored = secateur::tile::Torch24<Tile, T>;
constexpr const char* kLayout = "torch24";

}  // namespace

#include "cuda/nm_conv2d/product.cuh"
