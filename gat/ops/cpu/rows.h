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

template <class I>
struct Edges {
  int64_t rows;
  const I *rowptr, *col, *number;

  explicit Edges(const Csr& csr)
      : rows(csr.rows),
        rowptr(static_cast<const I*>(csr.rowptr)),
        col(static_cast<const I*>(csr.col)),
        number(static_cast<const I*>(csr.number)) {}
  int64_t count() const { return rowptr[rows]; }
};

// How many edges ahead a row is asked for: about the time memory takes to answer.
constexpr int AHEAD = 16;

// Up to LANES edges of one row. `number`: their listed numbers; the last one's repeated beyond n.
template <class I>
struct Block {
  const I* col;
  int64_t first;
  int n;
  int ahead;
  int64_t number[LANES];
};

// body(block) for each block of edges [first, last).
template <class I, class Body>
inline void for_blocks(const Edges<I>& edges, int64_t first, int64_t last, bool numbered,
                       const Body& body) {
  const int64_t count = edges.count();
  Block<I> block;
  for (; first < last; first += LANES) {
    block.col = edges.col + first;
    block.first = first;
    block.n = int(last - first < LANES ? last - first : LANES);
    block.ahead = first + block.n + AHEAD <= count ? AHEAD : 0;
    if (numbered)
      for (int k = 0; k < LANES; ++k) {
        const int64_t edge = first + (k < block.n ? k : block.n - 1);
        block.number[k] = edges.number ? int64_t(edges.number[edge]) : edge;
      }
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

  template <class I>
  Ends(const Block<I>& block, Rows<T> rows) {
    for (int k = 0; k < block.n; ++k) {
      row[k] = rows[block.col[k]];
      next[k] = Ask ? rows[block.col[k + block.ahead]] : nullptr;
    }
  }
  void prefetch_next(int k, int64_t offset, int64_t channels) const {
    if constexpr (Ask) prefetch(next[k] + offset, channels);
  }
};

// Four edges at a time, so that sums are loaded and stored once for four rows.
constexpr int QUAD = 4;

// sum[c] += w[k] * row(k)[c] over n edges, for the head whose channels start at `offset`.
template <int C0, class T, bool Ask, class A>
inline void add_rows(int n, const A* w, const Ends<T, Ask>& ends, int64_t offset, Width<C0> width,
                     A* __restrict sum) {
  int k = 0;
  for (; k + QUAD <= n; k += QUAD) {
    const T *r0 = ends.row[k] + offset, *r1 = ends.row[k + 1] + offset;
    const T *r2 = ends.row[k + 2] + offset, *r3 = ends.row[k + 3] + offset;
    const A w0 = w[k], w1 = w[k + 1], w2 = w[k + 2], w3 = w[k + 3];
    for (int q = 0; q < QUAD; ++q) ends.prefetch_next(k + q, offset, width);
    for_pieces<A>(width, [&](int64_t c, auto piece) {
      constexpr int W = decltype(piece)::width;
      add_to<W>(sum + c, w0 * load<W>(r0 + c) + w1 * load<W>(r1 + c) + w2 * load<W>(r2 + c) +
                             w3 * load<W>(r3 + c));
    });
  }
  for (; k < n; ++k) {
    const T* row = ends.row[k] + offset;
    const A w0 = w[k];
    ends.prefetch_next(k, offset, width);
    for_pieces<A>(width, [&](int64_t c, auto piece) {
      constexpr int W = decltype(piece)::width;
      add_to<W>(sum + c, w0 * load<W>(row + c));
    });
  }
}

// A dot product as it grows: wide pieces in a vector, narrower ones summed at once.
template <class A>
struct Dot {
  Vec<A, WIDE<A>> lanes = {};
  A rest = 0;

  template <int W>
  void add(Vec<A, W> product) {
    if constexpr (W == WIDE<A>)
      lanes += product;
    else
      rest += total<W>(product);
  }
  A value() const { return total<WIDE<A>>(lanes) + rest; }
};

template <class A>
constexpr A* NONE = nullptr;

// dots[k] = own . row(k), and where `Sum`, sum[c] += w[k] * row(k)[c]: one visit for both. Without
// it, w and sum are not looked at.
template <bool Sum, int C0, class T, bool Ask, class A>
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
      d0.template add<W>(mine * x0);
      d1.template add<W>(mine * x1);
      d2.template add<W>(mine * x2);
      d3.template add<W>(mine * x3);
      if constexpr (Sum)
        add_to<W>(sum + c, w[k] * x0 + w[k + 1] * x1 + w[k + 2] * x2 + w[k + 3] * x3);
    });
    dots[k] = d0.value();
    dots[k + 1] = d1.value();
    dots[k + 2] = d2.value();
    dots[k + 3] = d3.value();
  }
  for (; k < n; ++k) {
    const T* row = ends.row[k] + offset;
    ends.prefetch_next(k, offset, width);
    Dot<A> dot;
    for_pieces<A>(width, [&](int64_t c, auto piece) {
      constexpr int W = decltype(piece)::width;
      const auto x = load<W>(row + c);
      dot.template add<W>(load<W>(own + c) * x);
      if constexpr (Sum) add_to<W>(sum + c, w[k] * x);
    });
    dots[k] = dot.value();
  }
}

}  // namespace gat::GAT_ISA
