// Tensor cores behind the templates of mma.cuh.
#pragma once

#include "cuda/emu/report.h"
#include "cuda/ptx/types.cuh"

namespace secateur::emu {

enum class Element { f16, bf16, tf32, s8 };

template <class T>
constexpr Element element_of() {
  return std::is_same_v<T, ptx::f16>    ? Element::f16
         : std::is_same_v<T, ptx::bf16> ? Element::bf16
         : std::is_same_v<T, ptx::tf32> ? Element::tf32
                                        : Element::s8;
}

// Registers of the current lane; d: four floats, for s8 four int32.
struct Fragments {
  void* d;
  const std::uint32_t *a, *b;
  std::uint32_t e;
};

void mma(Element element, Fragments mine, const Where& where);
void mma_sp(Element element, int selector, Fragments mine, const Where& where);

}  // namespace secateur::emu
