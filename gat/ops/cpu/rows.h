// Edges in blocks of LANES, and the sums over channels that gather the rows of their other ends.
#pragma once
#include "lanes.h"
#include "parallel.h"

namespace gat::GAT_ISA {

// Rows of a tensor [N, H, C], `stride` elements from node to node.
template <class T>
struct Rows {
  const T* data = nullptr;
  int64_t stride = 0;
  const T* operator[](int64_t node) const { return data + node * stride; }
};

template <class T>
Rows<T> rows_of(const void* tensor, int64_t stride) {
  return {static_cast<const T*>(tensor), stride};
}

// A CSR whose indices are of 32 or 64 bits, a difference that ends here.
class Edges {
 public:
  Edges(const Csr& csr, int64_t index)
      : rows(csr.rows),
        numbered_(csr.number != nullptr),
        wide_(index == INT64),
        rowptr_(csr.rowptr),
        col_(csr.col),
        number_(csr.number) {}

  const int64_t rows;

  int64_t count() const { return start(rows); }
  // The first of a row's edges.
  int64_t start(int64_t row) const { return at(rowptr_, row); }
  int64_t at(const void* array, int64_t k) const {
    return wide_ ? static_cast<const int64_t*>(array)[k] : static_cast<const int32_t*>(array)[k];
  }
  void cols(int64_t first, int n, int64_t* to) const { copy(col_, first, n, to); }
  // Listed numbers.
  void numbers(int64_t first, int n, int64_t* to) const {
    if (numbered_)
      copy(number_, first, n, to);
    else
      for (int k = 0; k < n; ++k) to[k] = first + k;
  }

 private:
  void copy(const void* array, int64_t first, int n, int64_t* to) const {
    if (wide_)
      for (int k = 0; k < n; ++k) to[k] = static_cast<const int64_t*>(array)[first + k];
    else
      for (int k = 0; k < n; ++k) to[k] = static_cast<const int32_t*>(array)[first + k];
  }

  bool numbered_, wide_;
  const void *rowptr_, *col_, *number_;
};

// The first row at or after a share `part / parts` of edges and rows; an empty row costs as well.
inline int64_t cut(const Edges& edges, int part, int parts) {
  const int64_t total = edges.count() + edges.rows;
  const int64_t wanted = total / parts * part + total % parts * part / parts;
  int64_t low = 0, high = edges.rows;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (edges.start(middle) + middle < wanted)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

inline Range share(const Edges& edges, int part, int parts) {
  return {cut(edges, part, parts), part + 1 == parts ? edges.rows : cut(edges, part + 1, parts)};
}

// How many edges ahead a row is asked for: about the time memory takes to answer.
constexpr int AHEAD = 16;

// Up to LANES edges of one row: their other ends, the ends to ask memory for meanwhile, and their
// listed numbers (0 beyond n, and where nobody wants them).
struct Block {
  int64_t first;
  int n;
  int64_t col[LANES], next[LANES], number[LANES] = {};
};

// body(block) for each block of a row's edges.
template <class Body>
inline void for_blocks(const Edges& edges, int64_t row, bool numbered, const Body& body) {
  const int64_t last = edges.start(row + 1), count = edges.count();
  Block block;
  for (int64_t first = edges.start(row); first < last; first += LANES) {
    block.first = first;
    block.n = int(last - first < LANES ? last - first : LANES);
    edges.cols(first, block.n, block.col);
    // At the very end there is nothing ahead: what comes is asked for again.
    const int64_t ahead = first + block.n + AHEAD <= count ? first + AHEAD : first;
    edges.cols(ahead, block.n, block.next);
    if (numbered) edges.numbers(first, block.n, block.number);
    body(block);
  }
}

// Into the second-level cache: the first is too small for the rows of AHEAD edges.
template <class T>
inline void prefetch(const T* row, int64_t channels) {
  const char* at = reinterpret_cast<const char*>(row);
  for (int64_t k = 0; k < channels * int64_t(sizeof(T)); k += 64) __builtin_prefetch(at + k, 0, 2);
}

// The rows at a block's other ends, and those to ask memory for meanwhile: not `Ask`, where a walk
// meets the same rows again. Known to the compiler: a branch at each prefetch costs half the speed.
template <class T, bool Ask = true>
struct Ends {
  const T *row[LANES], *next[LANES];

  Ends(const Block& block, Rows<T> rows) {
    for (int k = 0; k < block.n; ++k) {
      row[k] = rows[block.col[k]];
      next[k] = Ask ? rows[block.next[k]] : nullptr;
    }
  }
  void prefetch_next(int k, int64_t offset, int64_t channels) const {
    if constexpr (Ask) prefetch(next[k] + offset, channels);
  }
};

// Four edges at a time, so that sums are loaded and stored once for four rows.
constexpr int QUAD = 4;

// Asks memory for the next rows, four of them whole at a time: line after line of all four, so that
// their pages are looked up side by side.
template <class T>
inline void ask_rows(const Block& block, int64_t quad, Rows<T> rows) {
  const int64_t first = quad * QUAD, last = first + QUAD < block.n ? first + QUAD : block.n;
  for (int64_t at = 0; at < rows.stride; at += 64 / int64_t(sizeof(T)))
    for (int64_t k = first; k < last; ++k)
      __builtin_prefetch(rows[block.next[k]] + at, 0, 2);
}

// sum[c] += w[k] * row(k)[c] over n edges, for the head whose channels start at `offset`. The
// weights are `Step` apart.
template <int Step = 1, int C0, class T, bool Ask, class A>
inline void add_rows(int n, const A* w, const Ends<T, Ask>& ends, int64_t offset, Width<C0> width,
                     A* __restrict sum) {
  int k = 0;
  for (; k + QUAD <= n; k += QUAD) {
    const T *r0 = ends.row[k] + offset, *r1 = ends.row[k + 1] + offset;
    const T *r2 = ends.row[k + 2] + offset, *r3 = ends.row[k + 3] + offset;
    const A w0 = w[k * Step], w1 = w[(k + 1) * Step];
    const A w2 = w[(k + 2) * Step], w3 = w[(k + 3) * Step];
    for (int q = 0; q < QUAD; ++q) ends.prefetch_next(k + q, offset, width);
    for_pieces<A>(width, [&](int64_t c, auto piece) {
      constexpr int W = decltype(piece)::width;
      add_to<W>(sum + c, w0 * load<W>(r0 + c) + w1 * load<W>(r1 + c) + w2 * load<W>(r2 + c) +
                             w3 * load<W>(r3 + c));
    });
  }
  for (; k < n; ++k) {
    const T* row = ends.row[k] + offset;
    const A w0 = w[k * Step];
    ends.prefetch_next(k, offset, width);
    for_pieces<A>(width, [&](int64_t c, auto piece) {
      constexpr int W = decltype(piece)::width;
      add_to<W>(sum + c, w0 * load<W>(row + c));
    });
  }
}

// a * b + c, rounded once wherever the machine can.
inline float fused(float a, float b, float c) {
#ifdef __FP_FAST_FMAF
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
inline double fused(double a, double b, double c) {
#ifdef __FP_FAST_FMA
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

// A dot product as it grows: wide pieces in a vector, narrower ones summed at once. It is the same
// number wherever it is worked out: a single channel left to the compiler was rounded once in some
// loops and twice in others, and a score of 1e10 then differed by hundreds between the passes.
template <class A>
struct Dot {
  Vec<A, WIDE<A>> lanes = {};
  A rest = 0;

  template <int W>
  void add(Vec<A, W> a, Vec<A, W> b) {
    if constexpr (W == WIDE<A>)
      lanes += a * b;
    else if constexpr (W == 1)
      rest = fused(a[0], b[0], rest);
    else
      rest += total<W>(a * b);
  }
  A value() const { return total<WIDE<A>>(lanes) + rest; }
};

template <class A>
constexpr A* NONE = nullptr;

// dots[k] = own . row(k), and where `Sum`, sum[c] += w[k] * row(k)[c]: one visit for both. Without
// it, w and sum are not looked at. Weights and dots are `Step` apart.
template <bool Sum, int Step = 1, int C0, class T, bool Ask, class A>
inline void meet_rows(int n, const A* own, const A* w, const Ends<T, Ask>& ends, int64_t offset,
                      Width<C0> width, A* dots, A* __restrict sum) {
  int k = 0;
  for (; k + QUAD <= n; k += QUAD) {
    const T *r0 = ends.row[k] + offset, *r1 = ends.row[k + 1] + offset;
    const T *r2 = ends.row[k + 2] + offset, *r3 = ends.row[k + 3] + offset;
    for (int q = 0; q < QUAD; ++q) ends.prefetch_next(k + q, offset, width);
    Dot<A> d0, d1, d2, d3;
    for_pieces<A>(width, [&](int64_t c, auto piece) {
      constexpr int W = decltype(piece)::width;
      const auto x0 = load<W>(r0 + c), x1 = load<W>(r1 + c);
      const auto x2 = load<W>(r2 + c), x3 = load<W>(r3 + c), mine = load<W>(own + c);
      d0.template add<W>(mine, x0);
      d1.template add<W>(mine, x1);
      d2.template add<W>(mine, x2);
      d3.template add<W>(mine, x3);
      if constexpr (Sum)
        add_to<W>(sum + c, w[k * Step] * x0 + w[(k + 1) * Step] * x1 +
                                   w[(k + 2) * Step] * x2 + w[(k + 3) * Step] * x3);
    });
    dots[k * Step] = d0.value();
    dots[(k + 1) * Step] = d1.value();
    dots[(k + 2) * Step] = d2.value();
    dots[(k + 3) * Step] = d3.value();
  }
  for (; k < n; ++k) {
    const T* row = ends.row[k] + offset;
    ends.prefetch_next(k, offset, width);
    Dot<A> dot;
    for_pieces<A>(width, [&](int64_t c, auto piece) {
      constexpr int W = decltype(piece)::width;
      const auto x = load<W>(row + c);
      dot.template add<W>(load<W>(own + c), x);
      if constexpr (Sum) add_to<W>(sum + c, w[k * Step] * x);
    });
    dots[k * Step] = dot.value();
  }
}

}  // namespace gat::GAT_ISA
