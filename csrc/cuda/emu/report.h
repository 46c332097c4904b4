// What an emulated launch found wrong, and what it counted. Nothing here stops a kernel.
#pragma once

#include <cstdint>
#include <map>
#include <source_location>
#include <string>
#include <vector>

namespace secateur::emu {

using Where = std::source_location;  // of a call in a kernel

// One name for each counter. Warp instructions, unless it says otherwise; an "_ideal" is what the
// same accesses would take without bank conflicts, or with every sector fully used.
#define SECATEUR_COUNTERS(X)                                                                  \
  X(mma)                                                                                      \
  X(mma_sp) X(ldmatrix) X(lds) X(sts) X(ldg) X(stg) X(ldgsts) X(atomic) X(shfl) X(vote)       \
      X(syncwarp) X(bar) X(popc_lanes) X(ldmatrix_wavefronts) X(ldmatrix_wavefronts_ideal)    \
          X(lds_wavefronts) X(lds_wavefronts_ideal) X(sts_wavefronts) X(sts_wavefronts_ideal) \
              X(ldgsts_wavefronts) X(ldgsts_wavefronts_ideal) X(load_sectors)                 \
                  X(load_sectors_ideal) X(store_sectors) X(store_sectors_ideal) X(blocks)     \
                      X(switches)

struct Counters {
#define X(name) std::int64_t name = 0;
  SECATEUR_COUNTERS(X)
#undef X
};

struct Finding {
  std::int64_t count = 0;
  std::vector<std::string> first;  // messages
};

class Report {
 public:
  Counters counters;

  // `kind`: race, uninitialised, out_of_bounds, misaligned, read_only, divergence, deadlock,
  // metadata, launch.
  void add(const char* kind, const Where& where, const std::string& what);
  bool wants(const char* kind);  // whether the next message of the kind is kept: counts it if not
  void clear() { *this = Report(); }
  std::string findings_json() const;
  std::string counters_json() const;

 private:
  std::map<std::string, Finding> findings_;
};

Report& report();

std::string quoted(const std::string& text);  // as JSON

}  // namespace secateur::emu
