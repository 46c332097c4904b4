// N of every M scores, by counting who beats whom: four groups at once, one in each lane.
#pragma once

#include <cstdint>
#include <cstring>

namespace secateur {
namespace {

// Marks with 1 the n highest scores of each group, with 0 the others; among equal ones the lowest
// index counts as the higher. Scores are not NaN.
template <int M>
struct Groups {
  typedef float Floats __attribute__((vector_size(16)));
  typedef std::int32_t Ints __attribute__((vector_size(16)));

  static Floats load(const float* x) {
    Floats v;
    std::memcpy(&v, x, sizeof v);
    return v;
  }

  // v[i]: place i of four groups that follow each other.
  static void transpose(const float* x, Floats* v) {
    if constexpr (M % 4 == 0) {
      for (int i = 0; i < M; i += 4) {
        const Floats a = load(x + i), b = load(x + M + i), c = load(x + 2 * M + i),
                     d = load(x + 3 * M + i);
        const Floats ab = __builtin_shuffle(a, b, Ints{0, 4, 1, 5});
        const Floats cd = __builtin_shuffle(c, d, Ints{0, 4, 1, 5});
        const Floats ab_high = __builtin_shuffle(a, b, Ints{2, 6, 3, 7});
        const Floats cd_high = __builtin_shuffle(c, d, Ints{2, 6, 3, 7});
        v[i] = __builtin_shuffle(ab, cd, Ints{0, 1, 4, 5});
        v[i + 1] = __builtin_shuffle(ab, cd, Ints{2, 3, 6, 7});
        v[i + 2] = __builtin_shuffle(ab_high, cd_high, Ints{0, 1, 4, 5});
        v[i + 3] = __builtin_shuffle(ab_high, cd_high, Ints{2, 3, 6, 7});
      }
    } else {
      for (int i = 0; i < M; ++i) v[i] = Floats{x[i], x[M + i], x[2 * M + i], x[3 * M + i]};
    }
  }

  static void mark_four(const float* x, int n, std::uint8_t* keep) {
    Floats v[M];
    transpose(x, v);
    Ints lost[M];  // how many beat it; a comparison that holds is -1
    for (int i = 0; i < M; ++i) lost[i] = Ints{} + (M - 1 - i);
#pragma GCC unroll 32
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 32
      for (int j = i + 1; j < M; ++j) {
        const Ints beats = v[i] >= v[j];
        lost[i] += beats;
        lost[j] -= beats;
      }
    store(lost, n, keep);
  }

  static void store(const Ints* lost, int n, std::uint8_t* keep) {
    if constexpr (M % 4 == 0) {
      for (int i = 0; i < M; i += 4) {
        // Four places of a group are a word, and of groups of four the words follow each other.
        const Ints marks = ((lost[i] < n) & 0x1) | ((lost[i + 1] < n) & 0x100) |
                           ((lost[i + 2] < n) & 0x10000) | ((lost[i + 3] < n) & 0x1000000);
        if constexpr (M == 4)
          std::memcpy(keep, &marks, sizeof marks);
        else
          for (int lane = 0; lane < 4; ++lane) {
            const std::int32_t word = marks[lane];
            std::memcpy(keep + lane * M + i, &word, sizeof word);
          }
      }
    } else {
      for (int i = 0; i < M; ++i)
        for (int lane = 0; lane < 4; ++lane) keep[lane * M + i] = lost[i][lane] < n;
    }
  }

  static void mark(const float* x, std::int64_t groups, int n, std::uint8_t* keep) {
    for (; groups >= 4; groups -= 4, x += 4 * M, keep += 4 * M) mark_four(x, n, keep);
    if (groups == 0) return;
    float rest[4 * M] = {};
    std::uint8_t marks[4 * M];
    std::memcpy(rest, x, groups * M * sizeof(float));
    mark_four(rest, n, marks);
    std::memcpy(keep, marks, groups * M);
  }
};

}  // namespace
}  // namespace secateur
