// ldmatrix: 8 x 8 matrices of 16-bit elements from shared memory into mma fragments.
#pragma once

#include "cuda/ptx/types.cuh"

namespace secateur::ptx {

// Loads N = 1, 2 or 4 matrices. Lane 8 i + j points to row j of matrix i: 16 bytes, aligned. Lane
// 4 g + t gets elements 2 t and 2 t + 1 of row g of each; transposed, of column g.
#define SECATEUR_LDMATRIX(name, trans)                                                         \
  template <int N, class T>                                                                    \
  __device__ __forceinline__ void name(std::uint32_t (&r)[N], Shared<T> row) {                 \
    static_assert(N == 1 || N == 2 || N == 4, "ldmatrix loads 1, 2 or 4 matrices");            \
    if constexpr (N == 1)                                                                      \
      asm volatile("ldmatrix.sync.aligned.m8n8.x1" trans ".shared.b16 {%0}, [%1];"             \
                   : "=r"(r[0])                                                                \
                   : "r"(row.address)                                                          \
                   : "memory");                                                                \
    else if constexpr (N == 2)                                                                 \
      asm volatile("ldmatrix.sync.aligned.m8n8.x2" trans ".shared.b16 {%0, %1}, [%2];"         \
                   : "=r"(r[0]), "=r"(r[1])                                                    \
                   : "r"(row.address)                                                          \
                   : "memory");                                                                \
    else                                                                                       \
      asm volatile("ldmatrix.sync.aligned.m8n8.x4" trans ".shared.b16 {%0, %1, %2, %3}, [%4];" \
                   : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])                            \
                   : "r"(row.address)                                                          \
                   : "memory");                                                                \
  }
SECATEUR_LDMATRIX(ldmatrix, "")
SECATEUR_LDMATRIX(ldmatrix_trans, ".trans")
#undef SECATEUR_LDMATRIX

}  // namespace secateur::ptx
