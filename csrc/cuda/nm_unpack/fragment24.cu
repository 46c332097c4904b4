// The order of mma.sp's registers back to a dense weight: nm_pack's fragment24, the other way
// round.
#include "cuda/nm_unpack/target.cuh"

namespace {

using namespace secateur;
using namespace secateur::cuda;
using ptx::bf16;
using ptx::f16;
using ptx::s8;

constexpr int kPiece = 8;

template <class T>
__global__ void __launch_bounds__(PackTile::kThreads) fragment24(Target<T> target) {
  constexpr bool kByte = sizeof(T) == 1;
  constexpr int kGroups = kPiece / static_cast<int>(sizeof(Quad<T>)), kCount = 4 * kGroups;
  const Place at = place_of(target);
  if (at.tile >= target.tiles) return;
  const int lane = ptx::lane(), g = lane / 4, t = lane % 4;
  using Words = Vec<std::uint32_t, kByte ? 2 : 1>;
  const auto* meta = reinterpret_cast<const Words*>(target.meta);
  const Words words = ptx::load_once(meta + std::int64_t{at.tile} * 32 + lane);
  const auto* values = reinterpret_cast<const Vec<std::uint32_t, 4>*>(target.values);
  Vec<std::uint32_t, 4> registers[2];
#pragma unroll
  for (int s = 0; s < 2; ++s)
    registers[s] = ptx::load_once(values + (std::int64_t{at.tile} * 2 + s) * 32 + lane);
  std::uint32_t faults = 0;
#pragma unroll
  for (int s = 0; s < 2; ++s)
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const int c = r / 2, h = r % 2;
      const std::uint32_t nibbles =
          kByte ? ptx::shfl(words[s % (kByte ? 2 : 1)], 4 * g + 2 * c + h) >> (8 * t)
                : ptx::shfl(words[0], 4 * g + 2 * s + c) >> (4 * t + 16 * h);
      Vec<Quad<T>, kGroups> quads;
#pragma unroll
      for (int j = 0; j < kGroups; ++j)
        quads[j] = unpack<T>(
            {static_cast<Pair<T>>(registers[s][r] >> (16 * j)), nibbles >> (4 * j) & 15U}, faults);
      write<T, kPiece>(target, at.row + 16 * s + 8 * h + g, at.column + (4 * c + t) * kCount,
                       quads);
    }
  if (faults != 0) ptx::atomic_or(target.faults, faults);
}

std::int64_t workspace_bytes(const NmUnpackArgs&) { return 0; }

int run(const NmUnpackArgs& args, void* stream) {
  const auto type = static_cast<Type>(args.type);
  return type == Type::i8    ? launch_unpack<s8, kPiece>(args, stream, fragment24<s8>)
         : type == Type::f16 ? launch_unpack<f16, kPiece>(args, stream, fragment24<f16>)
                             : launch_unpack<bf16, kPiece>(args, stream, fragment24<bf16>);
}

constexpr cuda::Config kConfig = {PackTile::kThreads, 0, 1, PackTile::kRows, 1, 32};

}  // namespace

SECATEUR_CUDA_KERNEL(cuda::NmUnpackArgs, 80, "f16,bf16,i8", "fragment24", kConfig, unpack_refuses,
                     workspace_bytes, run);
