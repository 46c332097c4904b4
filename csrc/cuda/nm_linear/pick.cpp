#include "cuda/nm_linear/pick.h"

#include <algorithm>
#include <cstring>

#include "cuda/kernel.h"
#include "cuda/nm_linear/nm_linear.h"

namespace {

using secateur::Type;
using secateur::cuda::Config;
using secateur::cuda::Kernel;
using secateur::cuda::NmLinearArgs;

// What a multiprocessor does in a clock, from data sheets: multiply-adds of 16-bit mma.sp, zeros
// counted (twice as many of int8), and KiB of shared memory. sm_90 and up are asked for mma.sp,
// which is not their full rate.
struct Chip {
  int sm;
  double macs;
  int shared_kib;
};
constexpr Chip kChips[] = {{80, 2048, 164}, {86, 1024, 100},  {89, 1024, 100},
                           {90, 2048, 228}, {100, 2048, 228}, {120, 1024, 100}};

constexpr double kBytesOfClock = 48;  // from L2 to a multiprocessor, all running
constexpr double kLatency = 700;      // clocks until a copy from L2 or memory has come
constexpr double kStart = 1500;       // clocks of a block before and behind its steps
constexpr double kMeet = 3000;        // clocks until parts have been told that all are there
constexpr int kParts[] = {1, 2, 3, 4, 6, 8, 12, 16};

double ceil_div(double a, double b) {
  return static_cast<double>((static_cast<std::int64_t>(a) + static_cast<std::int64_t>(b) - 1) /
                             static_cast<std::int64_t>(b));
}

const Chip& chip(int sm) {
  const Chip* best = &kChips[0];
  for (const Chip& known : kChips)
    if (known.sm <= sm) best = &known;
  return *best;
}

// Clocks of a step, if nothing waits: multiplying, or copying its operands (9/16 of the weight).
double step_clocks(const Config& c, const Chip& gpu, double bytes) {
  const double macs = gpu.macs * 2 / bytes;
  const double multiply = double(c.tile_out) * c.tile_rows * c.tile_in / macs;
  const double copy = c.tile_in * bytes * (c.tile_out * 0.5625 + c.tile_rows) / kBytesOfClock;
  return std::max(multiply, copy);
}

double clocks(const Kernel& kernel, const NmLinearArgs& args, const Chip& gpu, int sms) {
  const Config& c = kernel.config;
  const double bytes = static_cast<Type>(args.type) == Type::i8 ? 1 : 2;
  const double tiles =
      ceil_div(double(args.out_features), c.tile_out) * ceil_div(double(args.rows), c.tile_rows);
  const double parts = args.split, blocks = tiles * parts;
  const double steps = ceil_div(ceil_div(double(args.padded_in), c.tile_in), parts);
  const double resident = std::max(1, gpu.shared_kib * 1024 / (c.shared_bytes + 1024));
  const double busy = ceil_div(blocks, sms) * steps * step_clocks(c, gpu, bytes);
  const double waits = ceil_div(blocks, sms * resident) * steps * kLatency / (c.stages - 1);
  const double merge =
      parts == 1 ? 0 : kMeet + parts * c.tile_out * c.tile_rows * 4 / kBytesOfClock;
  return std::max(busy, waits) + ceil_div(blocks, sms * resident) * kStart + merge;
}

bool tiled(const Kernel& kernel, const char* layout, int sm) {
  constexpr char kPrefix[] = "nm_linear_sm";
  return std::strncmp(kernel.name, kPrefix, sizeof kPrefix - 1) == 0 &&
         std::strcmp(kernel.layout, layout) == 0 && kernel.min_sm <= sm;
}

}  // namespace

const char* secateur_cuda_nm_linear_pick(const void* args, std::int64_t args_bytes,
                                         const char* layout, int sm, int multiprocessors,
                                         int* split) {
  *split = 1;
  if (args_bytes != sizeof(NmLinearArgs)) return "";
  auto problem = *static_cast<const NmLinearArgs*>(args);
  const Kernel* best = nullptr;
  double least = 0;
  for (const Kernel* kernel : secateur::cuda::kernels()) {
    if (!tiled(*kernel, layout, sm)) continue;
    for (const int parts : kParts) {
      problem.split = parts;
      if (kernel->refuses(&problem) != nullptr) continue;
      const double needed = clocks(*kernel, problem, chip(sm), std::max(1, multiprocessors));
      if (best != nullptr && needed >= least) continue;
      best = kernel;
      least = needed;
      *split = parts;
    }
  }
  return best != nullptr ? best->name : "";
}
