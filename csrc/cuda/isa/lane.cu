// What unpacks a lane's own share of a tile: two words in, two out.
#include "cuda/isa/cases.cuh"

namespace {

using namespace secateur;
using cuda::IsaArgs;
using cuda::isa::Problem;
using Words = cuda::isa::Words<2, 2>;

// From a shared memory of 32 words, the lanes' first, at the half of the second's upper bits.
__device__ __forceinline__ void take(Words& w) {
  const auto memory = ptx::shared<ptx::f16>();
  ptx::store(memory.as<std::uint32_t>() + ptx::lane(), w.in[0]);
  ptx::syncwarp();
  ptx::Shared<ptx::f16> next = memory + static_cast<int>(w.in[1] >> 26);
  w.out[0] = ptx::take_if(next, w.in[1] & 0xffU);
  w.out[1] = next.address - memory.address;
}

__global__ void __launch_bounds__(32) conform(Problem p) {
  Words w(p);
  if (p.which == 0)
    w.out[0] = static_cast<std::uint32_t>(ptx::highest(w.in[0]));
  else if (p.which == 1)
    w.out[0] = static_cast<std::uint32_t>(ptx::add_up(static_cast<int>(w.in[0]), w.in[1] >> 27));
  else
    take(w);
  w.store(p);
}

constexpr cuda::Config kConfig = {32, 128, 1, 2, 1, 2};

int run(const IsaArgs& args, void* stream) {
  return cuda::isa::start(conform, kConfig, args, stream);
}

}  // namespace

SECATEUR_CUDA_KERNEL(IsaArgs, 80, "highest,add_up,take_if", "words", kConfig, cuda::isa::refuses<3>,
                     cuda::isa::no_workspace, run);
