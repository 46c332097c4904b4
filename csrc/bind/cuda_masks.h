// Where the masks of lb32 and n32 lie in an index, and whether it is long enough for them.
#pragma once

#include <vector>

#include "bind/cuda_launch.h"

namespace secateur::bind::cuda {

// 32-bit words of masks, a bit a position of the padded weight; n > 0: of n32, else of lb32.
inline std::int64_t mask_words(std::int64_t n, std::int64_t out_features,
                               std::int64_t in_features) {
  const std::int64_t wide = n > 0 ? 128 : 64;
  return (out_features + 15) / 16 * 16 * ((in_features + wide - 1) / wide) * (wide / 64) * 2;
}

// Null for 0: there is no such section.
inline const std::uint32_t* words_at(const Tensor& index, std::int64_t offset) {
  const auto* bytes = static_cast<const std::uint8_t*>(index.const_data_ptr());
  return offset > 0 ? reinterpret_cast<const std::uint32_t*>(bytes + offset) : nullptr;
}

// Raises unless `index` is on x's device and holds the masks from byte offsets[0] on.
inline void check_masks(const Tensor& index, const Tensor& x,
                        const std::vector<std::int64_t>& offsets, std::int64_t n,
                        std::int64_t out_features, std::int64_t in_features) {
  STD_TORCH_CHECK(offsets.size() == 2 && offsets[0] > 0,
                  "offsets must be two, of the masks and of the table or 0");
  expect_index(index, x, offsets[0] + mask_words(n, out_features, in_features) * 4);
}

}  // namespace secateur::bind::cuda
