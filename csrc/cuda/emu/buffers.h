// Global memory: buffers that the driver names, at addresses that only the emulator can follow. A
// kernel that dereferences such a pointer itself dies, and one that leaves its buffer is found out,
// however near the next one lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda/emu/report.h"

namespace secateur::emu {

enum class Use : int { read, write, both };

struct Buffer {
  std::string name;
  std::byte* bytes;
  std::int64_t size;
  Use use;
  std::int64_t shift;                // of its address from a multiple of 256
  std::vector<std::uint16_t> reads;  // of each byte, by warp instructions; empty if not counted
  std::int64_t read_bytes = 0, written_bytes = 0;      // distinct ones of each warp instruction
  std::int64_t read_sectors = 0, written_sectors = 0;  // of 32 bytes
};

class Buffers {
 public:
  // The address to give to a kernel.
  std::uint64_t add(Buffer buffer);
  void clear() { all_.clear(); }
  // The buffer of an address and the offset in it; null if it is no address of ours.
  Buffer* find(std::uint64_t address, std::int64_t& offset);
  // The bytes behind an address; null, and a report, if they may not be used so.
  std::byte* access(std::uint64_t address, int bytes, Use use, const Where& where);
  std::string json() const;
  const std::vector<Buffer>& all() const { return all_; }

 private:
  std::vector<Buffer> all_;
};

extern Buffers the_buffers;
inline Buffers& buffers() { return the_buffers; }

inline std::uint64_t address_of(const void* pointer) {
  return reinterpret_cast<std::uint64_t>(pointer);
}

}  // namespace secateur::emu
