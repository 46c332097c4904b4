// The plainest 2:4 product on sparse tensor cores: one tile a block, no split, nothing fused but
// the bias. It is what faster kernels are compared with.
#include "cuda/kernel.h"
#include "cuda/nm_linear/nm_linear.h"
#include "cuda/ptx.cuh"

namespace {

using namespace secateur;
using cuda::NmLinearArgs;
using ptx::Shared;

struct Tile {
  static constexpr int kOut = 64, kRows = 64, kIn = 64;  // of a block; 64 columns of w are 32 kept
  static constexpr int kStages = 3, kThreads = 128;
  // Blocks of a multiprocessor. Where nothing is said, ptxas spills to make room for seven on
  // sm_120.
  static constexpr int kBlocks = 4;
  static constexpr int kWarpOut = 32, kWarpRows = 32;  // of one of the four warps
  static constexpr int kChunk = 8;                     // elements of 16 bytes
  static constexpr int kKept = kIn / 2;
  static constexpr int kWeightBytes = kOut * kKept * 2, kXBytes = kRows * kIn * 2;
  static constexpr int kStageBytes = kWeightBytes + kXBytes;
  static_assert(kThreads == 32 * (kOut / kWarpOut) * (kRows / kWarpRows));
};

// Chunks of a row are permuted by the row's number, so that the eight rows of an ldmatrix lie in
// different banks. A row is 64 bytes of the weight and 128 of x.
__device__ __forceinline__ int weight_offset(int row, int chunk) {
  return row * Tile::kKept * 2 + ((chunk ^ ((row >> 1) & 3)) * 16);
}
__device__ __forceinline__ int x_offset(int row, int chunk) {
  return Tile::kWeightBytes + row * Tile::kIn * 2 + ((chunk ^ (row & 7)) * 16);
}

template <class T>
struct Problem {
  const T* values;
  const std::uint32_t* meta;
  const T* x;
  T* y;
  const float* bias;
  std::int64_t rows, in, out, kept, padded_out, x_stride, y_stride;
  int steps;
};

template <class T>
__device__ __forceinline__ void fetch(const Problem<T>& p, int step, std::int64_t out0,
                                      std::int64_t row0, Shared<std::uint8_t> stage) {
  constexpr int kWeightChunks = Tile::kOut * Tile::kKept / Tile::kChunk;
  constexpr int kXChunks = Tile::kRows * Tile::kIn / Tile::kChunk;
#pragma unroll
  for (int i = 0; i < kWeightChunks / Tile::kThreads; ++i) {
    const int at = ptx::thread() + i * Tile::kThreads, row = at / 4, chunk = at % 4;
    const std::int64_t column = std::int64_t{step} * Tile::kKept + chunk * Tile::kChunk;
    ptx::cp_async<16>(stage + weight_offset(row, chunk), p.values + (out0 + row) * p.kept + column);
  }
#pragma unroll
  for (int i = 0; i < kXChunks / Tile::kThreads; ++i) {
    const int at = ptx::thread() + i * Tile::kThreads, row = at / 8, chunk = at % 8;
    const std::int64_t column = std::int64_t{step} * Tile::kIn + chunk * Tile::kChunk;
    const bool inside = row0 + row < p.rows && column < p.in;
    const T* from = inside ? p.x + (row0 + row) * p.x_stride + column : p.x;
    ptx::cp_async<16>(stage + x_offset(row, chunk), from, inside ? 16 : 0);
  }
}

struct Warp {
  int out, row;  // where its part of the tile begins
  float sums[2][4][4];
};

template <class T>
__device__ __forceinline__ void multiply(const Problem<T>& p, int step, std::int64_t out0,
                                         Shared<std::uint8_t> stage, Warp& warp) {
  const int lane = ptx::lane();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int64_t word =
        (std::int64_t{step} * 2 + half) * p.padded_out + out0 + warp.out + lane;
    const std::uint32_t meta = ptx::load_nc(p.meta + word);
    std::uint32_t a[2][4], b[4][4];
#pragma unroll
    for (int i = 0; i < 2; ++i)
      ptx::ldmatrix(a[i],
                    stage + weight_offset(warp.out + i * 16 + lane % 16, half * 2 + lane / 16));
#pragma unroll
    for (int j = 0; j < 4; ++j)
      ptx::ldmatrix(b[j], stage + x_offset(warp.row + j * 8 + lane % 8, half * 4 + lane / 8));
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      ptx::mma_sp<T, 0>(warp.sums[0][j], a[0], b[j], meta);
      ptx::mma_sp<T, 1>(warp.sums[1][j], a[1], b[j], meta);
    }
  }
}

template <class T>
__device__ __forceinline__ void finish(const Problem<T>& p, std::int64_t out0, std::int64_t row0,
                                       const Warp& warp) {
  const int g = ptx::lane() / 4, t = ptx::lane() % 4;
#pragma unroll
  for (int at = 0; at < 2 * 4 * 4; ++at) {
    const int i = at / 16, j = at / 4 % 4, r = at % 4;
    const std::int64_t out = out0 + warp.out + i * 16 + g + 8 * (r / 2);
    const std::int64_t row = row0 + warp.row + j * 8 + 2 * t + r % 2;
    if (out >= p.out || row >= p.rows) continue;
    const float bias = p.bias != nullptr ? ptx::load_nc(p.bias + out) : 0.0F;
    ptx::store(p.y + row * p.y_stride + out, ptx::from_float<T>(warp.sums[i][j][r] + bias));
  }
}

template <class T>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks) product(Problem<T> p) {
  const Shared<std::uint8_t> memory = ptx::shared();
  const std::int64_t out0 = std::int64_t{ptx::block_index().x} * Tile::kOut;
  const std::int64_t row0 = std::int64_t{ptx::block_index().y} * Tile::kRows;
  Warp warp = {(ptx::warp() & 1) * Tile::kWarpOut, (ptx::warp() >> 1) * Tile::kWarpRows, {}};
#pragma unroll
  for (int step = 0; step < Tile::kStages - 1; ++step) {
    if (step < p.steps) fetch(p, step, out0, row0, memory + step * Tile::kStageBytes);
    ptx::cp_async_commit();
  }
  for (int step = 0; step < p.steps; ++step) {
    ptx::cp_async_wait<Tile::kStages - 2>();
    ptx::barrier();  // the stage has come for all, and the one before is free for all
    const int next = step + Tile::kStages - 1;
    if (next < p.steps)
      fetch(p, next, out0, row0, memory + next % Tile::kStages * Tile::kStageBytes);
    ptx::cp_async_commit();
    multiply(p, step, out0, memory + step % Tile::kStages * Tile::kStageBytes, warp);
  }
  finish(p, out0, row0, warp);
}

const char* refuses(const NmLinearArgs& args) {
  const auto type = static_cast<Type>(args.type);
  if (type != Type::f16 && type != Type::bf16) return "type: wanted f16 or bf16";
  if (static_cast<Act>(args.act) != Act::none) return "act: wanted none";
  if (args.residual != nullptr || args.scale != nullptr || args.x_scale != nullptr)
    return "residual, scale, x_scale: wanted null";
  if (args.padded_out % Tile::kOut != 0) return "padded_out: wanted a multiple of 64";
  if (args.padded_in % Tile::kIn != 0) return "padded_in: wanted a multiple of 64";
  if (args.in_features % 8 != 0 || args.x_stride % 8 != 0)
    return "in_features, x_stride: wanted multiples of 8 elements, the 16 bytes that are copied";
  if (reinterpret_cast<std::uintptr_t>(args.x) % 16 != 0) return "x: wanted aligned to 16 bytes";
  if (args.split > 1) return "split: wanted 0 or 1";
  if (args.rows > std::int64_t{65535} * Tile::kRows) return "rows: wanted at most 4194240";
  return nullptr;
}

std::int64_t workspace_bytes(const NmLinearArgs&) { return 0; }

template <class T>
int start(const NmLinearArgs& args, void* stream) {
  if (args.rows == 0 || args.out_features == 0) return 0;
  const Problem<T> problem = {static_cast<const T*>(args.values),
                              static_cast<const std::uint32_t*>(args.meta),
                              static_cast<const T*>(args.x),
                              static_cast<T*>(args.y),
                              args.bias,
                              args.rows,
                              args.in_features,
                              args.out_features,
                              args.padded_in / 2,
                              args.padded_out,
                              args.x_stride,
                              args.y_stride,
                              static_cast<int>(args.padded_in / Tile::kIn)};
  const ptx::Dim3 grid = {static_cast<unsigned>(args.padded_out / Tile::kOut),
                          static_cast<unsigned>((args.rows + Tile::kRows - 1) / Tile::kRows), 1};
  return ptx::launch(product<T>, grid, {Tile::kThreads, 1, 1}, Tile::kStages * Tile::kStageBytes,
                     stream, problem);
}

int run(const NmLinearArgs& args, void* stream) {
  return static_cast<Type>(args.type) == Type::f16 ? start<ptx::f16>(args, stream)
                                                   : start<ptx::bf16>(args, stream);
}

constexpr cuda::Config kConfig = {Tile::kThreads, Tile::kStages * Tile::kStageBytes,
                                  Tile::kStages,  Tile::kOut,
                                  Tile::kRows,    Tile::kIn};

}  // namespace

SECATEUR_CUDA_KERNEL(NmLinearArgs, 80, "f16,bf16", "torch24", kConfig, refuses, workspace_bytes,
                     run);
