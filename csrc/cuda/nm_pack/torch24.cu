// A dense weight to torch's 2:4 order. A warp takes 32 rows of 64 bytes; of four rows, or of the
// nibbles behind them, a lane has 16 bytes and writes 8; its metadata are one line of 128 bytes.
#include "cuda/nm_pack/source.cuh"

namespace {

using namespace secateur;
using namespace secateur::cuda;
using ptx::bf16;
using ptx::f16;
using ptx::s8;

constexpr int kPiece = 16;

// Line of the metadata, of 32 words, that holds the rows from `row` on; s8 has one for 16 rows.
template <class T>
__device__ __forceinline__ std::uint32_t* line_of(const Source<T>& source, std::int64_t row,
                                                  unsigned tile_in) {
  const std::int64_t rows = sizeof(T) == 1 ? 2 * source.padded_out : source.padded_out;
  return source.meta + tile_in * rows + row * (sizeof(T) == 1 ? 2 : 1);
}

template <class Rule>
__global__ void __launch_bounds__(PackTile::kThreads)
    torch24(Source<typename Rule::Element> source) {
  using T = typename Rule::Element;
  using Part = Piece<kPiece, Rule>;
  const Place at = place_of(source);
  if (at.tile >= source.tiles) return;
  const int g = ptx::lane() / 4, t = ptx::lane() % 4;
  const unsigned tile_in = at.tile % source.tiles_in;
  Part parts[4];  // rows 8 i + g
#pragma unroll
  for (int i = 0; i < 4; ++i)
    parts[i].read_from(source, at.row + 8 * i + g, at.column + t * Part::kCount);
  std::uint32_t nibbles[4] = {}, faults = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    Vec<Pair<T>, Part::kGroups> pairs;
#pragma unroll
    for (int j = 0; j < Part::kGroups; ++j) {
      const Group<T> group = parts[i].packed(j, faults);
      pairs[j] = group.pair;
      nibbles[i] |= group.nibble << (4 * j);
    }
    const std::int64_t row = at.row + 8 * i + g;
    std::uint8_t* values =
        source.values + (row * source.tiles_in + tile_in) * (PackTile::kRowBytes / 2);
    ptx::store(reinterpret_cast<Vec<Pair<T>, Part::kGroups>*>(values) + t, pairs);
  }
  std::uint32_t* line = line_of(source, at.row, tile_in);
  if constexpr (sizeof(T) == 1) {
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      const int shift = 16 * (t % 2);
      const std::uint32_t word = joined(nibbles[2 * s] << shift, nibbles[2 * s + 1] << shift, 1);
      ptx::store(line + 32 * s + ptx::lane(), word);
    }
  } else {
    // Half s of the rows is the word's low bit, half t / 2 of the columns the lane's.
    const int shift = 8 * (t % 2);
    const std::uint32_t low = (nibbles[0] | nibbles[1] << 16) << shift;
    const std::uint32_t high = (nibbles[2] | nibbles[3] << 16) << shift;
    ptx::store(line + 4 * g + 2 * (t % 2) + t / 2, joined(low, high, 1));
  }
  if (faults != 0) ptx::atomic_or(source.faults, faults);
}

std::int64_t workspace_bytes(const NmPackArgs&) { return 0; }

template <class T>
int start(const NmPackArgs& args, void* stream) {
  return launch_pack<T>(source_of<T, kPiece>(args), args, stream, torch24<ByMask<T>>,
                        torch24<ByNonzero<T>>, torch24<BySize<T>>);
}

int run(const NmPackArgs& args, void* stream) {
  const auto type = static_cast<Type>(args.type);
  return type == Type::i8    ? start<s8>(args, stream)
         : type == Type::f16 ? start<f16>(args, stream)
                             : start<bf16>(args, stream);
}

constexpr cuda::Config kConfig = {PackTile::kThreads, 0, 1, PackTile::kRows, 1, 32};

}  // namespace

SECATEUR_CUDA_KERNEL(cuda::NmPackArgs, 80, "f16,bf16,i8", "torch24", kConfig, pack_refuses,
                     workspace_bytes, run);
