// What one block writes and another reads. `release`, `fence`: the words of an even case come out
// of the case behind it, behind a flag. `last`: the block that comes last adds up the words of all,
// of each thread, as the first case's; a split sum ends so.
#include "cuda/isa/cases.cuh"

namespace {

using namespace secateur;
using cuda::IsaArgs;
using cuda::isa::Problem;

constexpr int kThreads = 64;
constexpr int kHead = 4;  // words of the workspace before what blocks leave for each other

struct Mail {
  std::uint32_t *flag, *words;  // of the pair of blocks
};

__device__ __forceinline__ Mail mail(const Problem& p) {
  const int pair = static_cast<int>(ptx::block_index().x) / 2;
  std::uint32_t* const words = p.workspace + kHead + p.cases;
  return {p.workspace + kHead + pair, words + pair * kThreads + ptx::thread()};
}

__device__ __forceinline__ void send(const Problem& p, std::uint32_t word, bool release) {
  const Mail to = mail(p);
  ptx::store(to.words, word);
  if (release) {
    ptx::barrier();
    if (ptx::thread() == 0) ptx::store_release(to.flag, 1);
  } else {
    ptx::fence();
    ptx::barrier();
    if (ptx::thread() == 0) ptx::atomic_exch(to.flag, 1);
  }
}

__device__ __forceinline__ std::uint32_t receive(const Problem& p, bool acquire) {
  const Mail from = mail(p);
  if (ptx::thread() == 0) {
    if (acquire) {
      while (ptx::load_acquire(from.flag) == 0) continue;
      ptx::store_release(from.flag, 0);  // as it was, for the next launch
    } else {
      while (ptx::atomic_cas(from.flag, 1, 0) == 0) continue;
      ptx::fence();
    }
  }
  ptx::barrier();
  return ptx::load(from.words);
}

__device__ __forceinline__ void add_up(const Problem& p, std::uint32_t word) {
  const auto flag = ptx::shared<std::uint32_t>();
  std::uint32_t* const words = p.workspace + kHead + p.cases;
  ptx::store(words + cuda::isa::thread_of_all(), word);
  ptx::fence();
  ptx::barrier();
  if (ptx::thread() == 0) {
    const auto last = static_cast<std::uint32_t>(p.cases - 1);
    ptx::store(flag, ptx::atomic_inc(p.workspace, last) == last ? 1U : 0U);
    ptx::fence();
  }
  ptx::barrier();
  if (ptx::load(flag) == 0) return;
  std::uint32_t sum = 0;
  for (int i = 0; i < p.cases; ++i) sum += ptx::load_cg(words + i * kThreads + ptx::thread());
  ptx::store(p.out + ptx::thread(), sum);
}

__global__ void __launch_bounds__(kThreads) conform(Problem p) {
  const std::int64_t me = cuda::isa::thread_of_all();
  const std::uint32_t word = ptx::load(p.in + me);
  if (p.which == 2)
    add_up(p, word);
  else if (ptx::block_index().x % 2 == 0)
    send(p, word, p.which == 0);
  else
    ptx::store(p.out + me, receive(p, p.which == 0));
}

constexpr cuda::Config kConfig = {kThreads, 4, 1, 1, 1, 1};

// A block that waits has to be on the GPU with the one it waits for.
const char* refuses(const IsaArgs& args) {
  if (args.cases > 64 || args.cases % 2 != 0) return "cases: wanted an even number up to 64";
  return cuda::isa::refuses<3>(args);
}

std::int64_t workspace_bytes(const IsaArgs& args) {
  return (kHead + args.cases + args.cases * kThreads) * 4;
}

int run(const IsaArgs& args, void* stream) {
  return cuda::isa::start(conform, kConfig, args, stream);
}

}  // namespace

SECATEUR_CUDA_KERNEL(IsaArgs, 80, "release,fence,last", "words", kConfig, refuses, workspace_bytes,
                     run);
