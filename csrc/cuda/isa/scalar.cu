// Conversions and integer instructions: three words in, two out.
#include "cuda/isa/cases.cuh"

namespace {

using namespace secateur;
using cuda::IsaArgs;
using cuda::isa::Problem;
using ptx::bits_as;
using Words = cuda::isa::Words<3, 2>;

template <class T>
__device__ __forceinline__ void convert(int how, Words& w) {
  const auto a = bits_as<float>(w.in[0]), b = bits_as<float>(w.in[1]);
  if (how == 0) {
    w.out[0] = bits_as<std::uint32_t>(ptx::to_float(T{static_cast<std::uint16_t>(w.in[0])}));
  } else if (how == 1) {
    w.out[0] = ptx::from_float<T>(a).bits;
  } else if (how == 2) {
    w.out[0] = ptx::pack_pair<T>(a, b);
  } else {
    const auto pair = ptx::unpack_pair<T>(w.in[0]);
    w.out[0] = bits_as<std::uint32_t>(pair[0]);
    w.out[1] = bits_as<std::uint32_t>(pair[1]);
  }
}

__device__ __forceinline__ std::uint32_t one(int how, const Words& w) {
  switch (how) {
    case 0:
      return ptx::to_tf32(bits_as<float>(w.in[0]));
    case 1:
      return static_cast<std::uint32_t>(ptx::to_s8(bits_as<float>(w.in[0])));
    case 2:
      return static_cast<std::uint32_t>(ptx::popc(w.in[0]));
    case 3:
      return static_cast<std::uint32_t>(ptx::popc(std::uint64_t{w.in[1]} << 32 | w.in[0]));
    case 4:
      return static_cast<std::uint32_t>(ptx::clz(w.in[0]));
    case 5:
      return static_cast<std::uint32_t>(ptx::ffs(w.in[0]));
    default:
      return ptx::byte_perm(w.in[0], w.in[1], w.in[2]);
  }
}

__global__ void __launch_bounds__(32) conform(Problem p) {
  Words w(p);
  if (p.which < 4)
    convert<ptx::f16>(p.which, w);
  else if (p.which < 8)
    convert<ptx::bf16>(p.which - 4, w);
  else
    w.out[0] = one(p.which - 8, w);
  w.store(p);
}

constexpr cuda::Config kConfig = {32, 0, 1, 2, 1, 3};

int run(const IsaArgs& args, void* stream) {
  return cuda::isa::start(conform, kConfig, args, stream);
}

}  // namespace

SECATEUR_CUDA_KERNEL(IsaArgs, 80,
                     "f16_to_float,f16_from_float,f16_pack,f16_unpack,bf16_to_float,"
                     "bf16_from_float,bf16_pack,bf16_unpack,to_tf32,to_s8,popc,popc_wide,clz,ffs,"
                     "byte_perm",
                     "words", kConfig, cuda::isa::refuses<15>, cuda::isa::no_workspace, run);
