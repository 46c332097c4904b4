#include "bind/cuda_launch.h"

#include <map>
#include <mutex>
#include <sstream>
#include <utility>
#include <vector>

namespace secateur::bind::cuda {
namespace {

using torch::headeronly::ScalarType;

// Zeroed once, as kernels leave it behind them; one for each stream, whose kernels follow each
// other. Never freed: a captured graph may hold its address.
void* workspace_on(const Tensor& x, void* stream, std::int64_t bytes) {
  if (bytes <= 0) return nullptr;
  static std::mutex mutex;
  static auto& all = *new std::map<std::pair<std::int32_t, void*>, std::vector<Tensor>>();
  const std::lock_guard lock(mutex);
  auto& mine = all[{x.get_device_index(), stream}];
  if (mine.empty() || mine.back().numel() < bytes) {
    const Tensor flat = torch::stable::new_empty(x, {bytes}, ScalarType::Byte);
    mine.push_back(torch::stable::fill_(flat, 0.0));
  }
  return mine.back().mutable_data_ptr();
}

std::string first_willing(const std::string& kernels, const void* args, std::int64_t args_bytes) {
  std::istringstream names(kernels);
  std::string name, refused = "no kernel was named";
  while (std::getline(names, name, ',')) {
    const std::string refusal = secateur_cuda_refusal(name.c_str(), args, args_bytes);
    if (refusal.empty()) return name;
    refused = name + ": " + refusal;
  }
  STD_TORCH_CHECK(false, refused);
}

}  // namespace

std::optional<Type> type_of(const Tensor& t) {
  switch (t.scalar_type()) {
    case ScalarType::Float:
      return Type::f32;
    case ScalarType::BFloat16:
      return Type::bf16;
    case ScalarType::Half:
      return Type::f16;
    case ScalarType::Char:
      return Type::i8;
    default:
      return std::nullopt;
  }
}

Act act_of(const std::string& name) {
  constexpr std::pair<const char*, Act> kAll[] = {
      {"none", Act::none},           {"relu", Act::relu}, {"gelu", Act::gelu},
      {"gelu_tanh", Act::gelu_tanh}, {"silu", Act::silu}, {"relu6", Act::relu6}};
  for (const auto& [word, act] : kAll)
    if (name == word) return act;
  STD_TORCH_CHECK(false, "act must be one of none, relu, gelu, gelu_tanh, silu, relu6, got ", name);
}

void expect(const char* name, const Tensor& t, const Tensor& x, Type type, std::int64_t elements) {
  STD_TORCH_CHECK(t.is_cuda() && t.get_device_index() == x.get_device_index(), name,
                  " must be on cuda:", x.get_device_index(), ", as the rest is; move it");
  STD_TORCH_CHECK(type_of(t) == type, name, " has another dtype than the kernel reads");
  STD_TORCH_CHECK(t.is_contiguous(), name, " must be contiguous");
  STD_TORCH_CHECK(t.numel() >= elements, name, " must have at least ", elements, " elements, got ",
                  t.numel(), "; pass both tensors of one packed weight");
}

void expect_index(const Tensor& index, const Tensor& x, std::int64_t bytes) {
  STD_TORCH_CHECK(index.is_cuda() && index.get_device_index() == x.get_device_index(),
                  "index must be on x's device");
  STD_TORCH_CHECK(
      index.scalar_type() == ScalarType::Byte && index.is_contiguous() && index.numel() >= bytes,
      "index must be the one of the packed weight");
}

void launch(const std::string& kernels, void* args, std::int64_t args_bytes, void** workspace,
            const Tensor& x) {
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(x.get_device_index(), &stream));
  const std::string kernel = first_willing(kernels, args, args_bytes);
  const std::int64_t bytes = secateur_cuda_workspace(kernel.c_str(), args, args_bytes);
  STD_TORCH_CHECK(workspace != nullptr || bytes == 0, kernel, " wants a workspace");
  if (workspace != nullptr) *workspace = workspace_on(x, stream, bytes);
  const int error = secateur_cuda_run(kernel.c_str(), args, args_bytes, stream);
  STD_TORCH_CHECK(error == 0, kernel, ": CUDA error ", error, " at the launch; x has ", x.numel(),
                  " elements");
}

}  // namespace secateur::bind::cuda
