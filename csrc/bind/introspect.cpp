// What Python may ask through ctypes: which kernels there are, which one a problem gets.
#include <cstring>
#include <string>

#include "cpu/isa.h"

namespace {

const secateur::KernelTable* table_of(const char* op) {
  for (const auto* table : secateur::all_tables())
    if (std::strcmp(table->op, op) == 0) return table;
  return nullptr;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

// Lines of "op name isa runnable", one a kernel. Valid for the life of the process.
EXPORT const char* secateur_kernels() {
  static const std::string lines = [] {
    std::string all;
    for (const auto* table : secateur::all_tables())
      for (const secateur::Kernel* k : *table)
        all += std::string(table->op) + " " + k->name + " " + secateur::isa_name(k->isa) +
               (k->isa <= secateur::isa() ? " 1\n" : " 0\n");
    return all;
  }();
  return lines.c_str();
}

EXPORT const char* secateur_isa() { return secateur::isa_name(secateur::isa()); }

EXPORT std::uint32_t secateur_machine() { return secateur::machine_stamp(); }

EXPORT int secateur_force(const char* kernel) { return secateur::force(kernel) ? 1 : 0; }

// The kernel this problem gets, "reference" if none; "" if the op is unknown. `plain`: all in
// float.
EXPORT const char* secateur_pick(const char* op, const void* header, std::int64_t rows, int plain) {
  const secateur::KernelTable* table = table_of(op);
  if (table == nullptr) return "";
  const auto* h = static_cast<const secateur::Header*>(header);
  const secateur::Kernel* k = secateur::pick(*table, *h, rows, plain != 0);
  return k != nullptr ? k->name : "reference";
}
