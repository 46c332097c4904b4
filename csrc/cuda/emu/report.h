// What an emulated launch found wrong, and what it counted. Nothing here stops a kernel.
#pragma once

#include <cstdint>
#include <map>
#include <source_location>
#include <string>
#include <vector>

namespace secateur::emu {

using Where = std::source_location;  // of a call in a kernel

struct Counters {
#define COUNTER(name) std::int64_t name = 0;
#include "cuda/emu/counters.inc"
#undef COUNTER
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

extern Report the_report;
inline Report& report() { return the_report; }

std::string quoted(const std::string& text);  // as JSON

}  // namespace secateur::emu
