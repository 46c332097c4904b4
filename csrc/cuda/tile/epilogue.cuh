// From a block's sums to y: transposed through shared memory, so that a row's features lie side by
// side; then scale, bias, activation and residual, rounded once and written 16 bytes at a time.
#pragma once

#include "cuda/tile/act.cuh"
#include "cuda/tile/multiply.cuh"

namespace secateur::tile {

// y[row, o] = act(bias[o] + scale[o] * x_scale[row] * sum) + residual[row, o]; or, with
// residual_first, act(bias[o] + .. + residual[row, o])
template <class Y>
struct Result {
  Y* y;
  const Y* residual;     // or null, as y
  const float* bias;     // or null
  const float* scale;    // or null
  const float* x_scale;  // or null
  std::int64_t rows, out, stride;
  Act act;
  bool wide;  // y and the residual are aligned to 16 bytes, row by row
  bool residual_first = false;
};

template <class Y>
constexpr int kPerStore = kChunkBytes / static_cast<int>(sizeof(Y));

// The sums as floats in shared memory, [row][kSumRowWords].
template <class Tile, class T>
__device__ __forceinline__ void spread(const Warp<Tile, T>& warp, ptx::Shared<float> to) {
  using S = Shape<Tile, T>;
  const int g = ptx::lane() / 4, t = ptx::lane() % 4;
#pragma unroll
  for (int i = 0; i < S::kOutTiles; ++i)
#pragma unroll
    for (int j = 0; j < S::kRowTiles; ++j)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int row = warp.row + j * kRowsOfMma + 2 * t + r % 2;
        const int out = warp.out + i * kOutOfMma + g + 8 * (r / 2);
        ptx::store(to + (row * S::kSumRowWords + out), static_cast<float>(warp.sums[i][j][r]));
      }
}

// N floats of shared memory. Lanes take eight of them 32 bytes apart: of every eight lanes, four
// begin with the second half, or banks would serve two of them at a time.
template <int N>
__device__ __forceinline__ void gather(float (&v)[N], ptx::Shared<float> from) {
  using Four = ptx::Vec<float, 4>;
  if constexpr (N == 4) {
    const Four all = ptx::load(from.as<Four>());
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = all[i];
  } else {
    static_assert(N == 8);
    const bool swapped = (ptx::lane() & 4) != 0;
    const Four one = ptx::load((from + (swapped ? 4 : 0)).as<Four>());
    const Four two = ptx::load((from + (swapped ? 0 : 4)).as<Four>());
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      v[i] = swapped ? two[i] : one[i];
      v[4 + i] = swapped ? one[i] : two[i];
    }
  }
}

// A thread's columns of y: as many as one store takes, from `out` on, in every row it gets.
template <class Y>
class Columns {
  static constexpr int N = kPerStore<Y>;

 public:
  __device__ __forceinline__ Columns(const Result<Y>& result, std::int64_t out)
      : result_(result), out_(out) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const bool inside = out + i < result.out;
      bias_[i] = inside && result.bias != nullptr ? ptx::load_nc(result.bias + out + i) : 0.0F;
      scale_[i] = inside && result.scale != nullptr ? ptx::load_nc(result.scale + out + i) : 1.0F;
    }
  }

  __device__ __forceinline__ void finish(float (&v)[N], std::int64_t row) {
    const float of_row = result_.x_scale != nullptr ? ptx::load_nc(result_.x_scale + row) : 1.0F;
#pragma unroll
    for (int i = 0; i < N; ++i) v[i] = v[i] * (scale_[i] * of_row) + bias_[i];
    const std::int64_t at = row * result_.stride + out_;
    const bool wide = result_.wide && out_ + N <= result_.out;
    if (result_.residual_first) add_residual(v, at, wide);
    activate(result_.act, v);
    if (!result_.residual_first) add_residual(v, at, wide);
    write(v, at, wide);
  }

 private:
  using Wide = ptx::Vec<Y, N>;

  __device__ __forceinline__ void add_residual(float (&v)[N], std::int64_t at, bool wide) const {
    if (result_.residual == nullptr) return;
    if (wide) {
      const Wide more = ptx::load_nc(reinterpret_cast<const Wide*>(result_.residual + at));
#pragma unroll
      for (int i = 0; i < N; ++i) v[i] += ptx::to_float(more[i]);
      return;
    }
#pragma unroll
    for (int i = 0; i < N; ++i)
      if (out_ + i < result_.out) v[i] += ptx::to_float(ptx::load_nc(result_.residual + at + i));
  }

  __device__ __forceinline__ void write(const float (&v)[N], std::int64_t at, bool wide) const {
    Wide y;
#pragma unroll
    for (int i = 0; i < N; ++i) y[i] = ptx::from_float<Y>(v[i]);
    if (wide) return ptx::store(reinterpret_cast<Wide*>(result_.y + at), y);
#pragma unroll
    for (int i = 0; i < N; ++i)
      if (out_ + i < result_.out) ptx::store(result_.y + at + i, y[i]);
  }

  const Result<Y>& result_;
  std::int64_t out_;
  float bias_[N], scale_[N];
};

// All threads come, and none reads the pipeline's stages any more.
template <class Tile, class T>
__device__ __forceinline__ void finish(const Warp<Tile, T>& warp,
                                       const Result<typename Shape<Tile, T>::Y>& result,
                                       std::int64_t out0, std::int64_t row0,
                                       ptx::Shared<float> memory) {
  using S = Shape<Tile, T>;
  constexpr int N = kPerStore<typename S::Y>, kOfRow = Tile::kOut / N;
  static_assert(S::kThreads % kOfRow == 0, "a thread keeps its columns");
  spread(warp, memory);
  ptx::barrier();
  const int column = ptx::thread() % kOfRow * N;
  if (out0 + column >= result.out) return;
  Columns<typename S::Y> columns(result, out0 + column);
#pragma unroll 1
  for (int row = ptx::thread() / kOfRow; row < Tile::kRows; row += S::kThreads / kOfRow) {
    if (row0 + row >= result.rows) return;
    float v[N];
    gather(v, memory + (row * S::kSumRowWords + column));
    columns.finish(v, row0 + row);
  }
}

}  // namespace secateur::tile
