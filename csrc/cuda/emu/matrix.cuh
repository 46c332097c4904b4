// Model of ptx/matrix.cuh.
#pragma once

#include "cuda/emu/matrix.h"

namespace secateur::ptx {

template <int N, class T>
void ldmatrix(std::uint32_t (&r)[N], Shared<T> row,
              const emu::Where& where = emu::Where::current()) {
  static_assert(N == 1 || N == 2 || N == 4, "ldmatrix loads 1, 2 or 4 matrices");
  emu::ldmatrix(r, row.address, N, false, where);
}
template <int N, class T>
void ldmatrix_trans(std::uint32_t (&r)[N], Shared<T> row,
                    const emu::Where& where = emu::Where::current()) {
  static_assert(N == 1 || N == 2 || N == 4, "ldmatrix loads 1, 2 or 4 matrices");
  emu::ldmatrix(r, row.address, N, true, where);
}

}  // namespace secateur::ptx
