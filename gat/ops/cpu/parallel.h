// Work shared among threads so that no result depends on their number.
//
// Rows are cut into parts, a number that depends on the work alone; a part is computed by one thread
// from its first row to its last. torch's own OpenMP runtime serves; with one thread no parallel
// region is entered, since a forked child could not.
#pragma once
#ifdef _OPENMP
#include <omp.h>
#endif

#include <cstdint>
#include <cstdlib>
#include <new>

#include "api.h"

namespace gat::GAT_ISA {

struct Range {
  int64_t begin, end;
};

// About how many multiplications a part should hold, and how many parts at most.
constexpr int64_t PART_WORK = 1 << 16;
constexpr int64_t MOST_PARTS = 256;

// What an edge costs per head besides its channels (its score, exponential, draw), counted so too.
constexpr int64_t HEAD_WORK = 24;

inline int parts_for(int64_t work) {
  const int64_t parts = work / PART_WORK;
  return int(parts < 1 ? 1 : parts > MOST_PARTS ? MOST_PARTS : parts);
}

// body(part, thread) for every part.
template <class Body>
void for_parts(int parts, int threads, const Body& body) {
#ifdef _OPENMP
  if (parts < threads) threads = parts;
  if (threads > 1 && !in_forked_child()) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int part = 0; part < parts; ++part) body(part, omp_get_thread_num());
    return;
  }
#else
  (void)threads;
#endif
  for (int part = 0; part < parts; ++part) body(part, 0);
}

// Memory of a call, gone with it. Throws std::bad_alloc, so never made inside a parallel region.
template <class X>
class Buffer {
 public:
  explicit Buffer(int64_t count) {
    if (count <= 0) return;
    const size_t bytes = (size_t(count) * sizeof(X) + 63) / 64 * 64;
    data_ = static_cast<X*>(std::aligned_alloc(64, bytes));
    if (data_ == nullptr) throw std::bad_alloc();
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }
  X* get() const { return data_; }

 private:
  X* data_ = nullptr;
};

// Each thread's share of one allocation, handed out piece by piece, padded to cache lines so that
// threads do not write into each other's.
template <class A>
class Scratch {
 public:
  Scratch(int threads, int64_t count) : each_((count + 15) / 16 * 16 + 16), buffer_(each_ * threads) {}
  A* of(int thread) const { return buffer_.get() + each_ * thread; }

 private:
  int64_t each_;
  Buffer<A> buffer_;
};

}  // namespace gat::GAT_ISA
