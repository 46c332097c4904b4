// The ceilings of one core, in assembler so that no compiler merges, hoists or spills anything:
// FMA from registers, FMA with an operand in L1, the loop of the tile kernel, and streaming reads.
// All memory is written before it is read: untouched pages are one shared page of zeros.
// Compiled without ISA flags; `isa_mask` says which functions this CPU may call.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

double now() {
  using clock = std::chrono::steady_clock;
  return std::chrono::duration<double>(clock::now().time_since_epoch()).count();
}

}  // namespace

#if defined(__x86_64__)

#define CLOBBERS                                                                              \
  "cc", "memory", "rax", "rdx", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",       \
      "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

#define ZERO(N) "vxorps %%xmm" #N ",%%xmm" #N ",%%xmm" #N "\n"
#define ZERO12                                                                                \
  ZERO(0) ZERO(1) ZERO(2) ZERO(3) ZERO(4) ZERO(5) ZERO(6) ZERO(7) ZERO(8) ZERO(9) ZERO(10)    \
      ZERO(11)
#define SETUP(R)                                                                              \
  ZERO12 "vbroadcastss (%1),%%" R "14\nvbroadcastss (%1),%%" R "15\nlea 256(%1),%%rdx\n"
#define LOOP(BODY) ".p2align 6\n1:\n" BODY "dec %0\njnz 1b\nvzeroupper\n"

#define FMA(R, N) "vfmadd231ps %%" R "15,%%" R "14,%%" R #N "\n"
#define FMA12(R)                                                                              \
  FMA(R, 0) FMA(R, 1) FMA(R, 2) FMA(R, 3) FMA(R, 4) FMA(R, 5) FMA(R, 6) FMA(R, 7) FMA(R, 8)   \
      FMA(R, 9) FMA(R, 10) FMA(R, 11)

// Operands lie as a panel row of the tile kernel does: 8 vectors side by side, around the pointer
// so that every offset is one byte long.
#define MEM(R, STEP, N, K, AT) "vfmadd231ps (" #K "-4)*" #STEP "(%%" AT "),%%" R "15,%%" R #N "\n"
#define MEM8(R, STEP, AT)                                                                     \
  MEM(R, STEP, 0, 0, AT) MEM(R, STEP, 1, 1, AT) MEM(R, STEP, 2, 2, AT)                        \
      MEM(R, STEP, 3, 3, AT) MEM(R, STEP, 4, 4, AT) MEM(R, STEP, 5, 5, AT)                    \
          MEM(R, STEP, 6, 6, AT) MEM(R, STEP, 7, 7, AT)
#define MEM12(R, STEP)                                                                        \
  MEM8(R, STEP, "rdx")                                                                        \
  MEM(R, STEP, 8, 0, "rdx") MEM(R, STEP, 9, 1, "rdx") MEM(R, STEP, 10, 2, "rdx")              \
      MEM(R, STEP, 11, 3, "rdx")

// One nonzero of the tile kernel: its weight, its index, then 8 vectors of tokens.
#define TILE8(R, STEP)                                                                        \
  "vbroadcastss 1024(%1),%%" R "15\nmovzwl 2048(%1),%%eax\nlea 256(%1,%%rax),%%rdx\n"         \
  MEM8(R, STEP, "rdx")

#define LOAD(R, N, AT) "vmovups " #AT "(%1),%%" R #N "\n"
#define READ_YMM                                                                              \
  LOAD("ymm", 0, 0) LOAD("ymm", 1, 32) LOAD("ymm", 2, 64) LOAD("ymm", 3, 96)                  \
      LOAD("ymm", 4, 128) LOAD("ymm", 5, 160) LOAD("ymm", 6, 192) LOAD("ymm", 7, 224)         \
          "add $256,%1\n"
#define READ_ZMM                                                                              \
  LOAD("zmm", 0, 0) LOAD("zmm", 1, 64) LOAD("zmm", 2, 128) LOAD("zmm", 3, 192) "add $256,%1\n"

namespace {

enum Isa { avx2 = 1, avx512 = 2 };
constexpr std::size_t page = 4096;

int width(int isa) { return isa == avx512 ? 16 : 8; }

// A page of small normal floats whose u16 at byte 2048 is 0, the index of TILE8.
float* operands() {
  auto* data = static_cast<float*>(std::aligned_alloc(page, page));
  for (std::size_t i = 0; i < page / sizeof(float); ++i) data[i] = 1e-9f;
  data[2048 / sizeof(float)] = 0.0f;
  return data;
}

}  // namespace

#define RUN(R, BODY)                                                                          \
  asm volatile(SETUP(R) LOOP(BODY) : "+r"(left) : "r"(data) : CLOBBERS)

#define RATE(NAME, YMM, ZMM, COUNT)                                                           \
  extern "C" double NAME(int isa, std::int64_t iterations) {                                  \
    float* data = operands();                                                                 \
    std::int64_t left = iterations;                                                           \
    double start = now();                                                                     \
    if (isa == avx512) {                                                                      \
      RUN("zmm", ZMM);                                                                        \
    } else {                                                                                  \
      RUN("ymm", YMM);                                                                        \
    }                                                                                         \
    double seconds = now() - start;                                                           \
    std::free(data);                                                                          \
    return 2.0 * COUNT * width(isa) * double(iterations) / seconds;                           \
  }

// FLOP/s of 12 independent FMA chains in registers.
RATE(fma_rate, FMA12("ymm"), FMA12("zmm"), 12)
// FLOP/s when each FMA reads an operand from L1: the load ports' ceiling.
RATE(operand_rate, MEM12("ymm", 32), MEM12("zmm", 64), 12)
// FLOP/s of the tile kernel's loop, weight and index loads included.
RATE(tile_rate, TILE8("ymm", 32), TILE8("zmm", 64), 8)

// Bytes per second of reading `bytes` (a multiple of 256), best pass of `passes`.
extern "C" double read_rate(int isa, std::int64_t bytes, std::int64_t passes) {
  auto* data = static_cast<char*>(std::aligned_alloc(page, (bytes + page - 1) / page * page));
  if (data == nullptr) return 0;
  std::memset(data, 1, bytes);
  double best = 0;
  // Short buffers are read several times per sample, so that the clock's grain does not show.
  std::int64_t inner = bytes < (16 << 20) ? (16 << 20) / bytes : 1;
  for (std::int64_t pass = 0; pass < passes; ++pass) {
    double start = now();
    for (std::int64_t i = 0; i < inner; ++i) {
      std::int64_t left = bytes / 256;
      char* at = data;
      if (isa == avx512) {
        asm volatile(LOOP(READ_ZMM) : "+r"(left), "+r"(at) : : CLOBBERS);
      } else {
        asm volatile(LOOP(READ_YMM) : "+r"(left), "+r"(at) : : CLOBBERS);
      }
    }
    double rate = double(bytes) * double(inner) / (now() - start);
    if (rate > best) best = rate;
  }
  std::free(data);
  return best;
}

extern "C" int isa_mask() {
  __builtin_cpu_init();
  int mask = 0;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) mask |= avx2;
  if (__builtin_cpu_supports("avx512f")) mask |= avx512;
  return mask;
}

#else

extern "C" int isa_mask() { return 0; }

#endif
