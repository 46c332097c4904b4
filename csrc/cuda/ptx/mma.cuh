// Tensor cores: d += a b on fragments of a warp. Dense, and with a's 2:4 sparsity in metadata `e`.
//
// Fragments, with lane = 4 g + t (PTX ISA, "Matrix fragments for mma"):
//   d  16 x 8    d[0], d[1]: row g, columns 2t, 2t+1;  d[2], d[3]: row g+8
//   a  16 x 8w   w elements a register (f16, bf16: 2; tf32: 1; s8: 4): a[0] row g, columns wt ..,
//                a[1] row g+8;  a[2], a[3]: the same, columns 4w further. Sparse: of the kept ones.
//   b  k x 8     b[i]: rows 4wi + wt .., column g; 2 registers dense, 4 sparse
//   e  f16, bf16, tf32: lanes t = 2s and 2s+1 of selector s hold columns 0.. and the second half:
//      bits 0-15 row g, bits 16-31 row g+8, a nibble for each chunk of 4 columns (tf32: 2).
//      s8: selector 0; lane t holds row g + 8 (t%2), columns 32 (t/2) .., a nibble for 4 columns.
//      A nibble is i0 + 4 i1 with i0 < i1 < 4, where the kept two are; tf32: 0x4 first, 0xe second.
#pragma once

#include "cuda/ptx/types.cuh"

namespace secateur::ptx {

#define SECATEUR_MMA(T, D, constraint, shape, types)                                      \
  __device__ __forceinline__ void mma_of(T, D(&d)[4], const std::uint32_t (&a)[4],        \
                                         const std::uint32_t (&b)[2]) {                   \
    asm volatile("mma.sync.aligned." shape ".row.col." types                              \
                 " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"       \
                 : constraint(d[0]), constraint(d[1]), constraint(d[2]), constraint(d[3]) \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));     \
  }
SECATEUR_MMA(f16, float, "+f", "m16n8k16", "f32.f16.f16.f32")
SECATEUR_MMA(bf16, float, "+f", "m16n8k16", "f32.bf16.bf16.f32")
SECATEUR_MMA(tf32, float, "+f", "m16n8k8", "f32.tf32.tf32.f32")
SECATEUR_MMA(s8, std::int32_t, "+r", "m16n8k32", "s32.s8.s8.s32")
#undef SECATEUR_MMA

#define SECATEUR_MMA_SP(T, D, constraint, shape, types)                                         \
  template <int kSelector>                                                                      \
  __device__ __forceinline__ void mma_sp_of(T, D(&d)[4], const std::uint32_t (&a)[4],           \
                                            const std::uint32_t (&b)[4], std::uint32_t e) {     \
    asm volatile("mma.sp::ordered_metadata.sync.aligned." shape ".row.col." types               \
                 " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9, %10, %11}, {%0, %1, %2, %3},"   \
                 " %12, %13;"                                                                   \
                 : constraint(d[0]), constraint(d[1]), constraint(d[2]), constraint(d[3])       \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), \
                   "r"(b[3]), "r"(e), "n"(kSelector));                                          \
  }
SECATEUR_MMA_SP(f16, float, "+f", "m16n8k32", "f32.f16.f16.f32")
SECATEUR_MMA_SP(bf16, float, "+f", "m16n8k32", "f32.bf16.bf16.f32")
SECATEUR_MMA_SP(tf32, float, "+f", "m16n8k16", "f32.tf32.tf32.f32")
SECATEUR_MMA_SP(s8, std::int32_t, "+r", "m16n8k64", "s32.s8.s8.s32")
#undef SECATEUR_MMA_SP

// D is float, for s8 std::int32_t.
template <class T, class D>
__device__ __forceinline__ void mma(D (&d)[4], const std::uint32_t (&a)[4],
                                    const std::uint32_t (&b)[2]) {
  mma_of(T{}, d, a, b);
}

template <class T, int kSelector, class D>
__device__ __forceinline__ void mma_sp(D (&d)[4], const std::uint32_t (&a)[4],
                                       const std::uint32_t (&b)[4], std::uint32_t e) {
  static_assert(kSelector == 0 || (kSelector == 1 && !std::is_same_v<T, s8>),
                "two selectors share a metadata register; s8 has one");
  mma_sp_of<kSelector>(T{}, d, a, b, e);
}

}  // namespace secateur::ptx
