// Loads and stores of every width, and cp.async. A thread is given 12 words and leaves 12: bytes
// 0-15 moved at once, 16-23 at once, 24-27, 28-29 and 30; the rest of its `out` it does not touch.
// Copies move bytes 0-15, of which word 8 says how many are there.
#include "cuda/isa/cases.cuh"

namespace {

using namespace secateur;
using cuda::IsaArgs;
using cuda::isa::Problem;
using ptx::Shared;

constexpr int kThreads = 32, kWords = 12, kPlaces = 32;  // bytes 0-31 are moved, or left
constexpr std::uint32_t kBefore = 0xabababab;            // what a copy finds

using Bytes = std::uint8_t;

template <class T, class Move>
__device__ __forceinline__ void part(const Bytes* in, Bytes* out, int at, Move move) {
  move(reinterpret_cast<const T*>(in + at), reinterpret_cast<T*>(out + at), at);
}
template <class Move>
__device__ __forceinline__ void every_width(const Bytes* in, Bytes* out, Move move) {
  part<ptx::Vec<std::uint32_t, 4>>(in, out, 0, move);
  part<ptx::Vec<std::uint32_t, 2>>(in, out, 16, move);
  part<std::uint32_t>(in, out, 24, move);
  part<std::uint16_t>(in, out, 28, move);
  part<std::uint8_t>(in, out, 30, move);
}

__device__ __forceinline__ void through_shared(const Bytes* in, Bytes* out) {
  const auto mine = ptx::shared<Bytes>() + ptx::thread() * kPlaces;
  every_width(in, out, [&](auto* from, auto* to, int at) {
    using T = std::remove_pointer_t<decltype(to)>;
    const auto place = (mine + at).template as<T>();
    ptx::store(place, ptx::load(from));
    ptx::store(to, ptx::load(place));
  });
}

template <class Copy>
__device__ __forceinline__ void copied(const Bytes* in, Bytes* out, Copy copy) {
  using Chunk = ptx::Vec<std::uint32_t, 4>;
  const auto mine = ptx::shared<Bytes>() + ptx::thread() * kPlaces;
  ptx::store(mine.as<Chunk>(), Chunk{{kBefore, kBefore, kBefore, kBefore}});
  copy(mine, in, static_cast<int>(ptx::load(reinterpret_cast<const std::uint32_t*>(in) + 8)));
  ptx::store(reinterpret_cast<Chunk*>(out), ptx::load(mine.as<Chunk>()));
}

__device__ __forceinline__ void moves(int which, const Bytes* in, Bytes* out) {
  switch (which) {
    case 0:
      return every_width(in, out,
                         [](auto* from, auto* to, int) { ptx::store(to, ptx::load(from)); });
    case 1:
      return every_width(in, out,
                         [](auto* from, auto* to, int) { ptx::store(to, ptx::load_nc(from)); });
    case 2:
      return every_width(in, out,
                         [](auto* from, auto* to, int) { ptx::store(to, ptx::load_once(from)); });
    case 3:
      return every_width(in, out,
                         [](auto* from, auto* to, int) { ptx::store(to, ptx::load_cg(from)); });
    case 4:
      return every_width(in, out,
                         [](auto* from, auto* to, int) { ptx::store_once(to, ptx::load(from)); });
    case 5:
      return through_shared(in, out);
    default:
      ptx::prefetch(in);
      const auto* from = reinterpret_cast<const std::uint32_t*>(in);
      ptx::store_release(reinterpret_cast<std::uint32_t*>(out), ptx::load_acquire(from));
  }
}

__device__ __forceinline__ void copies(int which, const Bytes* in, Bytes* out) {
  switch (which) {
    case 0:
      return copied(in, out, [](auto to, auto* from, int bytes) {
        ptx::cp_async<16>(to, from, bytes);
        ptx::cp_async_commit();
        ptx::cp_async_wait<0>();
      });
    case 1:
      return copied(in, out, [](auto to, auto* from, int bytes) {
        ptx::cp_async<16, ptx::Cache::all>(to, from, bytes);
        ptx::cp_async_wait_all();
      });
    case 2:
      return copied(in, out, [](auto to, auto* from, int bytes) {
        ptx::cp_async<8>(to, from, bytes);
        ptx::cp_async_wait_all();
      });
    case 3:
      return copied(in, out, [](auto to, auto* from, int bytes) {
        ptx::cp_async<4>(to, from, bytes);
        ptx::cp_async_wait_all();
      });
    default:  // the older of two groups is waited for; the newer one goes elsewhere
      return copied(in, out, [](auto to, auto* from, int bytes) {
        ptx::cp_async<16>(to, from, bytes);
        ptx::cp_async_commit();
        ptx::cp_async<16>(to + 16, from);
        ptx::cp_async_commit();
        ptx::cp_async_wait<1>();
      });
  }
}

__global__ void __launch_bounds__(kThreads) conform(Problem p) {
  const std::int64_t first = cuda::isa::thread_of_all() * kWords;
  const auto* in = reinterpret_cast<const Bytes*>(p.in + first);
  auto* out = reinterpret_cast<Bytes*>(p.out + first);
  if (p.which < 7)
    moves(p.which, in, out);
  else
    copies(p.which - 7, in, out);
  ptx::cp_async_wait_all();
}

constexpr cuda::Config kConfig = {kThreads, kThreads * kPlaces, 1, kWords, 1, kWords};

int run(const IsaArgs& args, void* stream) {
  return cuda::isa::start(conform, kConfig, args, stream);
}

}  // namespace

SECATEUR_CUDA_KERNEL(IsaArgs, 80,
                     "load,load_nc,load_once,load_cg,store_once,shared,acquire_release,"
                     "copy_16_cg,copy_16_ca,copy_8,copy_4,copy_groups",
                     "words", kConfig, cuda::isa::refuses<12>, cuda::isa::no_workspace, run);
