// ldmatrix. A lane is given 64 bytes that it puts into shared memory, and the number of the 16-byte
// row, of 128, that it points to.
#include "cuda/isa/cases.cuh"

namespace {

using namespace secateur;
using cuda::IsaArgs;
using cuda::isa::Problem;
using Words = cuda::isa::Words<17, 4>;

template <int N>
__device__ __forceinline__ void straight(Words& w, ptx::Shared<std::uint32_t> row) {
  std::uint32_t r[N];
  ptx::ldmatrix(r, row);
  for (int i = 0; i < N; ++i) w.out[i] = r[i];
}

template <int N>
__device__ __forceinline__ void transposed(Words& w, ptx::Shared<std::uint32_t> row) {
  std::uint32_t r[N];
  ptx::ldmatrix_trans(r, row);
  for (int i = 0; i < N; ++i) w.out[i] = r[i];
}

__global__ void __launch_bounds__(32) conform(Problem p) {
  Words w(p);
  const auto memory = ptx::shared<std::uint32_t>();
  for (int i = 0; i < 16; ++i) ptx::store(memory + (ptx::lane() * 16 + i), w.in[i]);
  ptx::barrier();
  const auto row = memory + static_cast<int>(w.in[16] % 128) * 4;
  switch (p.which) {
    case 0:
      straight<1>(w, row);
      break;
    case 1:
      straight<2>(w, row);
      break;
    case 2:
      straight<4>(w, row);
      break;
    case 3:
      transposed<1>(w, row);
      break;
    case 4:
      transposed<2>(w, row);
      break;
    default:
      transposed<4>(w, row);
  }
  w.store(p);
}

constexpr cuda::Config kConfig = {32, 2048, 1, 4, 1, 17};

int run(const IsaArgs& args, void* stream) {
  return cuda::isa::start(conform, kConfig, args, stream);
}

}  // namespace

SECATEUR_CUDA_KERNEL(IsaArgs, 80, "x1,x2,x4,x1_trans,x2_trans,x4_trans", "words", kConfig,
                     cuda::isa::refuses<6>, cuda::isa::no_workspace, run);
