// Words that both builds of a kernel share: element types, index triples, shared-memory pointers.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if !defined(__CUDACC__)
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#endif

namespace secateur::ptx {

// Element types as bits; arithmetic is done in float, or by mma.
struct f16 {
  std::uint16_t bits;
};
struct bf16 {
  std::uint16_t bits;
};
struct tf32 {
  std::uint32_t bits;  // of a float; the tensor core reads its upper 19
};
using s8 = std::int8_t;

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

// N elements that one instruction moves.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  T v[N];
  __host__ __device__ T& operator[](int i) { return v[i]; }
  __host__ __device__ const T& operator[](int i) const { return v[i]; }
};

// Where in shared memory: an address of the shared window. It cannot be dereferenced, so that every
// access goes through load() and store(), where the emulator sees it. Arithmetic is in elements.
template <class T>
struct Shared {
  std::uint32_t address;  // bytes

  __host__ __device__ Shared operator+(int n) const {
    return {address + static_cast<std::uint32_t>(n * static_cast<int>(sizeof(T)))};
  }
  template <class U>
  __host__ __device__ Shared<U> as() const {
    return {address};
  }
};

// Which cache a cp.async goes through: `all` levels, or the `global` one (L2) alone, 16 bytes only.
enum class Cache { all, global };

constexpr unsigned kFullMask = 0xffffffffU;

template <class To, class From>
__host__ __device__ __forceinline__ To bits_as(const From& from) {
  static_assert(sizeof(To) == sizeof(From) && std::is_trivially_copyable_v<From>,
                "bits are read as another type of the same size");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

}  // namespace secateur::ptx
