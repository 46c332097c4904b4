// Barriers. A thread of four warps leaves a value in shared memory, and takes the one of a partner
// who has come to the same barrier. `arrive`: the upper two warps wait for the lower two, which do
// not wait and get nothing.
#include "cuda/isa/cases.cuh"

namespace {

using namespace secateur;
using cuda::IsaArgs;
using cuda::isa::Problem;
using Words = cuda::isa::Words<2, 1>;

constexpr int kThreads = 128, kHalf = 64;
constexpr int kFirst = 1, kArrivals = 15;  // numbers of barriers

__global__ void __launch_bounds__(kThreads) conform(Problem p) {
  Words w(p);
  const auto memory = ptx::shared<std::uint32_t>();
  const int half = ptx::thread() / kHalf;
  int partner = static_cast<int>(w.in[1] % kHalf);
  ptx::store(memory + ptx::thread(), w.in[0]);
  bool takes = true;
  if (p.which == 0) {
    ptx::barrier();
    partner = static_cast<int>(w.in[1] % kThreads);
  } else if (p.which == 1) {
    ptx::barrier(kFirst + half, kHalf);
    partner += half * kHalf;
  } else if (half == 0) {
    ptx::barrier_arrive(kArrivals, kThreads);
    takes = false;
  } else {
    ptx::barrier(kArrivals, kThreads);
  }
  if (takes) w.out[0] = ptx::load(memory + partner);
  w.store(p);
}

constexpr cuda::Config kConfig = {kThreads, kThreads * 4, 1, 1, 1, 2};

int run(const IsaArgs& args, void* stream) {
  return cuda::isa::start(conform, kConfig, args, stream);
}

}  // namespace

SECATEUR_CUDA_KERNEL(IsaArgs, 80, "whole,named,arrive", "words", kConfig, cuda::isa::refuses<3>,
                     cuda::isa::no_workspace, run);
