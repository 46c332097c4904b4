// The layouts are those that ptx/mma.cuh states; sums are taken in double and rounded once.
#include "cuda/emu/mma.h"

#include <string>

#include "cuda/emu/convert.cuh"
#include "cuda/emu/machine.h"

namespace secateur::emu {

namespace {

constexpr int kM = 16, kN = 8, kMostKept = 32, kMostK = 64;

constexpr const char* kDense[] = {"mma.m16n8k16.f16", "mma.m16n8k16.bf16", "mma.m16n8k8.tf32",
                                  "mma.m16n8k32.s8"};
constexpr const char* kSparse[] = {"mma.sp.m16n8k32.f16", "mma.sp.m16n8k32.bf16",
                                   "mma.sp.m16n8k16.tf32", "mma.sp.m16n8k64.s8"};

// Elements of a register.
int width(Element e) { return e == Element::tf32 ? 1 : e == Element::s8 ? 4 : 2; }

double value(Element e, std::uint32_t word, int i) {
  switch (e) {
    case Element::f16:
      return ptx::to_float(ptx::f16{static_cast<std::uint16_t>(word >> (16 * i))});
    case Element::bf16:
      return ptx::to_float(ptx::bf16{static_cast<std::uint16_t>(word >> (16 * i))});
    case Element::tf32:
      return ptx::bits_as<float>(word & 0xffffe000U);
    case Element::s8:
      return static_cast<std::int8_t>(word >> (8 * i));
  }
  return 0;
}

struct Tile {
  double a[kM][kMostKept];
  int k_of[kM][kMostKept];  // where a kept element of a stands
  double b[kMostK][kN];
};

void read_a(Element e, Fragments* const* lanes, Tile& tile) {
  const int w = width(e);
  for (int lane = 0; lane < kWarp; ++lane)
    for (int r = 0; r < 4; ++r)
      for (int i = 0; i < w; ++i) {
        const int row = lane / 4 + 8 * (r % 2), column = w * (lane % 4) + i + 4 * w * (r / 2);
        tile.a[row][column] = value(e, lanes[lane]->a[r], i);
        tile.k_of[row][column] = column;
      }
}

void read_b(Element e, int registers, Fragments* const* lanes, Tile& tile) {
  const int w = width(e);
  for (int lane = 0; lane < kWarp; ++lane)
    for (int r = 0; r < registers; ++r)
      for (int i = 0; i < w; ++i)
        tile.b[4 * w * r + w * (lane % 4) + i][lane / 4] = value(e, lanes[lane]->b[r], i);
}

unsigned nibble(Element e, int selector, Fragments* const* lanes, int row, int chunk) {
  const int g = row % 8, half = row / 8;
  if (e == Element::s8) return lanes[4 * g + half + 2 * (chunk / 8)]->e >> (4 * (chunk % 8)) & 15U;
  return lanes[4 * g + 2 * selector + chunk / 4]->e >> (16 * half + 4 * (chunk % 4)) & 15U;
}

void bad_nibble(unsigned bits, int row, int chunk, const char* wanted, const Where& where) {
  if (!report().wants("metadata")) return;
  report().add("metadata", where,
               here() + "multiplies with metadata " + std::to_string(bits) + " in row " +
                   std::to_string(row) + ", chunk " + std::to_string(chunk) +
                   " of the tile; legal are " + wanted);
}

void place_kept(Element e, int selector, Fragments* const* lanes, Tile& tile, const Where& where) {
  const bool pairs = e == Element::tf32;  // one of two is kept, not two of four
  const int chunks = pairs ? 8 : 4 * width(e);
  for (int row = 0; row < kM; ++row)
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const unsigned bits = nibble(e, selector, lanes, row, chunk);
      const int first = static_cast<int>(bits & 3U), second = static_cast<int>(bits >> 2);
      if (pairs) {
        if (bits != 0x4 && bits != 0xe) bad_nibble(bits, row, chunk, "4 and 14", where);
        tile.k_of[row][chunk] = 2 * chunk + first / 2;
      } else {
        if (first >= second) bad_nibble(bits, row, chunk, "4, 8, 9, 12, 13, 14", where);
        tile.k_of[row][2 * chunk] = 4 * chunk + first;
        tile.k_of[row][2 * chunk + 1] = 4 * chunk + second;
      }
    }
}

void multiply(Element e, Fragments* const* lanes, const Tile& tile) {
  const int kept = 8 * width(e);
  for (int row = 0; row < kM; ++row) {
    double sums[kN] = {};
    for (int c = 0; c < kept; ++c)
      for (int n = 0; n < kN; ++n) sums[n] += tile.a[row][c] * tile.b[tile.k_of[row][c]][n];
    for (int n = 0; n < kN; ++n) {
      void* registers = lanes[4 * (row % 8) + n / 2]->d;
      const int r = 2 * (row / 8) + n % 2;
      if (e == Element::s8) {
        auto& d = static_cast<std::int32_t*>(registers)[r];
        d = static_cast<std::int32_t>(
            static_cast<std::uint32_t>(d) +
            static_cast<std::uint32_t>(static_cast<std::int64_t>(sums[n])));
      } else {
        auto& d = static_cast<float*>(registers)[r];
        d = static_cast<float>(d + sums[n]);
      }
    }
  }
}

}  // namespace

void mma(Element element, Fragments mine, const Where& where) {
  together(kDense[static_cast<int>(element)], kFullMask, mine, where, [&](Fragments** lanes) {
    ++report().counters.mma;
    Tile tile;
    read_a(element, lanes, tile);
    read_b(element, 2, lanes, tile);
    multiply(element, lanes, tile);
  });
}

void mma_sp(Element element, int selector, Fragments mine, const Where& where) {
  together(kSparse[static_cast<int>(element)], kFullMask, mine, where, [&](Fragments** lanes) {
    ++report().counters.mma_sp;
    Tile tile;
    read_a(element, lanes, tile);
    read_b(element, 4, lanes, tile);
    place_kept(element, selector, lanes, tile, where);
    multiply(element, lanes, tile);
  });
}

}  // namespace secateur::emu
