#include "cuda/emu/matrix.h"

#include <cstring>

#include "cuda/emu/machine.h"

namespace secateur::emu {

namespace {

constexpr int kRows = 8, kRowBytes = 16, kPairBytes = 4;
constexpr const char* kNames[2][3] = {
    {"ldmatrix.x1", "ldmatrix.x2", "ldmatrix.x4"},
    {"ldmatrix.x1.trans", "ldmatrix.x2.trans", "ldmatrix.x4.trans"}};

struct Call {
  std::uint32_t* r;
  std::uint32_t row;
  const std::byte* bytes;  // of the row; null if it could not be read, or is not needed
};

std::uint16_t element(const std::byte* row, int i) {
  std::uint16_t bits = 0xffff;
  if (row != nullptr) std::memcpy(&bits, row + 2 * i, sizeof bits);
  return bits;
}

}  // namespace

void ldmatrix(std::uint32_t* r, std::uint32_t row, int matrices, bool transposed,
              const Where& where) {
  Call mine{r, row, nullptr};
  if (self().lane() < matrices * kRows)
    mine.bytes = self().block->shared.read(row, kRowBytes, where);
  const char* what = kNames[transposed ? 1 : 0][matrices / 2];
  together(what, kFullMask, mine, where, [&](Call** lanes) {
    Counters& count = report().counters;
    ++count.ldmatrix;
    for (int m = 0; m < matrices; ++m) {
      std::uint32_t rows[kRows];
      for (int i = 0; i < kRows; ++i) rows[i] = lanes[m * kRows + i]->row;
      count.ldmatrix_wavefronts += row_wavefronts(rows);
      ++count.ldmatrix_wavefronts_ideal;
      for (int lane = 0; lane < kWarp; ++lane) {
        const int g = lane / 4, t = lane % 4;
        std::uint32_t pair = 0;
        for (int h = 0; h < 2; ++h) {
          const int i = transposed ? 2 * t + h : g, j = transposed ? g : 2 * t + h;
          pair |= std::uint32_t{element(lanes[m * kRows + i]->bytes, j)} << (16 * h);
        }
        lanes[lane]->r[m] = pair;
      }
    }
  });
}

}  // namespace secateur::emu
