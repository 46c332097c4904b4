#include "cuda/abi.h"

#include <cstring>
#include <string>

#include "cuda/kernel.h"

namespace {
// Made by CMake: KERNEL(<op>_<file>), one a file.
#define KERNEL(name)                        \
  }                                         \
  extern const secateur::cuda::Kernel name; \
  namespace {
#include "cuda_kernels.inc"
#undef KERNEL

constexpr const secateur::cuda::Kernel* kAll[] = {
#define KERNEL(name) &name,
#include "cuda_kernels.inc"
#undef KERNEL
};
}  // namespace

namespace secateur::cuda {

KernelTable kernels() { return {kAll, static_cast<int>(sizeof kAll / sizeof kAll[0])}; }

const Kernel* find(const char* name) {
  for (const Kernel* kernel : kernels())
    if (std::strcmp(kernel->name, name) == 0) return kernel;
  return nullptr;
}

}  // namespace secateur::cuda

using secateur::cuda::Kernel;

const char* secateur_cuda_kernels() {
  static const std::string lines = [] {
    std::string all;
    for (const Kernel* k : secateur::cuda::kernels()) {
      all += std::string(k->op) + " " + k->name + " " + std::to_string(k->min_sm) + " " + k->types +
             " " + k->layout;
      const auto& c = k->config;
      for (const int number :
           {c.threads, c.shared_bytes, c.stages, c.tile_out, c.tile_rows, c.tile_in})
        all += " " + std::to_string(number);
      all += " " + std::to_string(k->args_bytes) + "\n";
    }
    return all;
  }();
  return lines.c_str();
}

const char* secateur_cuda_refusal(const char* name, const void* args, std::int64_t args_bytes) {
  const Kernel* kernel = secateur::cuda::find(name);
  if (kernel == nullptr) return "there is no kernel of this name";
  if (args_bytes != kernel->args_bytes)
    return "the caller's struct of arguments has another size: built from another version";
  const char* why = kernel->refuses(args);
  return why != nullptr ? why : "";
}

std::int64_t secateur_cuda_workspace(const char* name, const void* args, std::int64_t args_bytes) {
  if (*secateur_cuda_refusal(name, args, args_bytes) != '\0') return -1;
  return secateur::cuda::find(name)->workspace_bytes(args);
}

int secateur_cuda_run(const char* name, const void* args, std::int64_t args_bytes, void* stream) {
  if (*secateur_cuda_refusal(name, args, args_bytes) != '\0') return secateur::cuda::kInvalidValue;
  return secateur::cuda::find(name)->run(args, stream);
}
