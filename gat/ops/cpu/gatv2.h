// GATv2's score, att . activation(query_i + key_j + edge_e) (gat/ops/reference.py, `gatv2`).
//
// The sum is symmetric, so one class serves both walks: by target, own is the query and other the
// key; by source the reverse. Where keys are the values too (one pointer, and no grad_key of their
// own), their gradients are summed.
#pragma once
#include "walk.h"

namespace gat::GAT_ISA {

template <class T, int C0, bool BySource, Activation F>
class GATv2Score {
  using A = Arithmetic<T>;

 public:
  // scratch: 2 * heads * key_channels; att: widened; grad_att: of this part, by target only.
  GATv2Score(const Task<T>& task, const A* att, A* scratch, A* grad_att)
      : task_(task),
        K_{task.call.key_channels},
        size_(task.heads * K_),
        slope_(A(task.call.slope)),
        key_(rows_of<T>(task.call.key, size_)),
        query_(rows_of<T>(task.call.query, size_)),
        edge_(static_cast<const T*>(task.call.edge)),
        att_(att),
        own_(scratch),
        grad_(own_ + size_),
        grad_att_(grad_att) {}

  // Keys are the values, but for the rare value of its own.
  static constexpr bool MEETS_VALUES = !BySource;
  static int64_t scratch_size(const Call& call) { return 2 * call.heads * call.key_channels; }

  void targets(const A*) const {}

  void begin(int64_t row) {
    const T* from = (BySource ? key_ : query_)[row];
    for (int64_t c = 0; c < size_; ++c) own_[c] = widen(from[c]);
    for (int64_t c = 0; c < size_; ++c) grad_[c] = 0;
  }

  void scores(const Block& block, A* s) const {
    const Ends<T> ends(block, BySource ? query_ : key_);
    for (int64_t h = 0; h < task_.heads; ++h)
      for_quads(block, ends, h, [&](int k, const auto& edges) { score(edges, h, s + h * LANES + k); });
  }

  void pull(const Block& block, const A* gradient) const {
    const Ends<T, false> ends(block, BySource ? query_ : key_);
    for (int64_t h = 0; h < task_.heads; ++h)
      for_quads(block, ends, h, [&](int k, const auto& edges) {
        pull_some(block, edges, h, k, gradient + h * LANES + k);
      });
  }

  // The factor att is common to all of a row's edges.
  void end(int64_t row) const {
    T* to = static_cast<T*>(task_.call.grad_query);
    if (to)
      for (int64_t c = 0; c < size_; ++c) narrow(grad_[c] * att_[c], to[row * size_ + c]);
  }
  void end(int64_t row, A* sum) const {
    const Call& call = task_.call;
    T* to = static_cast<T*>(call.grad_key);
    const bool shared = call.key == call.value && sum;
    for (int64_t c = 0; c < size_ && (to || shared); ++c)
      if (to)
        narrow(grad_[c] * att_[c], to[row * size_ + c]);
      else
        sum[c] += grad_[c] * att_[c];
  }

 private:
  // The other ends and the edge terms of N edges, from one head's first channel on.
  template <int N>
  struct Some {
    static constexpr int count = N;
    const T *other[N], *edge[N];

    template <int W>
    Vec<A, W> hidden(int q, int64_t c, Vec<A, W> own) const {
      const Vec<A, W> sum = own + load<W>(other[q] + c);
      return edge[q] ? sum + load<W>(edge[q] + c) : sum;
    }
  };

  template <bool Ask, class Body>
  void for_quads(const Block& block, const Ends<T, Ask>& ends, int64_t h, const Body& body) const {
    int k = 0;
    for (; k + QUAD <= block.n; k += QUAD) body(k, some<QUAD>(block, ends, h, k));
    for (; k < block.n; ++k) body(k, some<1>(block, ends, h, k));
  }

  template <int N, bool Ask>
  Some<N> some(const Block& block, const Ends<T, Ask>& ends, int64_t h, int k) const {
    Some<N> edges;
    for (int q = 0; q < N; ++q) {
      ends.prefetch_next(k + q, h * K_, K_);
      edges.other[q] = ends.row[k + q] + h * K_;
      edges.edge[q] = edge_ ? edge_ + task_.at(block.number[k + q], h, K_) : nullptr;
    }
    return edges;
  }

  template <int N>
  void score(const Some<N>& edges, int64_t h, A* s) const {
    const A *own = own_ + h * K_, *att = att_ + h * K_;
    Dot<A> dots[N];
    for_pieces<A>(K_, [&](int64_t c, auto piece) {
      constexpr int W = decltype(piece)::width;
      const auto mine = load<W>(own + c), factor = load<W>(att + c);
#pragma GCC unroll 4
      for (int q = 0; q < N; ++q) {
        const auto hidden = edges.template hidden<W>(q, c, mine);
        dots[q].template add<W>(factor, activate<W>(hidden));
      }
    });
#pragma GCC unroll 4
    for (int q = 0; q < N; ++q) s[q] = finite(dots[q].value());
  }

  template <int N>
  void pull_some(const Block& block, const Some<N>& edges, int64_t h, int k,
                 const A* gradient) const {
    const A* own = own_ + h * K_;
    A *grad = grad_ + h * K_, *grad_att = BySource ? nullptr : grad_att_ + h * K_;
    T* grad_edge = BySource ? nullptr : static_cast<T*>(task_.call.grad_edge);
    for_pieces<A>(K_, [&](int64_t c, auto piece) {
      constexpr int W = decltype(piece)::width;
      const auto mine = load<W>(own + c);
      Vec<A, W> sum = {}, sum_att = {};
#pragma GCC unroll 4
      for (int q = 0; q < N; ++q) {
        const auto hidden = edges.template hidden<W>(q, c, mine);
        const auto active = activate<W>(hidden);
        const auto moved = gradient[q] * rate<W>(hidden, active);
        sum += moved;
        if constexpr (!BySource) sum_att += gradient[q] * active;
        if (grad_edge) {
          T* to = grad_edge + task_.at(block.number[k + q], h, K_);
          store<W>(moved * load<W>(att_ + h * K_ + c), to + c);
        }
      }
      add_to<W>(grad + c, sum);
      if constexpr (!BySource) add_to<W>(grad_att + c, sum_att);
    });
  }

  template <int W>
  Vec<A, W> activate(Vec<A, W> x) const {
    if constexpr (F == TANH) {
      A lanes[W];
      std::memcpy(lanes, &x, sizeof x);
      for (int k = 0; k < W; ++k) lanes[k] = tanh_of(lanes[k]);
      return load<W>(lanes);
    } else {
      const Vec<A, W> low = x * slope_;
      return x > 0 ? x : low;
    }
  }

  // The activation's derivative.
  template <int W>
  Vec<A, W> rate(Vec<A, W> x, Vec<A, W> active) const {
    if constexpr (F == TANH) return 1 - active * active;
    const Vec<A, W> one = Vec<A, W>{} + 1, low = Vec<A, W>{} + slope_;
    return x > 0 ? one : low;
  }

  const Task<T>& task_;
  Width<C0> K_;
  int64_t size_;
  A slope_;
  Rows<T> key_, query_;
  const T* edge_;
  const A* att_;
  A *own_, *grad_, *grad_att_;
};

// att widened once, and a sum of its gradient for each part, so that threads share none.
template <class T, int C0, Activation F>
class GATv2Maker {
  using A = Arithmetic<T>;

 public:
  GATv2Maker(const Call& call, int parts)
      : call_(call),
        size_(call.heads * call.key_channels),
        parts_(parts),
        att_(size_),
        grad_att_(parts * size_) {
    const T* att = static_cast<const T*>(call.att);
    for (int64_t c = 0; c < size_; ++c) att_.get()[c] = widen(att[c]);
    for (int64_t c = 0; c < parts * size_; ++c) grad_att_.get()[c] = 0;
  }

  int64_t scratch_size() const { return GATv2Score<T, C0, false, F>::scratch_size(call_); }

  template <bool BySource>
  GATv2Score<T, C0, BySource, F> make(const Task<T>& task, int part, A* scratch) const {
    return {task, att_.get(), scratch, parts_ ? grad_att_.get() + part * size_ : nullptr};
  }

  // In the parts' order, whichever thread computed them.
  void sum_parts() const {
    T* to = static_cast<T*>(call_.grad_att);
    for (int64_t c = 0; to && c < size_; ++c) {
      A sum = 0;
      for (int part = 0; part < parts_; ++part) sum += grad_att_.get()[part * size_ + c];
      narrow(sum, to[c]);
    }
  }

 private:
  const Call& call_;
  int64_t size_;
  int parts_;
  Buffer<A> att_, grad_att_;
};

}  // namespace gat::GAT_ISA
