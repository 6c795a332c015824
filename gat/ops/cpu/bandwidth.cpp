// What this machine's memory gives: a plain copy, and rows read in random order. The byte counts of
// attention's kernels are held against these (gat/bench).
#include <algorithm>
#include <cstdint>

#if defined(_WIN32)
#define GAT_EXPORT extern "C" __declspec(dllexport)
#else
#define GAT_EXPORT extern "C" __attribute__((visibility("default")))
#endif

// This file is compiled once, so the wide registers are chosen when the library is loaded.
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && __GNUC__ >= 12
#define GAT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define GAT_CLONES
#endif

namespace {

constexpr int64_t LINE = 64 / sizeof(float);

// Rows ahead of the one being read; narrow rows need more of them on their way.
int64_t rows_ahead(int64_t width) {
  const int64_t bytes = std::max<int64_t>(width, 1) * int64_t(sizeof(float));
  return std::clamp<int64_t>((16 << 10) / bytes, 8, 16);
}

inline void prefetch(const float* row, int64_t width) {
#if defined(__GNUC__)
  // Into the outer cache only: a gathered row is not read again soon.
  for (int64_t c = 0; c < width; c += LINE) __builtin_prefetch(row + c, 0, 2);
#endif
}

GAT_CLONES float gather(int64_t begin, int64_t end, int64_t width, const int32_t* rows,
                        const float* table) {
  const int64_t ahead = rows_ahead(width);
  float total = 0;
  for (int64_t e = begin; e < end; ++e) {
    prefetch(table + rows[std::min(e + ahead, end - 1)] * width, width);
    const float* row = table + rows[e] * width;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < width; ++c) sum += row[c];
    total += sum;
  }
  return total;
}

GAT_CLONES void copy(int64_t begin, int64_t end, const float* from, float* to) {
  for (int64_t k = begin; k < end; ++k) to[k] = from[k];
}

inline int64_t part(int64_t count, int number, int parts) {
  return count / parts * number + count % parts * number / parts;
}

}  // namespace

// Copies `count` floats; returns the last, so that the work cannot be left out.
GAT_EXPORT double gat_cpu_copy(int threads, int64_t count, const float* from, float* to) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int p = 0; p < threads; ++p)
    copy(part(count, p, threads), part(count, p + 1, threads), from, to);
  return count > 0 ? double(to[count - 1]) : 0.0;
}

// Reads the rows of `table` [., width] named by `rows` [edges] in that order; returns their sum.
GAT_EXPORT float gat_cpu_gather(int threads, int64_t edges, int64_t width, const int32_t* rows,
                                const float* table) {
  float total = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : total) if (threads > 1)
  for (int p = 0; p < threads; ++p)
    total += gather(part(edges, p, threads), part(edges, p + 1, threads), width, rows, table);
  return total;
}
