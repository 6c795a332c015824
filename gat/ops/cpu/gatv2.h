// GATv2's score, att . activation(query_i + key_j + edge_e) (gat/ops/reference.py, `gatv2`).
//
// The sum is symmetric, so one class serves both walks: by target, own is the query and other the
// key; by source the reverse. Where keys are the values too, their gradients are summed.
#pragma once
#include "walk.h"

namespace gat::GAT_ISA {

template <class T, class I, int C0, bool BySource>
class GATv2Score {
  using A = Arithmetic<T>;

 public:
  // scratch: 3 * heads * key_channels; att: widened; grad_att: of this part, by target only.
  GATv2Score(const Task<T, I>& task, const A* att, A* scratch, A* grad_att)
      : task_(task),
        K_{task.call.key_channels},
        size_(task.heads * K_),
        key_(rows_of<T>(task.call.key, size_)),
        query_(rows_of<T>(task.call.query, size_)),
        edge_(static_cast<const T*>(task.call.edge)),
        att_(att),
        own_(scratch),
        grad_(own_ + size_),
        grad_att_(grad_att) {}

  static int64_t scratch_size(const Call& call) { return 2 * call.heads * call.key_channels; }

  bool meets_values() const { return !BySource && task_.call.key == task_.call.value; }
  void targets(const A*) const {}

  void begin(int64_t row) {
    const T* from = (BySource ? key_ : query_)[row];
    for (int64_t c = 0; c < size_; ++c) own_[c] = widen(from[c]);
    for (int64_t c = 0; c < size_; ++c) grad_[c] = 0;
  }

  void scores(const Block<I>& block, A* s) const {
    const Ends<T> ends(block, BySource ? query_ : key_);
    for (int64_t h = 0; h < task_.heads; ++h)
      for (int k = 0; k < block.n; ++k) {
        ends.prefetch_next(k, h * K_, K_);
        Dot<A> dot;
        for_hidden(block, ends, h, k, [&](int64_t c, auto piece, auto hidden) {
          constexpr int W = decltype(piece)::width;
          dot.template add<W>(load<W>(att_ + c) * activate<W>(hidden));
        });
        s[h * LANES + k] = finite<T>(dot.value());
      }
  }

  void pull(const Block<I>& block, const A* gradient) const {
    const Ends<T> ends(block, BySource ? query_ : key_, false);
    T* grad_edge = BySource ? nullptr : static_cast<T*>(task_.call.grad_edge);
    for (int64_t h = 0; h < task_.heads; ++h)
      for (int k = 0; k < block.n; ++k) {
        const A ds = gradient[h * LANES + k];
        T* to = grad_edge ? grad_edge + task_.at(block.number[k], h, K_) - h * K_ : nullptr;
        for_hidden(block, ends, h, k, [&](int64_t c, auto piece, auto hidden) {
          constexpr int W = decltype(piece)::width;
          const auto active = activate<W>(hidden);
          const auto moved = ds * rate<W>(hidden, active);
          add_to<W>(grad_ + c, moved);
          if constexpr (!BySource) add_to<W>(grad_att_ + c, ds * active);
          if (to) store<W>(moved * load<W>(att_ + c), to + c);
        });
      }
  }

  // The factor att is common to all of a row's edges.
  void end(int64_t row) const {
    T* to = static_cast<T*>(task_.call.grad_query);
    if (to)
      for (int64_t c = 0; c < size_; ++c) narrow(grad_[c] * att_[c], to[row * size_ + c]);
  }
  void end(int64_t row, A* sum) const {
    T* to = static_cast<T*>(task_.call.grad_key);
    for (int64_t c = 0; c < size_; ++c)
      if (to)
        narrow(grad_[c] * att_[c], to[row * size_ + c]);
      else if (sum)
        sum[c] += grad_[c] * att_[c];
  }

 private:
  // body(c, piece, own + other + edge) over the channels of one head and edge, c within [H * K].
  template <class Body>
  void for_hidden(const Block<I>& block, const Ends<T>& ends, int64_t h, int k,
                  const Body& body) const {
    const int64_t start = h * K_;
    const T* other = ends.row[k];
    const T* edge = edge_ ? edge_ + task_.at(block.number[k], h, K_) - start : nullptr;
    for_pieces<A>(K_, [&](int64_t piece_start, auto piece) {
      constexpr int W = decltype(piece)::width;
      const int64_t c = start + piece_start;
      auto hidden = load<W>(own_ + c) + load<W>(other + c);
      if (edge) hidden += load<W>(edge + c);
      body(c, piece, hidden);
    });
  }

  template <int W>
  Vec<A, W> activate(Vec<A, W> x) const {
    if (task_.call.activation == TANH) {
      A lanes[W];
      std::memcpy(lanes, &x, sizeof x);
      for (int k = 0; k < W; ++k) lanes[k] = tanh_of(lanes[k]);
      return load<W>(lanes);
    }
    const Vec<A, W> low = x * A(task_.call.slope);
    return x > 0 ? x : low;
  }

  // The activation's derivative.
  template <int W>
  Vec<A, W> rate(Vec<A, W> x, Vec<A, W> active) const {
    if (task_.call.activation == TANH) return 1 - active * active;
    const Vec<A, W> one = x * 0 + 1, low = x * 0 + A(task_.call.slope);
    return x > 0 ? one : low;
  }

  const Task<T, I>& task_;
  Width<C0> K_;
  int64_t size_;
  Rows<T> key_, query_;
  const T* edge_;
  const A* att_;
  A *own_, *grad_, *grad_att_;
};

// att widened once, and a sum of its gradient for each part, so that threads share none.
template <class T, class I, int C0>
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

  int64_t scratch_size() const { return GATv2Score<T, I, C0, false>::scratch_size(call_); }

  template <bool BySource>
  GATv2Score<T, I, C0, BySource> make(const Task<T, I>& task, int part, A* scratch) const {
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
