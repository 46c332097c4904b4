// Model of ptx/mma.cuh.
#pragma once

#include "cuda/emu/mma.h"

namespace secateur::ptx {

template <class T, class D>
constexpr void check_accumulator() {
  static_assert(std::is_same_v<D, std::conditional_t<std::is_same_v<T, s8>, std::int32_t, float>>,
                "mma sums s8 in int32 and the rest in float");
}

template <class T, class D>
void mma(D (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
         const emu::Where& where = emu::Where::current()) {
  check_accumulator<T, D>();
  emu::mma(emu::element_of<T>(), {d, a, b, 0}, where);
}

template <class T, int kSelector, class D>
void mma_sp(D (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[4], std::uint32_t e,
            const emu::Where& where = emu::Where::current()) {
  static_assert(kSelector == 0 || (kSelector == 1 && !std::is_same_v<T, s8>),
                "two selectors share a metadata register; s8 has one");
  check_accumulator<T, D>();
  emu::mma_sp(emu::element_of<T>(), kSelector, {d, a, b, e}, where);
}

}  // namespace secateur::ptx
