// What every call checks before a kernel sees pointers. Shapes and dtypes with friendlier words are
// checked in Python; these checks keep a wrong call from reading or writing out of bounds.
#pragma once

#include <algorithm>

#include "bind/linear.h"

namespace secateur::bind {

inline bool shaped_like_y(const Tensor& t, const LinearCall& c) {
  bool same = t.dim() == c.x.dim();
  for (std::int64_t i = 0; same && i < t.dim(); ++i)
    same = t.size(i) == (i + 1 < t.dim() ? c.x.size(i) : c.out_features);
  return same;
}

// What a kernel divides by, and where it starts to read. What lies inside the sections is trusted:
// only packing writes them, and files hold another form.
inline bool blocked(const Header& h) {
  const bool shaped = h.n > 0 && h.n <= kLargestBlock && h.m > 0 && h.m <= kLargestBlock;
  return shaped && h.row_block % h.n == 0 && h.k_block % h.m == 0;
}

inline bool well_formed(const Header& h, std::int64_t bytes) {
  const std::uint32_t furthest = std::max({h.table, h.rows, h.runs, h.columns, h.permutation});
  const bool sized = h.in_features > 0 && h.out_features > 0;
  const bool cut = h.k_block > 0 && h.k_block <= 256 && h.row_block > 0;
  const bool grouped = h.format != Format::nm || (h.n > 0 && h.n <= h.m && h.m <= 16);
  const bool whole = h.format != Format::bsr || blocked(h);
  return sized && cut && grouped && whole && furthest < bytes;
}

// The header of a packed weight's index, once it is sure that it can be read and believed.
inline const Header& checked_index(const Tensor& index, Format format, const char* op) {
  // First of all: the header is read through a pointer.
  STD_TORCH_CHECK(index.is_cpu(), op,
                  ": x is on the CPU but the packed weight is not; move the layer with .to('cpu')");
  STD_TORCH_CHECK(index.scalar_type() == torch::headeronly::ScalarType::Byte, op,
                  ": index must be uint8");
  STD_TORCH_CHECK(index.is_contiguous(), op, ": index must be contiguous");
  STD_TORCH_CHECK(index.numel() >= static_cast<std::int64_t>(sizeof(Header)), op, ": index has ",
                  index.numel(), " bytes, fewer than its header");
  const Header& h = *static_cast<const Header*>(index.const_data_ptr());
  STD_TORCH_CHECK(h.magic == kMagic && h.version == kLayoutVersion && h.format == format, op,
                  ": index is not a packed weight of this op (magic ", h.magic, ", version ",
                  h.version, ", format ", static_cast<int>(h.format), "); pack the weight again");
  STD_TORCH_CHECK(well_formed(h, index.numel()), op,
                  ": the header of index is damaged; pack the weight again");
  return h;
}

// The header of a call's weight; x and the residual are for the op to check.
inline const Header& checked_weight(const LinearCall& c, Format format, const char* op) {
  STD_TORCH_CHECK(c.values.is_cpu(), op,
                  ": x is on the CPU but the packed weight is not; move the layer with .to('cpu')");
  STD_TORCH_CHECK(c.values.is_contiguous(), op, ": values must be contiguous");
  const Header& h = checked_index(c.index, format, op);
  STD_TORCH_CHECK(c.out_features == h.out_features, op, ": out_features is ", c.out_features,
                  " but the packed weight has ", h.out_features);
  STD_TORCH_CHECK(c.values.numel() >= h.nnz + kValuePadding, op, ": values has ", c.values.numel(),
                  " elements but the index names ", h.nnz, " and ", kValuePadding, " spare ones");
  STD_TORCH_CHECK(!c.bias || c.bias->numel() == h.out_features, op, ": bias must have ",
                  h.out_features, " elements");
  STD_TORCH_CHECK(!c.scale || c.scale->numel() == h.out_features, op, ": scale must have ",
                  h.out_features, " elements");
  return h;
}

inline const Header& checked_header(const LinearCall& c, Format format, const char* op) {
  const Header& h = checked_weight(c, format, op);
  STD_TORCH_CHECK(c.x.dim() >= 1 && c.x.size(c.x.dim() - 1) == h.in_features, op,
                  ": the last dimension of x must be the weight's in_features, ", h.in_features);
  STD_TORCH_CHECK(!c.residual || shaped_like_y(*c.residual, c), op,
                  ": residual must have y's shape");
  return h;
}

// True if x is a matrix of rows a fixed stride apart, each row contiguous.
inline bool rows_evenly_apart(const torch::stable::Tensor& x) {
  return x.is_contiguous() || (x.dim() == 2 && x.stride(1) == 1 && x.stride(0) >= x.size(1));
}

// A verdict timed on another machine is replaced by the cost model: one row of x is bound by bytes
// (5 a kept weight against 4 a weight), many rows by multiplications at a lower rate.
inline Verdict believed_verdict(const Header& h, std::int64_t rows) {
  if (h.machine == machine_stamp()) return verdict(h, rows);
  const double kept = static_cast<double>(h.nnz) / (1.0 * h.in_features * h.out_features + 1e-9);
  return kept < (rows == 1 ? 0.5 : 0.6) ? Verdict::sparse : Verdict::dense;
}

}  // namespace secateur::bind
