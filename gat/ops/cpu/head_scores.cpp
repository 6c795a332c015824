// GAT's scores of nodes (gat/nn/head_scores.py): for each head the product of a node's channels
// with a vector, or with each of two in one visit.
//
// Of `Call`: `by_target.rows` nodes of `value` [N, H, C]; the vectors `key` and `query` [H, C],
// which give what an edge's source and target add to its score, `out` and `weights` [N, H]. In the
// backward those have grad_out and grad_weights. Without `query` there is but one of each.
#include "kernels.h"
#include "operators.h"

namespace gat::GAT_ISA {
namespace {

// What a score costs besides its channels, in multiplications.
constexpr int64_t SCORE_WORK = 8;

// No more than nodes: each has sums as large as the vectors.
int parts_of(const Call& call, int vectors) {
  const int64_t scores = call.by_target.rows * call.heads * vectors;
  const int parts = parts_for(scores * (call.value_channels + SCORE_WORK));
  return int(smaller<int64_t>(parts, larger<int64_t>(call.by_target.rows, 1)));
}

// body(part, nodes) for every part.
template <class Body>
void for_nodes(const Call& call, int parts, const Body& body) {
  const int64_t count = call.by_target.rows, each = (count + parts - 1) / parts;
  for_parts(parts, int(call.threads), [&](int part, int) {
    body(part, Range{part * each, smaller((part + 1) * each, count)});
  });
}

// V vectors, whose number and width are known to the compiler.
template <class T, int C0, int V>
class HeadScores {
  using A = Arithmetic<T>;

 public:
  explicit HeadScores(const Call& call)
      : call_(call),
        C_{call.value_channels},
        H_(call.heads),
        value_(static_cast<const T*>(call.value)),
        vectors_{static_cast<const T*>(call.key), static_cast<const T*>(call.query)} {}

  void forward() const {
    T* const to[] = {static_cast<T*>(call_.out), static_cast<T*>(call_.weights)};
    for_nodes(call_, parts_of(call_, V), [&](int, Range nodes) {
      for (int64_t node = nodes.begin; node < nodes.end; ++node)
        for (int64_t h = 0; h < H_; ++h) score(node * H_ + h, h, to);
    });
  }

  void backward() const {
    const int parts = parts_of(call_, V);
    const int64_t size = V * H_ * C_;
    const Buffer<A> sums(parts * size);
    for_nodes(call_, parts, [&](int part, Range nodes) {
      A* sum = sums.get() + part * size;
      for (int64_t k = 0; k < size; ++k) sum[k] = 0;
      int64_t node = nodes.begin;
      for (; node + QUAD <= nodes.end; node += QUAD)
        for (int64_t h = 0; h < H_; ++h) pull<QUAD>(node, h, sum);
      for (; node < nodes.end; ++node)
        for (int64_t h = 0; h < H_; ++h) pull<1>(node, h, sum);
    });
    add_parts(parts, sums.get());
  }

 private:
  void score(int64_t at, int64_t h, T* const* to) const {
    const T* row = value_ + at * C_;
    Dot<A> dots[V];
    for_pieces<A>(C_, [&](int64_t c, auto piece) {
      constexpr int W = decltype(piece)::width;
      const auto x = load<W>(row + c);
      for (int v = 0; v < V; ++v)
        dots[v].template add<W>(load<W>(vectors_[v] + h * C_ + c), x);
    });
    for (int v = 0; v < V; ++v) narrow(dots[v].value(), to[v][at]);
  }

  // Of N nodes at once, so that sums are loaded and stored once for them.
  template <int N>
  void pull(int64_t node, int64_t h, A* sum) const {
    T* grad_value = static_cast<T*>(call_.grad_value);
    const void* const grads[] = {call_.grad_out, call_.grad_weights};
    A g[V][N];
    for (int v = 0; v < V; ++v)
      for (int q = 0; q < N; ++q)
        g[v][q] = widen(static_cast<const T*>(grads[v])[(node + q) * H_ + h]);
    for_pieces<A>(C_, [&](int64_t c, auto piece) {
      constexpr int W = decltype(piece)::width;
      Vec<A, W> sums[V] = {}, vectors[V];
      for (int v = 0; v < V; ++v) vectors[v] = load<W>(vectors_[v] + h * C_ + c);
#pragma GCC unroll 4
      for (int q = 0; q < N; ++q) {
        const int64_t at = ((node + q) * H_ + h) * C_ + c;
        const auto x = load<W>(value_ + at);
        Vec<A, W> grad = {};
        for (int v = 0; v < V; ++v) {
          sums[v] += g[v][q] * x;
          grad += g[v][q] * vectors[v];
        }
        if (grad_value) store<W>(grad, grad_value + at);
      }
      for (int v = 0; v < V; ++v) add_to<W>(sum + (v * H_ + h) * C_ + c, sums[v]);
    });
  }

  // In the parts' order, whichever thread computed them.
  void add_parts(int parts, const A* sums) const {
    T* const to[] = {static_cast<T*>(call_.grad_key), static_cast<T*>(call_.grad_query)};
    const int64_t size = H_ * C_;
    for (int v = 0; v < V; ++v)
      for (int64_t k = 0; to[v] && k < size; ++k) {
        A sum = 0;
        for (int part = 0; part < parts; ++part) sum += sums[(part * V + v) * size + k];
        narrow(sum, to[v][k]);
      }
  }

  const Call& call_;
  Width<C0> C_;
  int64_t H_;
  const T* value_;
  const T* vectors_[2];
};

// How many vectors there are is told by a pointer that counts here: of what is empty it is null, as
// `query` is without channels, and `weights` without nodes.
struct Forward {
  template <class T, int C0>
  static void run(const Call& call) {
    call.weights ? HeadScores<T, C0, 2>(call).forward() : HeadScores<T, C0, 1>(call).forward();
  }
};

struct Backward {
  template <class T, int C0>
  static void run(const Call& call) {
    call.query ? HeadScores<T, C0, 2>(call).backward() : HeadScores<T, C0, 1>(call).backward();
  }
};

}  // namespace

void head_scores_forward(const Call& call) { dispatch<Forward>(call); }
void head_scores_backward(const Call& call) { dispatch<Backward>(call); }

}  // namespace gat::GAT_ISA
