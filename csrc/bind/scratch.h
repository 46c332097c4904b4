// One growing buffer a thread, so that a call allocates nothing but its output.
#pragma once

#include <atomic>
#include <cstdint>

namespace secateur::bind {

// 64-byte aligned, valid until this thread asks again; null if there is no memory.
float* thread_scratch(std::int64_t floats);

// Set by a worker that got null: exceptions must not leave a parallel region.
std::atomic<bool>& scratch_failed();

}  // namespace secateur::bind
