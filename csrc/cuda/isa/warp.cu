// Shuffles, votes and syncwarp. A lane is given a value of 8 bytes, an operand and the mask of the
// lanes that take part; the others do nothing. A vote is the value's lowest bit.
#include "cuda/isa/cases.cuh"

namespace {

using namespace secateur;
using cuda::IsaArgs;
using cuda::isa::Problem;
using Words = cuda::isa::Words<4, 2>;

template <class T>
__device__ __forceinline__ T shuffle(int how, T value, std::uint32_t operand, unsigned mask) {
  switch (how) {
    case 0:
      return ptx::shfl(value, static_cast<int>(operand), mask);
    case 1:
      return ptx::shfl_up(value, operand, mask);
    case 2:
      return ptx::shfl_down(value, operand, mask);
    default:
      return ptx::shfl_xor(value, static_cast<int>(operand), mask);
  }
}

__device__ __forceinline__ std::uint32_t vote(int how, bool mine, unsigned mask) {
  if (how == 0) return ptx::ballot(mine, mask);
  if (how == 1) return ptx::any(mine, mask) ? 1 : 0;
  return ptx::all(mine, mask) ? 1 : 0;
}

// Through shared memory, to lanes that only syncwarp keeps in order.
__device__ __forceinline__ std::uint32_t pass(std::uint32_t value, std::uint32_t from,
                                              unsigned mask) {
  const auto memory = ptx::shared<std::uint32_t>();
  ptx::store(memory + ptx::lane(), value);
  ptx::syncwarp(mask);
  return ptx::load(memory + static_cast<int>(from % 32));
}

__global__ void __launch_bounds__(32) conform(Problem p) {
  Words w(p);
  const unsigned mask = w.in[3];
  if ((mask >> ptx::lane() & 1U) != 0) {
    if (p.which < 4) {
      w.out[0] = shuffle(p.which, w.in[0], w.in[2], mask);
    } else if (p.which < 8) {
      const std::uint64_t value = std::uint64_t{w.in[1]} << 32 | w.in[0];
      const std::uint64_t got = shuffle(p.which - 4, value, w.in[2], mask);
      w.out[0] = static_cast<std::uint32_t>(got);
      w.out[1] = static_cast<std::uint32_t>(got >> 32);
    } else if (p.which < 11) {
      w.out[0] = vote(p.which - 8, (w.in[0] & 1U) != 0, mask);
    } else {
      w.out[0] = pass(w.in[0], w.in[2], mask);
    }
  }
  w.store(p);
}

constexpr cuda::Config kConfig = {32, 128, 1, 2, 1, 4};

int run(const IsaArgs& args, void* stream) {
  return cuda::isa::start(conform, kConfig, args, stream);
}

}  // namespace

SECATEUR_CUDA_KERNEL(IsaArgs, 80,
                     "shfl,shfl_up,shfl_down,shfl_xor,wide_shfl,wide_shfl_up,wide_shfl_down,"
                     "wide_shfl_xor,ballot,any,all,syncwarp",
                     "words", kConfig, cuda::isa::refuses<12>, cuda::isa::no_workspace, run);
