// A kernel on all threads, each with its scratch.
#pragma once

#include <torch/csrc/stable/ops.h>

#include "bind/scratch.h"
#include "bind/split.h"
#include "cpu/isa.h"

namespace secateur::bind {

// `args` are of the kernel's own type; `floats` of scratch go to every thread. `Pieces` is a Split,
// or shares out as one does.
template <class Pieces>
void run(const Kernel& kernel, const void* args, const Pieces& split, std::int64_t floats) {
  auto work = [&](std::int64_t begin, std::int64_t end) {
    float* scratch = thread_scratch(floats);  // null: no memory; a throw must not leave a worker
    for (std::int64_t i = begin; i < end && scratch != nullptr; ++i)
      kernel.run(args, split[i], scratch);
    if (scratch == nullptr) scratch_failed() = true;
  };
  if (split.parts == 1)
    work(0, 1);
  else
    torch::stable::parallel_for(0, split.parts, 1, work);
  STD_TORCH_CHECK(!scratch_failed().exchange(false), kernel.name, ": no memory for ", floats * 4,
                  " bytes of scratch");
}

}  // namespace secateur::bind
