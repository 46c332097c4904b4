// From tensors of a GPU to one of its kernels by name: the device, the stream, the workspace.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <string>

#include "common/types.h"
#include "cuda/abi.h"

namespace secateur::bind::cuda {

using torch::stable::Tensor;
using OptionalTensor = std::optional<Tensor>;

std::optional<Type> type_of(const Tensor& t);

// Raises if there is none of that name.
Act act_of(const std::string& name);

// Raises unless `t` lies on x's device, of this type, in one piece, with so many elements or more.
void expect(const char* name, const Tensor& t, const Tensor& x, Type type, std::int64_t elements);

// Raises unless `index` lies on x's device and has so many bytes or more.
void expect_index(const Tensor& index, const Tensor& x, std::int64_t bytes);

inline const void* start(const OptionalTensor& t) { return t ? t->const_data_ptr() : nullptr; }

// Runs the first of `kernels`, names parted by commas, that does not refuse, on the current stream
// of x's device, whatever device is current. `workspace` points into `args` and is filled in; null
// where the op's kernels have none. Raises what the last one refuses, and CUDA's errors.
void launch(const std::string& kernels, void* args, std::int64_t args_bytes, void** workspace,
            const Tensor& x);

template <class Args>
void launch(const std::string& kernels, Args& args, const Tensor& x) {
  void** workspace = nullptr;
  if constexpr (requires { args.workspace; }) workspace = &args.workspace;
  launch(kernels, &args, sizeof args, workspace, x);
}

}  // namespace secateur::bind::cuda
