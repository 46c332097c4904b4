// torch's 2:4 order back to a dense weight: nm_pack's torch24, the other way round.
#include "cuda/nm_unpack/target.cuh"

namespace {

using namespace secateur;
using namespace secateur::cuda;
using ptx::bf16;
using ptx::f16;
using ptx::s8;

constexpr int kPiece = 16;

// Nibbles of the lane's four pieces, rows 8 i + g; each word is read by one lane of the two that
// need it.
template <class T>
__device__ __forceinline__ void read_nibbles(const Target<T>& target, std::int64_t row,
                                             unsigned tile_in, std::uint32_t (&nibbles)[4]) {
  const int lane = ptx::lane(), g = lane / 4, t = lane % 4, odd = t % 2;
  if constexpr (sizeof(T) == 1) {
    const std::uint32_t* line = target.meta + tile_in * 2 * target.padded_out + 2 * row;
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      const std::uint32_t mine = ptx::load_once(line + 32 * s + lane);
      const std::uint32_t other = ptx::shfl_xor(mine, 1);
      nibbles[2 * s] = (odd != 0 ? other : mine) >> (16 * odd);
      nibbles[2 * s + 1] = (odd != 0 ? mine : other) >> (16 * odd);
    }
  } else {
    const std::uint32_t* line = target.meta + tile_in * target.padded_out + row;
    const std::uint32_t mine = ptx::load_once(line + 4 * g + 2 * odd + t / 2);
    const std::uint32_t other = ptx::shfl_xor(mine, 1);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      nibbles[i] = (i / 2 == odd ? mine : other) >> (8 * odd + 16 * (i % 2));
  }
}

template <class T>
__global__ void __launch_bounds__(PackTile::kThreads) torch24(Target<T> target) {
  constexpr int kGroups = kPiece / static_cast<int>(sizeof(Quad<T>)), kCount = 4 * kGroups;
  const Place at = place_of(target);
  if (at.tile >= target.tiles) return;
  const int g = ptx::lane() / 4, t = ptx::lane() % 4;
  const unsigned tile_in = at.tile % target.tiles_in;
  std::uint32_t nibbles[4], faults = 0;
  read_nibbles(target, at.row, tile_in, nibbles);
  using Pairs = Vec<Pair<T>, kGroups>;
  Pairs pairs[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const std::int64_t row = at.row + 8 * i + g;
    const std::uint8_t* values =
        target.values + (row * target.tiles_in + tile_in) * (PackTile::kRowBytes / 2);
    pairs[i] = ptx::load_once(reinterpret_cast<const Pairs*>(values) + t);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    Vec<Quad<T>, kGroups> quads;
#pragma unroll
    for (int j = 0; j < kGroups; ++j)
      quads[j] = unpack<T>({pairs[i][j], nibbles[i] >> (4 * j) & 15U}, faults);
    write<T, kPiece>(target, at.row + 8 * i + g, at.column + t * kCount, quads);
  }
  if (faults != 0) ptx::atomic_or(target.faults, faults);
}

std::int64_t workspace_bytes(const NmUnpackArgs&) { return 0; }

int run(const NmUnpackArgs& args, void* stream) {
  const auto type = static_cast<Type>(args.type);
  return type == Type::i8    ? launch_unpack<s8, kPiece>(args, stream, torch24<s8>)
         : type == Type::f16 ? launch_unpack<f16, kPiece>(args, stream, torch24<f16>)
                             : launch_unpack<bf16, kPiece>(args, stream, torch24<bf16>);
}

constexpr cuda::Config kConfig = {PackTile::kThreads, 0, 1, PackTile::kRows, 1, 32};

}  // namespace

SECATEUR_CUDA_KERNEL(cuda::NmUnpackArgs, 80, "f16,bf16,i8", "torch24", kConfig, unpack_refuses,
                     workspace_bytes, run);
