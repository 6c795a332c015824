// Dropout of single entries, as gat/nn/dropout.py defines it: each of `by_target.rows` is a row.
#include "kernels.h"
#include "lanes.h"
#include "parallel.h"

namespace gat::GAT_ISA {
namespace {

// What an entry costs, in multiplications.
constexpr int64_t ENTRY_WORK = 4;

// Entries of a block: two to a number, whose halves of 32 bits tell which stay.
constexpr int64_t BLOCK = 2 * LANES;

template <class T>
void drop_blocks(const Call& call, Range blocks) {
  using A = Arithmetic<T>;
  const Dropout dropout{uint64_t(*call.seed), uint64_t(call.threshold), call.dropout_scale};
  const uint32_t least = uint32_t(smaller<uint64_t>(dropout.threshold, UINT32_MAX));
  const A scale = A(dropout.scale);
  const T* from = static_cast<const T*>(call.value);
  T* to = static_cast<T*>(call.out);
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    uint64_t numbers[LANES];
    uint32_t halves[BLOCK];
    for (int k = 0; k < LANES; ++k) numbers[k] = dropout.number(uint64_t(block * LANES + k));
    std::memcpy(halves, numbers, sizeof halves);
    const int64_t first = block * BLOCK;
    const auto drop = [&](int64_t n) {
      for (int64_t k = 0; k < n; ++k)
        narrow(widen(from[first + k]) * (halves[k] >= least ? scale : A(0)), to[first + k]);
    };
    // A fixed number is done by vectors.
    first + BLOCK <= call.by_target.rows ? drop(BLOCK) : drop(call.by_target.rows - first);
  }
}

template <class T>
void drop(const Call& call) {
  const int64_t count = (call.by_target.rows + BLOCK - 1) / BLOCK;
  const int parts = parts_for(call.by_target.rows * ENTRY_WORK);
  const int64_t each = (count + parts - 1) / parts;
  for_parts(parts, int(call.threads), [&](int part, int) {
    drop_blocks<T>(call, {part * each, smaller((part + 1) * each, count)});
  });
}

}  // namespace

void drop_entries(const Call& call) {
  switch (call.dtype) {
    case FLOAT64:
      return drop<double>(call);
    case BFLOAT16:
      return drop<bf16>(call);
    case FLOAT16:
      return drop<f16>(call);
    default:
      return drop<float>(call);
  }
}

}  // namespace gat::GAT_ISA
