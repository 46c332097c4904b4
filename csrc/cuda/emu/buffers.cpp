#include "cuda/emu/buffers.h"

#include <utility>

#include "cuda/emu/machine.h"

namespace secateur::emu {

namespace {
// No processor has memory there: bit 62 alone of the upper two is not a canonical address.
constexpr std::uint64_t kTag = std::uint64_t{1} << 62;
constexpr int kOffsetBits = 48;
constexpr std::int64_t kMiddle = std::int64_t{1} << 44;  // offsets before the buffer stay its own
}  // namespace

Buffers the_buffers;

std::uint64_t Buffers::add(Buffer buffer) {
  const std::uint64_t number = all_.size();
  const std::int64_t start = kMiddle + buffer.shift;
  all_.push_back(std::move(buffer));
  return kTag | (number << kOffsetBits) | static_cast<std::uint64_t>(start);
}

Buffer* Buffers::find(std::uint64_t address, std::int64_t& offset) {
  if ((address & (std::uint64_t{3} << 62)) != kTag) return nullptr;
  const std::uint64_t number = (address & ~kTag) >> kOffsetBits;
  if (number >= all_.size()) return nullptr;
  Buffer& buffer = all_[number];
  const auto low = address & ((std::uint64_t{1} << kOffsetBits) - 1);
  offset = static_cast<std::int64_t>(low) - kMiddle - buffer.shift;
  return &buffer;
}

std::byte* Buffers::access(std::uint64_t address, int bytes, Use use, const Where& where) {
  std::int64_t offset = 0;
  Buffer* buffer = find(address, offset);
  const char* verb = use == Use::read ? "reads " : use == Use::write ? "writes " : "updates ";
  const auto what = [&] { return here() + verb + std::to_string(bytes) + " bytes "; };
  if (buffer == nullptr) {
    report().add("out_of_bounds", where, what() + "at no device address: null, or of the host");
    return nullptr;
  }
  if (address % static_cast<std::uint64_t>(bytes) != 0) {
    report().add("misaligned", where,
                 what() + "at byte " + std::to_string(offset) + " of " + buffer->name +
                     ", not a multiple of its size");
    return nullptr;
  }
  if (offset < 0 || offset + bytes > buffer->size) {
    report().add("out_of_bounds", where,
                 what() + "at byte " + std::to_string(offset) + " of " + buffer->name + ", of " +
                     std::to_string(buffer->size));
    return nullptr;
  }
  if (use != Use::read && buffer->use == Use::read) {
    report().add("read_only", where, what() + "of " + buffer->name + ", an input");
    return nullptr;
  }
  return buffer->bytes + offset;
}

std::string Buffers::json() const {
  std::string out;
  for (const Buffer& b : all_)
    out += (out.empty() ? "" : ",") + quoted(b.name) + ":{\"bytes\":" + std::to_string(b.size) +
           ",\"read_bytes\":" + std::to_string(b.read_bytes) +
           ",\"written_bytes\":" + std::to_string(b.written_bytes) +
           ",\"read_sectors\":" + std::to_string(b.read_sectors) +
           ",\"written_sectors\":" + std::to_string(b.written_sectors) + "}";
  return "{" + out + "}";
}

}  // namespace secateur::emu
