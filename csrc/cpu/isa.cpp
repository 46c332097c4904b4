#include "cpu/isa.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace secateur {
namespace {

constexpr std::array<const char*, 4> kNames = {"portable", "avx2", "avx512", "neon"};
std::atomic<const Kernel*> forced{nullptr};

Isa detect() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    return Isa::avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("f16c"))
    return Isa::avx2;
#elif defined(__aarch64__)
  return Isa::neon;  // part of the architecture
#endif
  return Isa::portable;
}

// Below neon there is only the portable build; a cap of another architecture is none.
bool caps(Isa cap, Isa best) { return cap < best && (cap == Isa::portable || best != Isa::neon); }

Isa capped() {
  const Isa best = detect();
  const char* cap = std::getenv("SECATEUR_ISA");
  if (cap == nullptr) return best;
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (std::strcmp(cap, kNames[i]) == 0 && caps(static_cast<Isa>(i), best))
      return static_cast<Isa>(i);
  return best;
}

std::uint32_t mix(std::uint32_t hash, std::uint32_t word) {  // FNV-1a, a word at a time
  return (hash ^ word) * 16777619U;
}

}  // namespace

Isa isa() {
  static const Isa best = capped();
  return best;
}

const char* isa_name(Isa isa) { return kNames[static_cast<std::size_t>(isa)]; }

const Kernel* pick(const KernelTable& table, const Header& weight, std::int64_t rows, bool plain) {
  const Kernel* const wanted = forced.load(std::memory_order_relaxed);
  const Kernel* best = nullptr;
  int best_rank = 0;
  for (const Kernel* k : table) {
    if (k->isa > isa() || !(plain || k->any_type)) continue;
    const int fit = k->rank(weight, rows);
    if (fit == 0) continue;
    if (k == wanted) return k;
    const int rank = 16 * static_cast<int>(k->isa) + fit;
    if (rank > best_rank) {
      best = k;
      best_rank = rank;
    }
  }
  return best;
}

bool force(const char* kernel_name) {
  if (*kernel_name == '\0') {
    forced = nullptr;
    return true;
  }
  for (const KernelTable* table : all_tables())
    for (const Kernel* k : *table)
      if (std::strcmp(k->name, kernel_name) == 0 && k->isa <= isa()) {
        forced = k;
        return true;
      }
  return false;
}

std::uint32_t machine_stamp() {
  static const std::uint32_t stamp = [] {
    std::uint32_t hash = mix(2166136261U, static_cast<std::uint32_t>(isa()) + 1U);
#if defined(__x86_64__)
    for (std::uint32_t leaf = 0x80000002U; leaf <= 0x80000004U; ++leaf) {
      std::uint32_t a = 0, b = 0, c = 0, d = 0;
      if (__get_cpuid(leaf, &a, &b, &c, &d)) hash = mix(mix(mix(mix(hash, a), b), c), d);
    }
    std::uint32_t a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d)) hash = mix(hash, a);  // family, model, stepping
#elif defined(__aarch64__) && defined(__linux__)
    constexpr unsigned long kReadable = 1UL << 11;  // HWCAP_CPUID: the kernel lets us read it
    if (getauxval(AT_HWCAP) & kReadable) {
      std::uint64_t midr = 0;
      asm("mrs %0, midr_el1" : "=r"(midr));  // implementer, part, variant, revision
      hash = mix(hash, static_cast<std::uint32_t>(midr));
    }
#endif
    return hash;
  }();
  return stamp;
}

}  // namespace secateur
