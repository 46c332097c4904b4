#include "bind/scratch.h"

#include <cstdlib>
#include <memory>

namespace secateur::bind {
namespace {

struct Free {
  void operator()(float* p) const { std::free(p); }
};

struct Buffer {
  std::unique_ptr<float, Free> floats;
  std::int64_t count = 0;
};

}  // namespace

float* thread_scratch(std::int64_t floats) {
  thread_local Buffer buffer;
  if (floats > buffer.count) {
    buffer.floats.reset();
    const std::size_t bytes =
        (static_cast<std::size_t>(floats) * sizeof(float) + 4095) / 4096 * 4096;
    buffer.floats.reset(static_cast<float*>(std::aligned_alloc(4096, bytes)));
    buffer.count = buffer.floats ? floats : 0;
  }
  return buffer.floats.get();
}

std::atomic<bool>& scratch_failed() {
  static std::atomic<bool> failed{false};
  return failed;
}

}  // namespace secateur::bind
