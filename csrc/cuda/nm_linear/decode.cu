// 2:4 product for 1 to 16 rows of x, as fast as the weight comes from memory: every lane loads its
// operand of mma.sp in one piece, from a weight in the order of fragments, and keeps it in
// registers. Tensor cores are mostly idle, and cost nothing.
#include "cuda/kernel.h"
#include "cuda/nm_linear/decode_plan.h"
#include "cuda/nm_linear/decode_x.cuh"
#include "cuda/nm_linear/nm_linear.h"
#include "cuda/ptx.cuh"
#include "cuda/tile/act.cuh"

namespace {

using namespace secateur;
using cuda::DecodePlan;
using cuda::NmLinearArgs;
using decode::kChunks;
using decode::Words;
using ptx::Shared;

constexpr int kWarps = cuda::kDecodeWarps, kThreads = 32 * kWarps, kDepth = cuda::kDecodeDepth;
constexpr int kBlocks = 2;                                  // of a multiprocessor
constexpr int kHalves = 2, kRowsOfMma = 8, kOutOfMma = 16;  // halves of a band
constexpr int kPieceBytes = 32 << 10;                       // of x that a block keeps at most
constexpr int kPieceTiles = 32;                             // pieces are of multiples of them
static_assert(kPieceTiles % (kWarps * kDepth) == 0, "each warp has whole rounds of a piece");
static_assert(kPieceTiles * cuda::kTileBytes * cuda::kDecodeMostRows <= kPieceBytes);

template <class T>
struct Of {
  static constexpr bool kInt8 = std::is_same_v<T, ptx::s8>;
  using Sum = std::conditional_t<kInt8, std::int32_t, float>;
  using Y = std::conditional_t<kInt8, float, T>;
  using Meta = ptx::Vec<std::uint32_t, kInt8 ? 2 : 1>;  // of a lane and a tile
  static constexpr int kTileIn = cuda::kTileBytes / static_cast<int>(sizeof(T));
  static constexpr int kWeightBytes = 32 * (kHalves * 16 + static_cast<int>(sizeof(Meta)));
};

template <class T>
struct Problem {
  const Words* values;
  const typename Of<T>::Meta* meta;
  decode::X<T> x;
  typename Of<T>::Y* y;
  const float *bias, *scale, *x_scale;
  const typename Of<T>::Y* residual;
  std::uint32_t* counters;
  typename Of<T>::Sum* workspace;  // [split][rows][padded_out]
  std::int64_t out, padded_out, y_stride, bands;
  int tiles, block_tiles, piece_tiles;
  int block_bands, parts, split;
  Act act;
};

template <class T>
struct Tile {
  Words half[kHalves];
  typename Of<T>::Meta meta;
};

// What a warp reads of the weight, one after the other: tiles part, part + parts, ... of its
// block's.
template <class T>
struct Stream {
  const Words* values;
  const typename Of<T>::Meta* meta;
  int part, parts, count;

  __device__ __forceinline__ Stream(const Problem<T>& p, int first, int tiles)
      : part(ptx::warp() / p.block_bands), parts(p.parts) {
    const std::int64_t band =
        std::int64_t{ptx::block_index().x} * p.block_bands + ptx::warp() % p.block_bands;
    const std::int64_t tile = band * p.tiles + first + part;
    values = p.values + tile * (kHalves * 32) + ptx::lane();
    meta = p.meta + tile * 32 + ptx::lane();
    count = band < p.bands && part < tiles ? (tiles - part + parts - 1) / parts : 0;
  }
  __device__ __forceinline__ void fetch(Tile<T>& tile) {
#pragma unroll
    for (int h = 0; h < kHalves; ++h) tile.half[h] = ptx::load_once(values + 32 * h);
    tile.meta = ptx::load_once(meta);
    values += parts * (kHalves * 32);
    meta += parts * 32;
  }
};

template <class T, int kRowTiles>
struct Sums {
  typename Of<T>::Sum v[kHalves][kRowTiles][4];
};

// Where a lane finds its fragments of x, tile after tile of its warp.
template <int kRowTiles>
struct Rows {
  Shared<Words> at[kRowTiles];
  int step;

  __device__ __forceinline__ Rows(int rows, int part, int parts) : step(parts * rows * kChunks) {
#pragma unroll
    for (int j = 0; j < kRowTiles; ++j) {
      // Lanes of rows that x has not read the last one's: their sums are nobody's.
      const int row = j * kRowsOfMma + ptx::lane() / 4;
      at[j] = ptx::shared<Words>() + (part * rows + (row < rows ? row : rows - 1)) * kChunks +
              ptx::lane() % 4;
    }
  }
};

template <class T, int kRowTiles>
__device__ __forceinline__ void multiply(const Tile<T>& tile, Rows<kRowTiles>& x,
                                         Sums<T, kRowTiles>& sums) {
#pragma unroll
  for (int j = 0; j < kRowTiles; ++j) {
    const Words b = ptx::load(x.at[j]);
    x.at[j] = x.at[j] + x.step;
    if constexpr (Of<T>::kInt8) {
      ptx::mma_sp<T, 0>(sums.v[0][j], tile.half[0].v, b.v, tile.meta[0]);
      ptx::mma_sp<T, 0>(sums.v[1][j], tile.half[1].v, b.v, tile.meta[1]);
    } else {
      ptx::mma_sp<T, 0>(sums.v[0][j], tile.half[0].v, b.v, tile.meta[0]);
      ptx::mma_sp<T, 1>(sums.v[1][j], tile.half[1].v, b.v, tile.meta[0]);
    }
  }
}

// A piece of x, the warp's tiles i .. end - 1. Each tile is loaded kDepth tiles before it is
// needed, into the registers of the one just used. The first loop has no branches: behind one,
// ptxas lets every load wait for all others.
template <class T, int kRowTiles>
__device__ __forceinline__ void sum_piece(Stream<T>& stream, Tile<T> (&ring)[kDepth], int i,
                                          int end, Rows<kRowTiles> x, Sums<T, kRowTiles>& sums) {
#pragma unroll 1
  for (; i + kDepth <= end && i + 2 * kDepth <= stream.count; i += kDepth) {
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      multiply(ring[d], x, sums);
      stream.fetch(ring[d]);
    }
  }
#pragma unroll 1
  for (; i < end; i += kDepth) {
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      if (i + d < end) multiply(ring[d], x, sums);
      if (i + d + kDepth < stream.count) stream.fetch(ring[d]);
    }
  }
}

template <class T, int kRowTiles>
__device__ __forceinline__ void sum_up(const Problem<T>& p, int first, int tiles,
                                       Sums<T, kRowTiles>& sums) {
  Stream<T> stream(p, first, tiles);
  Tile<T> ring[kDepth];
#pragma unroll
  for (int d = 0; d < kDepth; ++d)
    if (d < stream.count) stream.fetch(ring[d]);
  const Rows<kRowTiles> x(p.x.rows, stream.part, stream.parts);
#pragma unroll 1
  for (int piece = 0; piece < tiles; piece += p.piece_tiles) {
    const int here = tiles - piece < p.piece_tiles ? tiles - piece : p.piece_tiles;
    if (piece > 0) ptx::barrier();  // the piece before has been read by all
    decode::stage(p.x, first + piece, here, ptx::shared<std::uint32_t>());
    ptx::barrier();
    const int begin = piece / stream.parts;
    const int end = here == p.piece_tiles ? begin + here / stream.parts : stream.count;
    sum_piece(stream, ring, begin, end, x, sums);
  }
}

// Sums of warps in shared memory: [warp][row][out], rows four banks apart, so that the 32 lanes of
// a fragment's register meet 32 banks.
constexpr int kPitch = cuda::kBandOut + 4;
template <int kRowTiles>
constexpr int kWarpSums = kRowTiles * kRowsOfMma * kPitch;

template <class T, int kRowTiles>
__device__ __forceinline__ void spread(const Sums<T, kRowTiles>& sums,
                                       Shared<typename Of<T>::Sum> to) {
  const int g = ptx::lane() / 4, t = ptx::lane() % 4;
#pragma unroll
  for (int h = 0; h < kHalves; ++h)
#pragma unroll
    for (int j = 0; j < kRowTiles; ++j)
#pragma unroll
      for (int r = 0; r < 4; ++r)
        ptx::store(to + ((j * kRowsOfMma + 2 * t + r % 2) * kPitch + h * kOutOfMma + g + r / 2 * 8),
                   sums.v[h][j][r]);
}

template <class T>
__device__ __forceinline__ void finish(const Problem<T>& p, int row, std::int64_t out,
                                       typename Of<T>::Sum sum) {
  if (out >= p.out) return;
  float v[1] = {static_cast<float>(sum)};
  if (p.scale != nullptr) v[0] *= ptx::load_nc(p.scale + out);
  if (p.x_scale != nullptr) v[0] *= ptx::load_nc(p.x_scale + row);
  if (p.bias != nullptr) v[0] += ptx::load_nc(p.bias + out);
  tile::activate(p.act, v);
  const std::int64_t at = row * p.y_stride + out;
  if (p.residual != nullptr) v[0] += ptx::to_float(ptx::load_nc(p.residual + at));
  ptx::store(p.y + at, ptx::from_float<typename Of<T>::Y>(v[0]));
}

// Whether this block is the last of its column. All threads ask.
template <class T>
__device__ __forceinline__ bool comes_last(const Problem<T>& p) {
  const auto flag = ptx::shared<std::uint32_t>();
  ptx::barrier();  // warps' sums have been read, and the block's stored, by all
  if (ptx::thread() == 0) {
    const auto others = static_cast<std::uint32_t>(p.split - 1);
    ptx::fence();  // for the whole block: the barriers before and behind make it theirs
    const bool last = ptx::atomic_inc(p.counters + ptx::block_index().x, others) == others;
    ptx::fence();
    ptx::store(flag, last ? 1U : 0U);
  }
  ptx::barrier();
  return ptx::load(flag) != 0;
}

template <class T, int kRowTiles>
__device__ __forceinline__ void product(const Problem<T>& p) {
  using Sum = typename Of<T>::Sum;
  const int first = static_cast<int>(ptx::block_index().y) * p.block_tiles;
  const int left = p.tiles - first;
  Sums<T, kRowTiles> sums = {};
  sum_up(p, first, left < p.block_tiles ? left : p.block_tiles, sums);

  ptx::barrier();  // x has been read by all
  const Shared<Sum> shared = ptx::shared<Sum>();
  spread<T, kRowTiles>(sums, shared + ptx::warp() * kWarpSums<kRowTiles>);
  ptx::barrier();
  const std::int64_t out0 =
      std::int64_t{ptx::block_index().x} * p.block_bands * cuda::kBandOut + ptx::lane();
  const int lines = p.block_bands * p.x.rows;  // of 32 outputs, a warp each
  const std::int64_t part = p.x.rows * p.padded_out;
  for (int at = ptx::warp(); at < lines; at += kWarps) {
    const int band = at % p.block_bands, row = at / p.block_bands;
    Sum sum = 0;
    for (int warp = band; warp < kWarps; warp += p.block_bands)
      sum += ptx::load(shared + (warp * kWarpSums<kRowTiles> + row * kPitch + ptx::lane()));
    const std::int64_t out = out0 + band * cuda::kBandOut;
    if (p.split == 1)
      finish(p, row, out, sum);
    else if (out < p.padded_out)
      ptx::store(p.workspace + ptx::block_index().y * part + row * p.padded_out + out, sum);
  }
  if (p.split == 1 || !comes_last(p)) return;
  for (int at = ptx::warp(); at < lines; at += kWarps) {
    const int row = at / p.block_bands;
    const std::int64_t out = out0 + at % p.block_bands * cuda::kBandOut;
    if (out >= p.padded_out) continue;
    const Sum* from = p.workspace + row * p.padded_out + out;
    Sum sum = 0;  // in the order of the columns, whoever is last
#pragma unroll 4
    for (int s = 0; s < p.split; ++s) sum += ptx::load_cg(from + s * part);
    finish(p, row, out, sum);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks) eight_rows(Problem<T> p) {
  product<T, 1>(p);
}
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks) sixteen_rows(Problem<T> p) {
  product<T, 2>(p);
}

template <class T>
DecodePlan plan_of(const NmLinearArgs& args) {
  const cuda::DecodeProblem problem = {args.padded_out / cuda::kBandOut,
                                       args.padded_in / Of<T>::kTileIn, static_cast<int>(args.rows),
                                       Of<T>::kWeightBytes};
  return cuda::decode_plan(problem, ptx::multiprocessors(), args.split);
}

DecodePlan plan_of(const NmLinearArgs& args) {
  return static_cast<Type>(args.type) == Type::i8 ? plan_of<ptx::s8>(args)
                                                  : plan_of<ptx::f16>(args);
}

bool off(const void* pointer, std::uintptr_t bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % bytes != 0;
}

const char* refuses(const NmLinearArgs& args) {
  const auto type = static_cast<Type>(args.type);
  const bool int8 = type == Type::i8;
  if (type != Type::f16 && type != Type::bf16 && !int8) return "type: wanted f16, bf16 or i8";
  if (args.rows > cuda::kDecodeMostRows) return "rows: wanted at most 16";
  if (args.padded_out % cuda::kBandOut != 0) return "padded_out: wanted a multiple of 32";
  if (args.padded_in % (int8 ? 64 : 32) != 0)
    return "padded_in: wanted a multiple of 32 columns, of i8 64";
  if (args.padded_in >= 1 << 30) return "padded_in: wanted below 2^30";
  if (args.padded_out >= std::int64_t{1} << 36) return "padded_out: wanted below 2^36";
  if (off(args.values, 16) || off(args.meta, int8 ? 8 : 4))
    return "values, meta: wanted aligned to the 16 and to the 4 (i8: 8) bytes of a lane";
  if (args.split < 0 || args.split > cuda::kMostSplit) return "split: wanted 0 to 32";
  if (args.split > 1 && plan_of(args).columns > cuda::kMostColumns)
    return "split: wanted 0 or 1 for more than 1024 blocks side by side";
  return nullptr;
}

constexpr std::int64_t kCounterBytes = cuda::kMostColumns * 4;  // before the sums, for any problem

std::int64_t workspace_bytes(const NmLinearArgs& args) {
  const DecodePlan plan = plan_of(args);
  return plan.split == 1 ? 0 : kCounterBytes + plan.split * args.rows * args.padded_out * 4;
}

template <class T>
Problem<T> problem_of(const NmLinearArgs& args, const DecodePlan& plan) {
  Problem<T> p = {};
  p.values = static_cast<const Words*>(args.values);
  p.meta = static_cast<const typename Of<T>::Meta*>(args.meta);
  const bool aligned =
      !off(args.x, 16) && args.x_stride * static_cast<int>(sizeof(T)) % decode::kChunkBytes == 0;
  p.x = {static_cast<const T*>(args.x), args.x_stride, static_cast<int>(args.in_features),
         static_cast<int>(args.rows), aligned};
  p.y = static_cast<typename Of<T>::Y*>(args.y);
  p.residual = static_cast<const typename Of<T>::Y*>(args.residual);
  p.bias = args.bias, p.scale = args.scale, p.x_scale = args.x_scale;
  p.counters = static_cast<std::uint32_t*>(args.workspace);
  p.workspace = reinterpret_cast<typename Of<T>::Sum*>(p.counters + cuda::kMostColumns);
  p.out = args.out_features, p.padded_out = args.padded_out, p.y_stride = args.y_stride;
  p.bands = args.padded_out / cuda::kBandOut;
  p.tiles = static_cast<int>(args.padded_in / Of<T>::kTileIn);
  p.block_tiles = static_cast<int>(plan.tiles);
  const int of_tile = p.x.rows * cuda::kTileBytes;
  p.piece_tiles = kPieceBytes / of_tile / kPieceTiles * kPieceTiles;
  p.block_bands = plan.bands, p.parts = plan.parts(), p.split = plan.split;
  p.act = static_cast<Act>(args.act);
  return p;
}

template <class T>
int start(const NmLinearArgs& args, void* stream) {
  const bool few = args.rows <= kRowsOfMma;
  const DecodePlan plan = plan_of<T>(args);
  const Problem<T> p = problem_of<T>(args, plan);
  const int staged = p.block_tiles < p.piece_tiles ? p.block_tiles : p.piece_tiles;
  const int x_words = staged * p.x.rows * (cuda::kTileBytes / decode::kWordBytes);
  const int sum_words = kWarps * (few ? kWarpSums<1> : kWarpSums<2>);
  const int shared_bytes = (x_words > sum_words ? x_words : sum_words) * decode::kWordBytes;
  const ptx::Dim3 grid = {static_cast<unsigned>(plan.columns), static_cast<unsigned>(plan.split),
                          1};
  return ptx::launch(few ? eight_rows<T> : sixteen_rows<T>, grid, {kThreads, 1, 1}, shared_bytes,
                     stream, p);
}

int run(const NmLinearArgs& args, void* stream) {
  if (args.rows == 0 || args.out_features == 0) return 0;
  switch (static_cast<Type>(args.type)) {
    case Type::f16:
      return start<ptx::f16>(args, stream);
    case Type::bf16:
      return start<ptx::bf16>(args, stream);
    default:
      return start<ptx::s8>(args, stream);
  }
}

constexpr cuda::Config kConfig = {kThreads,
                                  kPieceBytes + decode::kWordBytes,
                                  kDepth,
                                  4 * cuda::kBandOut,
                                  cuda::kDecodeMostRows,
                                  Of<ptx::f16>::kTileIn};

}  // namespace

SECATEUR_CUDA_KERNEL(NmLinearArgs, 80, "f16,bf16,i8", "fragment24", kConfig, refuses,
                     workspace_bytes, run);
