// Atomics of all threads of a case on one cell: the second word of its first thread's `out`, which
// the caller fills. A thread is given two operands, and gives back what was there before. grid_:
// all cases meet at the cell of the first one.
#include "cuda/isa/cases.cuh"

namespace {

using namespace secateur;
using cuda::IsaArgs;
using cuda::isa::Problem;
using ptx::bits_as;
using ptx::Shared;

constexpr int kThreads = 64, kIn = 2, kOut = 2;

template <class T, class Cell>
__device__ __forceinline__ std::uint32_t add(Cell cell, std::uint32_t operand) {
  return bits_as<std::uint32_t>(ptx::atomic_add(cell, bits_as<T>(operand)));
}

__device__ __forceinline__ std::uint32_t on_global(int which, std::uint32_t* cell, std::uint32_t a,
                                                   std::uint32_t b) {
  switch (which) {
    case 0:
      return add<float>(reinterpret_cast<float*>(cell), a);
    case 1:
      return add<std::int32_t>(reinterpret_cast<std::int32_t*>(cell), a);
    case 2:
      return add<std::uint32_t>(cell, a);
    case 3:
      return ptx::atomic_or(cell, a);
    case 4:
      return ptx::atomic_exch(cell, a);
    case 5:
      return ptx::atomic_inc(cell, a);
    default:
      return ptx::atomic_cas(cell, a, b);
  }
}

__device__ __forceinline__ std::uint32_t on_shared(int which, Shared<std::uint32_t> cell,
                                                   std::uint32_t a) {
  switch (which) {
    case 0:
      return add<float>(cell.as<float>(), a);
    case 1:
      return add<std::int32_t>(cell.as<std::int32_t>(), a);
    case 2:
      return add<std::uint32_t>(cell, a);
    default:
      return ptx::atomic_or(cell, a);
  }
}

__global__ void __launch_bounds__(kThreads) conform(Problem p) {
  const std::int64_t me = cuda::isa::thread_of_all();
  const std::uint32_t a = ptx::load(p.in + me * kIn), b = ptx::load(p.in + me * kIn + 1);
  std::uint32_t* const cell = p.out + std::int64_t{ptx::block_index().x} * kThreads * kOut + 1;
  std::uint32_t old = 0;
  if (p.which < 7) {
    old = on_global(p.which, cell, a, b);
  } else if (p.which < 11) {
    const auto memory = ptx::shared<std::uint32_t>();
    if (ptx::thread() == 0) ptx::store(memory, ptx::load(cell));
    ptx::barrier();
    old = on_shared(p.which - 7, memory, a);
    ptx::barrier();
    if (ptx::thread() == 0) ptx::store(cell, ptx::load(memory));
  } else {
    old = on_global(p.which == 11 ? 2 : 5, p.out + 1, a, b);
  }
  ptx::store(p.out + me * kOut, old);
}

constexpr cuda::Config kConfig = {kThreads, 4, 1, kOut, 1, kIn};

int run(const IsaArgs& args, void* stream) {
  return cuda::isa::start(conform, kConfig, args, stream);
}

}  // namespace

SECATEUR_CUDA_KERNEL(IsaArgs, 80,
                     "add_f32,add_s32,add_u32,or,exch,inc,cas,shared_add_f32,shared_add_s32,"
                     "shared_add_u32,shared_or,grid_add_u32,grid_inc",
                     "words", kConfig, cuda::isa::refuses<13>, cuda::isa::no_workspace, run);
