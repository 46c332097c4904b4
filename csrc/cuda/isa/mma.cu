// Tensor cores. A thread is given d, a, b and the metadata, 4 + 4 + 4 + 1 words, and gives back d.
#include <type_traits>

#include "cuda/isa/cases.cuh"

namespace {

using namespace secateur;
using cuda::IsaArgs;
using cuda::isa::Problem;
using Words = cuda::isa::Words<13, 4>;

template <class T>
using Sum = std::conditional_t<std::is_same_v<T, ptx::s8>, std::int32_t, float>;

template <class T>
__device__ __forceinline__ void dense(Words& w) {
  Sum<T> d[4];
  std::uint32_t a[4], b[2] = {w.in[8], w.in[9]};
  for (int i = 0; i < 4; ++i) d[i] = ptx::bits_as<Sum<T>>(w.in[i]);
  for (int i = 0; i < 4; ++i) a[i] = w.in[4 + i];
  ptx::mma<T>(d, a, b);
  for (int i = 0; i < 4; ++i) w.out[i] = ptx::bits_as<std::uint32_t>(d[i]);
}

template <class T, int kSelector>
__device__ __forceinline__ void sparse(Words& w) {
  Sum<T> d[4];
  std::uint32_t a[4], b[4];
  for (int i = 0; i < 4; ++i) d[i] = ptx::bits_as<Sum<T>>(w.in[i]);
  for (int i = 0; i < 4; ++i) a[i] = w.in[4 + i];
  for (int i = 0; i < 4; ++i) b[i] = w.in[8 + i];
  ptx::mma_sp<T, kSelector>(d, a, b, w.in[12]);
  for (int i = 0; i < 4; ++i) w.out[i] = ptx::bits_as<std::uint32_t>(d[i]);
}

template <class T>
__device__ __forceinline__ void sparse(Words& w, int selector) {
  if (selector == 0)
    sparse<T, 0>(w);
  else
    sparse<T, 1>(w);
}

__global__ void __launch_bounds__(32) conform(Problem p) {
  Words w(p);
  switch (p.which) {
    case 0:
      dense<ptx::f16>(w);
      break;
    case 1:
      dense<ptx::bf16>(w);
      break;
    case 2:
      dense<ptx::tf32>(w);
      break;
    case 3:
      dense<ptx::s8>(w);
      break;
    case 4:
    case 5:
      sparse<ptx::f16>(w, p.which - 4);
      break;
    case 6:
    case 7:
      sparse<ptx::bf16>(w, p.which - 6);
      break;
    case 8:
    case 9:
      sparse<ptx::tf32>(w, p.which - 8);
      break;
    default:
      sparse<ptx::s8, 0>(w);
  }
  w.store(p);
}

constexpr cuda::Config kConfig = {32, 0, 1, 4, 1, 13};

int run(const IsaArgs& args, void* stream) {
  return cuda::isa::start(conform, kConfig, args, stream);
}

}  // namespace

SECATEUR_CUDA_KERNEL(IsaArgs, 80,
                     "f16,bf16,tf32,s8,sp_f16_0,sp_f16_1,sp_bf16_0,sp_bf16_1,sp_tf32_0,sp_tf32_1,"
                     "sp_s8",
                     "words", kConfig, cuda::isa::refuses<11>, cuda::isa::no_workspace, run);
