// Additive attention (GAT): forward with one gather of the values, backward with one of grad_out.
#include "additive.h"

#include "by_edge.h"
#include "kernels.h"
#include "operators.h"

namespace gat::GAT_ISA {
namespace {

// Windows of sources, so that the edges' gradients wait for their targets in cache, not in memory.
constexpr int64_t WINDOW_BYTES = 16 << 20;
constexpr int64_t MOST_WINDOWS = 16;

inline int windows_for(int64_t bytes) {
  const int64_t windows = (bytes + WINDOW_BYTES - 1) / WINDOW_BYTES;
  return int(windows < 1 ? 1 : windows > MOST_WINDOWS ? MOST_WINDOWS : windows);
}

template <class T, int C0>
void forward(const Call& call) {
  using A = Arithmetic<T>;
  const Edges edges(call.by_target, call.index);
  const Task<T> task(call);
  const int64_t H = call.heads, C = call.value_channels;
  const Rows<T> source = rows_of<T>(call.key, H), target = rows_of<T>(call.query, H);
  const AdditiveScore<T> score(task, target, source);
  const Scratch<A> scratch(int(call.threads), H * (2 * LANES + 1 + C));
  const int parts = parts_for((edges.count() + edges.rows) * H * (C + HEAD_WORK));
  for_parts(parts, int(call.threads), [&](int part, int thread) {
    const Range rows = share(edges, part, parts);
    A* own = scratch.of(thread);
    switch (H) {
      case 8:
        forward_by_edge<8, C0>(task, edges, target, source, rows, own);
        if (call.weights) weights_by_edge<8>(task, edges, target, source, rows);
        break;
      case 4:
        forward_by_edge<4, C0>(task, edges, target, source, rows, own);
        if (call.weights) weights_by_edge<4>(task, edges, target, source, rows);
        break;
      default:
        forward_rows<C0>(task, edges, score, rows, own);
        if (call.weights) write_weights(task, edges, score, rows, own);
    }
  });
}

// The targets' gradients, summed over the windows; nothing where no score_dst is given.
template <class T>
class Collected {
  using A = Arithmetic<T>;

 public:
  Collected(const Call& call, const Edges& edges, int64_t most)
      : edges_(edges),
        heads_(call.heads),
        wanted_(call.grad_query != nullptr),
        transposed_(call.transposed),
        grad_(static_cast<T*>(call.grad_query)),
        passed_(wanted_ ? most * heads_ : 0),
        sums_(wanted_ ? edges.rows * heads_ : 0),
        cursor_(wanted_ ? edges.rows : 0) {}

  A* passed() const { return passed_.get(); }

  // After the window of edges [first, last) by source.
  void add(int64_t first, int64_t last, bool is_first, bool is_last, int parts, int threads) const {
    if (!wanted_) return;
    for_parts(parts, threads, [&](int part, int) {
      const Range rows = share(edges_, part, parts);
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        A* sum = sums_.get() + row * heads_;
        if (is_first) start(row, sum);
        collect(row, first, last, sum);
        for (int64_t h = 0; is_last && h < heads_; ++h) narrow(sum[h], grad_[row * heads_ + h]);
      }
    });
  }

 private:
  void start(int64_t row, A* sum) const {
    cursor_.get()[row] = edges_.start(row);
    for (int64_t h = 0; h < heads_; ++h) sum[h] = 0;
  }

  // A target's edges are sorted by source: each window continues where the former stopped.
  void collect(int64_t row, int64_t first, int64_t last, A* sum) const {
    int64_t edge = cursor_.get()[row];
    for (const int64_t end = edges_.start(row + 1); edge < end; ++edge) {
      const int64_t position = edges_.at(transposed_, edge);
      if (position >= last) break;
      const A* from = passed_.get() + (position - first) * heads_;
      for (int64_t h = 0; h < heads_; ++h) sum[h] += from[h];
    }
    cursor_.get()[row] = edge;
  }

  const Edges& edges_;
  int64_t heads_;
  bool wanted_;
  const void* transposed_;
  T* grad_;
  Buffer<A> passed_, sums_;
  Buffer<int64_t> cursor_;
};

template <class T, int C0>
void backward(const Call& call) {
  using A = Arithmetic<T>;
  const Edges edges(call.by_target, call.index), back(call.by_source, call.index);
  const Task<T> task(call);
  const int64_t H = call.heads, C = call.value_channels;
  const int threads = int(call.threads);
  const int parts = parts_for((edges.count() + edges.rows) * H * (C + HEAD_WORK));
  const Rows<T> source = rows_of<T>(call.key, H), target = rows_of<T>(call.query, H);
  const Scratch<A> scratch(threads, H * (9 * LANES + 2 * C));
  const Buffer<A> room(edges.rows * Targets<A>::KINDS * H);
  const Targets<A> targets{room.get(), H};
  for_parts(parts, threads, [&](int part, int thread) {
    const Range rows = share(edges, part, parts);
    fill_targets(task, target, rows, targets);
    if (call.grad_weights)
      add_weight_deltas(task, edges, AdditiveScore<T>(task, target, source), rows,
                        targets, scratch.of(thread));
  });

  const int windows = windows_for(back.count() * H * int64_t(sizeof(A)));
  const auto window = [&](int w) {
    const Range rows = share(back, w, windows);
    return Range{back.start(rows.begin), back.start(rows.end)};
  };
  int64_t most = 0;
  for (int w = 0; w < windows; ++w) most = larger(most, window(w).end - window(w).begin);
  const Collected<T> collected(call, edges, most);
  for (int w = 0; w < windows; ++w) {
    const auto [first, last] = window(w);
    for_parts(parts, threads, [&, first = first](int part, int thread) {
      // Parts of a window are parts of the whole, cut finer.
      const Range rows = share(back, w * parts + part, windows * parts);
      A* own = scratch.of(thread);
      const AdditiveGradient<T> score(task, source, own, collected.passed(), first);
      A* passed = collected.passed();
      switch (H) {
        case 8:
          backward_by_edge<8, C0>(task, back, source, targets, rows, own, passed, first);
          break;
        case 4:
          backward_by_edge<4, C0>(task, back, source, targets, rows, own, passed, first);
          break;
        default:
          backward_sources<C0>(task, back, score, targets, rows, own + 2 * H * LANES);
      }
    });
    collected.add(first, last, w == 0, w + 1 == windows, parts, threads);
  }
}

struct Forward {
  template <class T, int C0>
  static void run(const Call& call) {
    forward<T, C0>(call);
  }
};
struct Backward {
  template <class T, int C0>
  static void run(const Call& call) {
    backward<T, C0>(call);
  }
};

}  // namespace

void additive_forward(const Call& call) { dispatch<Forward>(call); }
void additive_backward(const Call& call) { dispatch<Backward>(call); }

}  // namespace gat::GAT_ISA
