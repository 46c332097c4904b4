// What the emulated library has beside cuda/abi.h: options, named buffers, the report.
#include "cuda/abi.h"

#include <string>

#include "cuda/emu/buffers.h"
#include "cuda/emu/machine.h"

namespace emu = secateur::emu;

// Forgets buffers, findings and counts. `seed` 0: threads in order; `resident`: blocks interleaved.
SECATEUR_CUDA_EXPORT void secateur_emu_begin(std::uint64_t seed, int resident) {
  emu::buffers().clear();
  emu::report().clear();
  emu::machine().options = {seed, resident};
}

// How many multiprocessors a kernel sees from now on, until the next begin.
SECATEUR_CUDA_EXPORT void secateur_emu_multiprocessors(int count) {
  emu::machine().options.multiprocessors = count;
}

// The device address of host memory. `use`: 0 read, 1 write, 2 both; `shift`: bytes from a multiple
// of 256 at which it begins; `count`: whether reads of each byte are counted.
SECATEUR_CUDA_EXPORT std::uint64_t secateur_emu_buffer(const char* name, void* bytes,
                                                       std::int64_t size, int use,
                                                       std::int64_t shift, int count) {
  emu::Buffer buffer{name, static_cast<std::byte*>(bytes), size, static_cast<emu::Use>(use), shift,
                     {}};
  if (count != 0) buffer.reads.resize(static_cast<std::size_t>(size));
  return emu::buffers().add(std::move(buffer));
}

// How often each byte was read by a warp instruction; null if not counted. Valid until the next
// begin.
SECATEUR_CUDA_EXPORT const std::uint16_t* secateur_emu_reads(const char* name) {
  for (const emu::Buffer& buffer : emu::buffers().all())
    if (buffer.name == name && !buffer.reads.empty()) return buffer.reads.data();
  return nullptr;
}

// JSON: {"findings": {kind: {"count", "first"}}, "counters": {...}, "buffers": {name: {...}}}.
// Valid until the next call.
SECATEUR_CUDA_EXPORT const char* secateur_emu_report() {
  static std::string text;
  text = "{\"findings\":" + emu::report().findings_json() +
         ",\"counters\":" + emu::report().counters_json() +
         ",\"buffers\":" + emu::buffers().json() + "}";
  return text.c_str();
}
