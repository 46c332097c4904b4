// The bytes of a packed weight's `index`, as structs. Packing is done elsewhere (python, formats/).
#pragma once

#include <cstddef>
#include <cstdint>

namespace secateur {

constexpr std::uint32_t kMagic = 0x52544353;  // "SCTR"
constexpr std::uint16_t kLayoutVersion = 1;
constexpr std::int64_t kValuePadding = 16;  // spare values: whole vectors are loaded past the last

// 4 is `rows`, which has no kernels.
enum class Format : std::uint8_t { csr = 1, nm = 2, bsr = 3, bitmap = 5, sell = 6 };
enum class Verdict : std::uint8_t { unmeasured = 0, sparse = 1, dense = 2 };

// Offsets are in bytes from the start of `index`; 0 means that the section is absent.
struct Header {
  std::uint32_t magic;
  std::uint16_t version;
  Format format;
  std::uint8_t flags;
  std::uint32_t in_features;
  std::uint32_t out_features;
  std::uint32_t nnz;
  std::uint16_t k_block;
  std::uint16_t row_block;
  std::uint8_t n;
  std::uint8_t m;
  std::uint16_t reserved0;
  std::uint32_t verdicts;
  std::uint32_t machine;
  std::uint32_t table;
  std::uint32_t rows;
  std::uint32_t runs;
  std::uint32_t columns;
  std::uint32_t reserved1;
  std::uint32_t permutation;
  std::uint32_t reserved2;
};
static_assert(sizeof(Header) == 64, "the header is 64 bytes on disk and in memory");
static_assert(offsetof(Header, verdicts) == 28 && offsetof(Header, permutation) == 56);

// One row run: `rows` consecutive (sorted) rows that keep `nnz` weights each in this K block.
struct Run {
  std::uint16_t nnz;
  std::uint16_t rows;
};

// One (row block, K block).
struct Block {
  std::uint32_t first_value;
  std::uint32_t first_run;
  std::uint32_t runs;
  std::uint32_t first_row;
};
static_assert(sizeof(Run) == 4 && sizeof(Block) == 16);

// bsr: one (row block, K block). How many blocks each of its block rows has is in `runs`, 16 bits a
// block row; the first local column of each block is in `columns`. A block is n rows x m columns.
struct BsrCut {
  std::uint32_t first_value;
  std::uint32_t first_block;
};
static_assert(sizeof(BsrCut) == 8);
constexpr int kLargestBlock = 64;  // rows or columns

template <class T>
inline const T* section(const Header& h, std::uint32_t offset) {
  return reinterpret_cast<const T*>(reinterpret_cast<const std::uint8_t*>(&h) + offset);
}

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
inline std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

inline std::int64_t k_blocks(const Header& h) { return ceil_div(h.in_features, h.k_block); }
inline std::int64_t row_blocks(const Header& h) { return ceil_div(h.out_features, h.row_block); }

// Row counts share a verdict by the bit length of (rows - 1): 1, 2, 3-4, 5-8, ... the last is open.
inline int bucket(std::int64_t rows) {
  int bits = 0;
  for (std::int64_t r = rows - 1; r > 0 && bits < 15; r >>= 1) ++bits;
  return bits;
}

inline Verdict verdict(const Header& h, std::int64_t rows) {
  return static_cast<Verdict>((h.verdicts >> (2 * bucket(rows))) & 3U);
}

}  // namespace secateur
