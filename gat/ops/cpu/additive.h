// GAT's score, a sum of one number per source, target and edge (gat/ops/reference.py, `additive`).
#pragma once
#include "walk.h"

namespace gat::GAT_ISA {

// z_e = own + other + edge for a block's edges: finite, or -inf where any term is. `z` holds the
// other end's terms [heads * LANES] when called.
template <class T>
void add_terms(const Task<T>& task, const Block& block, const T* own, Arithmetic<T>* z) {
  using A = Arithmetic<T>;
  const T* edges = static_cast<const T*>(task.call.edge);
  for (int64_t h = 0; h < task.heads; ++h, z += LANES) {
    const A mine = own ? A(widen(own[h])) : A(0);
    A edge[LANES] = {};
    if (edges)
      for (int k = 0; k < block.n; ++k) edge[k] = widen(edges[task.at(block.number[k], h)]);
    for (int k = 0; k < LANES; ++k) {
      const A lowest = smaller(smaller(mine, z[k]), edge[k]);
      const A sum = finite(mine + z[k] + edge[k]);
      z[k] = lowest == -INFINITE<A> ? lowest : sum;
    }
  }
}

// The terms of the nodes at the edges' other ends, 0 where there are none.
template <class T, class A>
inline void gather_terms(const Block& block, Rows<T> terms, int64_t heads, A* z) {
  if (!terms.data)
    for (int64_t k = 0; k < heads * LANES; ++k) z[k] = 0;
  for (int k = 0; k < block.n && terms.data; ++k) {
    const T* from = terms[block.col[k]];
    prefetch(terms[block.next[k]], heads);
    for (int64_t h = 0; h < heads; ++h) z[h * LANES + k] = widen(from[h]);
  }
}

// LeakyReLU of sums; a mask stays one with slope 0 too.
template <class A>
inline void leaky_relu(const A* z, A slope, int64_t count, A* s) {
  for (int64_t k = 0; k < count; ++k) {
    const A leaky = finite(z[k] > 0 ? z[k] : z[k] * slope);
    s[k] = z[k] == -INFINITE<A> ? z[k] : leaky;
  }
}

// By target: own is score_dst (null: none), other score_src.
template <class T>
class AdditiveScore {
  using A = Arithmetic<T>;

 public:
  AdditiveScore(const Task<T>& task, Rows<T> own, Rows<T> other)
      : task_(task), own_(own), other_(other) {}

  static constexpr bool MEETS_VALUES = false;

  void begin(int64_t row) { own_row_ = own_.data ? own_[row] : nullptr; }

  void scores(const Block& block, A* s) const {
    const int64_t H = task_.heads;
    gather_terms(block, other_, H, s);
    add_terms(task_, block, own_row_, s);
    leaky_relu(s, A(task_.call.slope), H * LANES, s);
  }

 private:
  const Task<T>& task_;
  Rows<T> own_, other_;
  const T* own_row_ = nullptr;
};

// By source, in the backward: own is score_src, and the targets' terms come with their statistics.
// Sums the source's gradient, and hands each edge's on to its target through `passed` [edges, H].
template <class T>
class AdditiveGradient {
  using A = Arithmetic<T>;

 public:
  // scratch: 2 * heads * LANES; passed[0] is the edge at position `first`, null: not wanted.
  AdditiveGradient(const Task<T>& task, Rows<T> own, A* scratch, A* passed, int64_t first)
      : task_(task),
        own_(own),
        z_(scratch),
        sum_(scratch + task.heads * LANES),
        passed_(passed),
        first_(first) {}

  void targets(const A* term) { term_ = term; }

  void begin(int64_t row) {
    own_row_ = own_[row];
    for (int64_t k = 0; k < task_.heads * LANES; ++k) sum_[k] = 0;
  }

  void scores(const Block& block, A* s) const {
    const int64_t count = task_.heads * LANES;
    for (int64_t k = 0; k < count; ++k) z_[k] = term_[k];
    add_terms(task_, block, own_row_, z_);
    leaky_relu(z_, A(task_.call.slope), count, s);
  }

  void pull(const Block& block, const A* gradient) const {
    const int64_t H = task_.heads;
    const A slope = A(task_.call.slope);
    T* grad_edge = static_cast<T*>(task_.call.grad_edge);
    for (int64_t h = 0; h < H; ++h) {
      A dz[LANES];
      for (int k = 0; k < LANES; ++k) {
        const int64_t at = h * LANES + k;
        const A rate = z_[at] > 0 ? A(1) : slope;
        // A sum cut to the largest number does not move.
        dz[k] = is_cut<A>(z_[at]) ? A(0) : gradient[at] * rate;
        sum_[at] += dz[k];
      }
      if (passed_)
        for (int k = 0; k < block.n; ++k) passed_[(block.first - first_ + k) * H + h] = dz[k];
      if (grad_edge)
        for (int k = 0; k < block.n; ++k) narrow(dz[k], grad_edge[task_.at(block.number[k], h)]);
    }
  }

  void end(int64_t row, A*) const {
    T* grad_source = static_cast<T*>(task_.call.grad_key);
    if (grad_source == nullptr) return;
    for (int64_t h = 0; h < task_.heads; ++h)
      narrow(sum_of(sum_ + h * LANES), grad_source[row * task_.heads + h]);
  }

 private:
  const Task<T>& task_;
  Rows<T> own_;
  const T* own_row_ = nullptr;
  const A* term_ = nullptr;
  A *z_, *sum_, *passed_;
  int64_t first_;
};

}  // namespace gat::GAT_ISA
