// Scaled dot products, scale * query_i . (key_j + edge_key_e) (gat/ops/reference.py, `dot`).
//
// By target, own is the query and other the key; by source the reverse.
#pragma once
#include "walk.h"

namespace gat::GAT_ISA {

template <class T, int C0, bool BySource>
class DotScore {
  using A = Arithmetic<T>;

 public:
  // scratch: 2 * heads * key_channels.
  DotScore(const Task<T>& task, A* scratch)
      : task_(task),
        K_{task.call.key_channels},
        size_(task.heads * K_),
        key_(rows_of<T>(task.call.key, size_)),
        query_(rows_of<T>(task.call.query, size_)),
        edge_(static_cast<const T*>(task.call.edge)),
        own_(scratch),
        grad_(own_ + size_) {}

  // Keys and values are seldom one.
  static constexpr bool MEETS_VALUES = false;
  static int64_t scratch_size(const Call& call) { return 2 * call.heads * call.key_channels; }

  void targets(const A*) const {}

  void begin(int64_t row) {
    const T* from = (BySource ? key_ : query_)[row];
    for (int64_t c = 0; c < size_; ++c) own_[c] = widen(from[c]);
    for (int64_t c = 0; c < size_; ++c) grad_[c] = 0;
  }

  void scores(const Block& block, A* s) const {
    const Ends<T> ends(block, BySource ? query_ : key_);
    for (int64_t h = 0; h < task_.heads; ++h, s += LANES) {
      meet_rows<false>(block.n, own_ + h * K_, s, ends, h * K_, K_, s, NONE<A>);
      if (edge_)
        for (int k = 0; k < block.n; ++k) s[k] += edge_part(block, ends, h, k);
      for (int k = 0; k < LANES; ++k) s[k] = finite(s[k] * A(task_.call.scale));
    }
  }

  void pull(const Block& block, const A* gradient) const {
    const Ends<T, false> ends(block, BySource ? query_ : key_);
    for (int64_t h = 0; h < task_.heads; ++h) {
      A ds[LANES];
      for (int k = 0; k < LANES; ++k) ds[k] = gradient[h * LANES + k] * A(task_.call.scale);
      add_rows(block.n, ds, ends, h * K_, K_, grad_ + h * K_);
      if (!BySource && edge_) pull_edges(block, h, ds);
    }
  }

  void end(int64_t row) const { finish(task_.call.grad_query, row); }
  void end(int64_t row, A*) const { finish(task_.call.grad_key, row); }

 private:
  const T* edge_of(const Block& block, int64_t h, int k) const {
    return edge_ + task_.at(block.number[k], h, K_);
  }

  // query . edge_key: the query is own by target, other by source.
  A edge_part(const Block& block, const Ends<T>& ends, int64_t h, int k) const {
    const T* edge = edge_of(block, h, k);
    Dot<A> dot;
    for_pieces<A>(K_, [&](int64_t c, auto piece) {
      constexpr int W = decltype(piece)::width;
      const auto query = BySource ? load<W>(ends.row[k] + h * K_ + c) : load<W>(own_ + h * K_ + c);
      dot.template add<W>(query, load<W>(edge + c));
    });
    return dot.value();
  }

  void pull_edges(const Block& block, int64_t h, const A* ds) const {
    T* grad_edge = static_cast<T*>(task_.call.grad_edge);
    for (int k = 0; k < block.n; ++k) {
      const T* edge = edge_of(block, h, k);
      T* to = grad_edge ? grad_edge + task_.at(block.number[k], h, K_) : nullptr;
      for_pieces<A>(K_, [&](int64_t c, auto piece) {
        constexpr int W = decltype(piece)::width;
        add_to<W>(grad_ + h * K_ + c, ds[k] * load<W>(edge + c));
        if (to) store<W>(ds[k] * load<W>(own_ + h * K_ + c), to + c);
      });
    }
  }

  void finish(void* gradient, int64_t row) const {
    T* to = static_cast<T*>(gradient);
    if (to)
      for (int64_t c = 0; c < size_; ++c) narrow(grad_[c], to[row * size_ + c]);
  }

  const Task<T>& task_;
  Width<C0> K_;
  int64_t size_;
  Rows<T> key_, query_;
  const T* edge_;
  A *own_, *grad_;
};

template <class T, int C0>
struct DotMaker {
  const Call& call;

  int64_t scratch_size() const { return DotScore<T, C0, false>::scratch_size(call); }

  template <bool BySource>
  DotScore<T, C0, BySource> make(const Task<T>& task, int, Arithmetic<T>* scratch) const {
    return {task, scratch};
  }
};

}  // namespace gat::GAT_ISA
