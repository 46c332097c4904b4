// A dense weight to 2:4 in the order of mma.sp's registers. A lane reads the groups that it will
// give to the tensor core, 8 bytes each: a row's four lanes read a whole sector, and the 16 bytes
// of a lane's four registers lie side by side for the warp.
#include "cuda/nm_pack/source.cuh"

namespace {

using namespace secateur;
using namespace secateur::cuda;
using ptx::bf16;
using ptx::f16;
using ptx::s8;

constexpr int kPiece = 8;

// What a warp has of a tile: metadata [s][c][h] of half s of the rows, half c of the columns, and
// row g + 8 h of the half; each lane knows the nibbles of its own columns, and gets whole words.
__device__ __forceinline__ std::uint32_t of_quad(std::uint32_t a, std::uint32_t b, std::uint32_t c,
                                                 std::uint32_t d) {
  return joined(joined(a, b, 1), joined(c, d, 1), 2);
}

template <class T>
__device__ __forceinline__ void store_meta(std::uint32_t* meta,
                                           const std::uint32_t (&nibbles)[2][2][2]) {
  const int lane = ptx::lane(), t = lane % 4;
  const auto at = [&](int s, int c, int h) { return nibbles[s][c][h] << (8 * t); };
  if constexpr (sizeof(T) == 1) {
    Vec<std::uint32_t, 2> words;
#pragma unroll
    for (int s = 0; s < 2; ++s)
      words[s] = of_quad(at(s, 0, 0), at(s, 0, 1), at(s, 1, 0), at(s, 1, 1));
    ptx::store(reinterpret_cast<Vec<std::uint32_t, 2>*>(meta) + lane, words);
  } else {
    const auto both = [&](int s, int c) {
      return (nibbles[s][c][0] | nibbles[s][c][1] << 16) << (4 * t);
    };
    ptx::store(meta + lane, of_quad(both(0, 0), both(0, 1), both(1, 0), both(1, 1)));
  }
}

template <class Rule>
__global__ void __launch_bounds__(PackTile::kThreads)
    fragment24(Source<typename Rule::Element> source) {
  using T = typename Rule::Element;
  using Part = Piece<kPiece, Rule>;
  const Place at = place_of(source);
  if (at.tile >= source.tiles) return;
  const int lane = ptx::lane(), g = lane / 4, t = lane % 4;
  Part parts[2][2][2];  // [s][c][h]
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int s = i / 4, c = i / 2 % 2, h = i % 2;
    parts[s][c][h].read_from(source, at.row + 16 * s + 8 * h + g,
                             at.column + (4 * c + t) * Part::kCount);
  }
  std::uint32_t nibbles[2][2][2] = {}, faults = 0;
#pragma unroll
  for (int s = 0; s < 2; ++s) {
    Vec<std::uint32_t, 4> registers = {};
#pragma unroll
    for (int r = 0; r < 4; ++r)
#pragma unroll
      for (int j = 0; j < Part::kGroups; ++j) {
        const Group<T> group = parts[s][r / 2][r % 2].packed(j, faults);
        registers[r] |= std::uint32_t{group.pair} << (16 * j);
        nibbles[s][r / 2][r % 2] |= group.nibble << (4 * j);
      }
    auto* values = reinterpret_cast<Vec<std::uint32_t, 4>*>(source.values);
    ptx::store(values + (std::int64_t{at.tile} * 2 + s) * 32 + lane, registers);
  }
  store_meta<T>(source.meta + std::int64_t{at.tile} * 32 * (2 / static_cast<int>(sizeof(T))),
                nibbles);
  if (faults != 0) ptx::atomic_or(source.faults, faults);
}

std::int64_t workspace_bytes(const NmPackArgs&) { return 0; }

template <class T>
int start(const NmPackArgs& args, void* stream) {
  return launch_pack<T>(source_of<T, kPiece>(args), args, stream, fragment24<ByMask<T>>,
                        fragment24<ByNonzero<T>>, fragment24<BySize<T>>);
}

int run(const NmPackArgs& args, void* stream) {
  const auto type = static_cast<Type>(args.type);
  return type == Type::i8    ? start<s8>(args, stream)
         : type == Type::f16 ? start<f16>(args, stream)
                             : start<bf16>(args, stream);
}

constexpr cuda::Config kConfig = {PackTile::kThreads, 0, 1, PackTile::kRows, 1, 32};

}  // namespace

SECATEUR_CUDA_KERNEL(cuda::NmPackArgs, 80, "f16,bf16,i8", "fragment24", kConfig, pack_refuses,
                     workspace_bytes, run);
