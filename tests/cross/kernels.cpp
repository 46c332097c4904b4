// Runs every kernel that this processor runs on the problems of a file, without torch: what an
// emulator or another machine is given. tests/cross/test_emulated.py writes and judges.
//
//   kernels PROBLEMS ANSWERS [MARGIN]
//
// Each answer is the bytes of one y in ANSWERS and a line "problem kernel" on stdout. Every buffer
// ends at a page that must not be touched, so that a read or write past it stops the program; or
// MARGIN bytes before it, for an emulator that reads what a masked load leaves out.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cpu/isa.h"

namespace {

using secateur::Header;
using secateur::Kernel;

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "kernels: %s\n", what);
  std::exit(2);
}

std::int64_t margin = 0;  // bytes

// What a problem begins with; the blobs follow in this order, 0 bytes for one that is absent.
struct Problem {
  char op[16];
  std::int64_t rows, act, value_type, x_type;
  std::int64_t index_bytes, values_bytes, x_bytes, bias_bytes, residual_bytes, scale_bytes;
};

// Bytes whose last is followed by a page without access, and which start as NaN in every type.
class Guarded {
 public:
  Guarded(std::int64_t bytes, std::int64_t alignment) : size_(bytes) {
    const std::int64_t page = sysconf(_SC_PAGESIZE);
    const std::int64_t room = (bytes + alignment + page - 1) / page * page;
    const std::int64_t open = room + (margin + page - 1) / page * page;
    mapped_ = open + page;
    base_ = static_cast<char*>(
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED) die("no memory");
    std::memset(base_, 0xFF, room);
    if (mprotect(base_ + open, page, PROT_NONE) != 0) die("cannot guard a page");
    start_ = base_ + (room - bytes) / alignment * alignment;
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(base_, mapped_); }

  void* get() const { return size_ > 0 ? start_ : nullptr; }
  std::int64_t size() const { return size_; }

 private:
  std::int64_t size_, mapped_;
  char* base_;
  char* start_;
};

struct Input : Guarded {
  Input(std::FILE* from, std::int64_t bytes, std::int64_t alignment) : Guarded(bytes, alignment) {
    if (bytes > 0 && std::fread(get(), 1, bytes, from) != static_cast<std::size_t>(bytes))
      die("the file of problems ends within one");
  }
};

const secateur::KernelTable& table_of(const char* op) {
  for (const secateur::KernelTable* table : secateur::all_tables())
    if (std::strcmp(table->op, op) == 0) return *table;
  die("a problem is of an unknown op");
}

void answer(const Kernel& kernel, secateur::LinearArgs args, std::FILE* to) {
  const Header& h = *args.weight;
  const Guarded y(args.rows * h.out_features * secateur::bytes_of(args.x_type), 2);
  const Guarded scratch(kernel.scratch_floats(h, args.rows) * 4, 64);
  args.y = y.get();
  kernel.run(&args, {0, args.rows, 0, secateur::row_blocks(h)}, static_cast<float*>(scratch.get()));
  if (std::fwrite(y.get(), 1, y.size(), to) != static_cast<std::size_t>(y.size()))
    die("cannot write the answers");
}

void solve(const Problem& p, std::int64_t number, std::FILE* from, std::FILE* to) {
  const Input index(from, p.index_bytes, 64), values(from, p.values_bytes, 4);
  const Input x(from, p.x_bytes, 4), bias(from, p.bias_bytes, 4);
  const Input residual(from, p.residual_bytes, 2), scale(from, p.scale_bytes, 4);
  const auto& h = *static_cast<const Header*>(index.get());
  const secateur::LinearArgs args{
      .weight = &h,
      .values = values.get(),
      .x = x.get(),
      .x_stride = h.in_features,
      .y = nullptr,
      .bias = static_cast<const float*>(bias.get()),
      .residual = residual.get(),
      .scale = static_cast<const float*>(scale.get()),
      .rows = p.rows,
      .act = static_cast<secateur::Act>(p.act),
      .value_type = static_cast<secateur::Type>(p.value_type),
      .x_type = static_cast<secateur::Type>(p.x_type),
  };
  for (const Kernel* kernel : table_of(p.op)) {
    if (!secateur::force(kernel->name)) continue;  // another processor's
    if (secateur::pick(table_of(p.op), h, p.rows, args.plain()) != kernel) continue;
    answer(*kernel, args, to);
    std::printf("%lld %s\n", static_cast<long long>(number), kernel->name);
  }
}

}  // namespace

int main(int count, char** words) {
  if (count != 3 && count != 4) die("usage: kernels PROBLEMS ANSWERS [MARGIN]");
  if (count == 4) margin = std::atoll(words[3]);
  std::FILE* from = std::fopen(words[1], "rb");
  std::FILE* to = std::fopen(words[2], "wb");
  if (from == nullptr || to == nullptr) die("cannot open the files");
  Problem p;
  for (std::int64_t number = 0; std::fread(&p, sizeof p, 1, from) == 1; ++number)
    solve(p, number, from, to);
  return std::fclose(to) == 0 ? 0 : 2;
}
