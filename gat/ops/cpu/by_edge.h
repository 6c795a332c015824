// Additive attention of few heads, a block's numbers edge after edge: [edges][H]. A vector of LANES
// then holds LANES / H edges, where walk.h's hold one head of LANES edges: rows shorter than that
// leave no lanes empty, terms are read as they lie, and no sum runs across lanes but at a row's end.
#pragma once
#include "additive.h"
#include "operators.h"

namespace gat::GAT_ISA {

template <class T, int H>
class ByEdge {
  using A = Arithmetic<T>;
  static_assert(LANES % H == 0, "vectors hold whole edges");
  static_assert(H * QUAD >= LANES, "a block's rows are all asked for");
  static constexpr int EDGES = LANES / H;

 public:
  // Numbers of a block: LANES edges of H heads.
  static constexpr int64_t COUNT = LANES * H;

  explicit ByEdge(const Task<T>& task)
      : task_(task),
        slope_(A(task.call.slope)),
        edges_(static_cast<const T*>(task.call.edge)) {}

  // Entries of the vectors that hold n edges.
  static int64_t filled(int n) { return (n + EDGES - 1) / EDGES * LANES; }

  // A row's H numbers, once for each edge of a vector; zeros without any.
  template <class From>
  static void tile(const From* from, A* lanes) {
    for (int l = 0; l < LANES; ++l) lanes[l] = from ? A(widen(from[l % H])) : A(0);
  }

  // combine over the edges of a vector, for each head; all edges then hold the result.
  template <class Combine>
  static void across(A* lanes, const Combine& combine) {
    for (int step = LANES / 2; step >= H; step /= 2) {
      A other[LANES];
      for (int l = 0; l < LANES; ++l) other[l] = lanes[l ^ step];
      for (int l = 0; l < LANES; ++l) lanes[l] = combine(lanes[l], other[l]);
    }
  }

  // z: the other ends' terms when called, then the sums; s: their scores. See additive.h.
  void scores(const Block& block, const A* own, A* z, A* s) const {
    const int64_t n = int64_t(block.n) * H, all = filled(block.n);
    for (int64_t at = n; at < all; ++at) z[at] = -INFINITE<A>;
    for (int64_t at = 0; at < all; at += LANES) {
      A edge[LANES] = {};
      if (edges_) edge_terms(block, at, edge);
      for (int l = 0; l < LANES; ++l) {
        const A lowest = smaller(smaller(own[l], z[at + l]), edge[l]);
        const A sum = finite(own[l] + z[at + l] + edge[l]);
        z[at + l] = lowest == -INFINITE<A> ? lowest : sum;
      }
    }
    leaky_relu(z, slope_, all, s);
  }

  void keep(const Block& block, A* kept) const {
    if (!task_.dropout.threshold) {
      for (int64_t at = 0; at < COUNT; ++at) kept[at] = 1;
      return;
    }
    Vec<int64_t, H> heads;
    for (int h = 0; h < H; ++h) heads[h] = h;
    for (int64_t at = 0; at < filled(block.n); at += LANES) {
      int64_t entry[LANES];
      for (int e = 0; e < EDGES; ++e) {
        const Vec<int64_t, H> entries = heads + block.number[at / H + e] * H;
        std::memcpy(entry + e * H, &entries, sizeof entries);
      }
      task_.dropout.keep(entry, 1, 0, kept + at);
    }
  }

  void store_weights(int n, const int64_t* number, const A* w) const {
    T* weights = static_cast<T*>(task_.call.weights);
    for (int k = 0; k < n; ++k)
      for (int h = 0; h < H; ++h) narrow(w[k * H + h], weights[task_.at(number[k], h)]);
  }

 private:
  // Of the vector that begins at `at`.
  void edge_terms(const Block& block, int64_t at, A* edge) const {
    const int first = int(at / H);
    for (int k = first; k < block.n && k < first + EDGES; ++k)
      for (int h = 0; h < H; ++h)
        edge[(k - first) * H + h] = widen(edges_[task_.at(block.number[k], h)]);
  }

  const Task<T>& task_;
  A slope_;
  const T* edges_;
};

// The highest scores so far, a block's included; what was summed before is scaled down to them.
template <int H, class A, class Width>
void raise_top(const A* s, int64_t all, A* top, A* total, A* sum, Width C) {
  A high[LANES];
  for (int l = 0; l < LANES; ++l) high[l] = top[l];
  for (int64_t at = 0; at < all; at += LANES)
    for (int l = 0; l < LANES; ++l) high[l] = larger(high[l], s[at + l]);
  ByEdge<A, H>::across(high, [](A a, A b) { return larger(a, b); });
  bool summed = false, grew = false;
  for (int h = 0; h < H; ++h) summed |= top[h] > -INFINITE<A>, grew |= high[h] > top[h];
  if (summed && grew) {
    A shrink[LANES];
    for (int l = 0; l < LANES; ++l) {
      const A less = exp_negative(top[l] - high[l]);
      shrink[l] = high[l] > top[l] ? less : A(1);
      total[l] *= shrink[l];
    }
    for (int h = 0; h < H; ++h)
      for (int64_t c = 0; c < C; ++c) sum[h * C + c] *= shrink[h];
  }
  for (int l = 0; l < LANES; ++l) top[l] = high[l];
}

// Whether a row's exponentials are all at hand when its sum is known.
inline bool in_one_block(const Edges& edges, int64_t row) {
  return edges.start(row + 1) - edges.start(row) <= LANES;
}

// own: score_dst (null: none); other: score_src. scratch: [H * C]. Of rows in one block it also
// writes the weights, if they are asked for; of the others `weights_by_edge` does.
template <int H, int C0, class T>
void forward_by_edge(const Task<T>& task, const Edges& edges, Rows<T> own, Rows<T> other,
                     Range rows, Arithmetic<T>* sum) {
  using A = Arithmetic<T>;
  using Lanes = ByEdge<T, H>;
  const Width<C0> C{task.call.value_channels};
  const Lanes by_edge(task);
  // Arrays of their own, so that the compiler knows them apart.
  A z[Lanes::COUNT], s[Lanes::COUNT], kept[Lanes::COUNT];
  A* stats = static_cast<A*>(task.call.stats);
  T* out = static_cast<T*>(task.call.out);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    A mine[LANES], top[LANES], total[LANES];
    Lanes::tile(own.data ? own[row] : nullptr, mine);
    for (int l = 0; l < LANES; ++l) top[l] = -INFINITE<A>, total[l] = 0;
    for (int64_t c = 0; c < H * C; ++c) sum[c] = 0;
    for_blocks(edges, row, task.numbered, [&](const Block& block) {
      const Ends<T, false> ends(block, task.value);
      const int64_t all = Lanes::filled(block.n);
      for (int k = 0; k < block.n; ++k) {
        const T* from = other[block.col[k]];
        prefetch(other[block.next[k]], H);
        for (int h = 0; h < H; ++h) z[k * H + h] = widen(from[h]);
      }
      by_edge.scores(block, mine, z, s);
      raise_top<H>(s, all, top, total, sum, C);
      for (int64_t at = 0; at < all; at += LANES)
        for (int l = 0; l < LANES; ++l) {
          s[at + l] = exp_negative(s[at + l] - base_of(top[l]));
          total[l] += s[at + l];
        }
      if (task.dropout.threshold) {
        by_edge.keep(block, kept);
        for (int64_t at = 0; at < all; ++at) s[at] *= kept[at];
      }
      for (int h = 0; h < H; ++h) {
        ask_rows(block, h, task.value);
        add_rows<H>(block.n, s + h, ends, h * C, C, sum + h * C);
      }
    });
    Lanes::across(total, [](A a, A b) { return a + b; });
    A inverse[LANES];
    for (int l = 0; l < LANES; ++l) inverse[l] = total[l] == 0 ? A(0) : 1 / total[l];
    for (int h = 0; h < H; ++h) {
      const A scale = inverse[h] * A(task.dropout.scale);
      T* to = out + (row * H + h) * C;
      for_pieces<A>(C, [&](int64_t c, auto piece) {
        constexpr int W = decltype(piece)::width;
        store<W>(load<W>(sum + h * C + c) * scale, to + c);
      });
      stats[(row * H + h) * 2] = top[h];
      stats[(row * H + h) * 2 + 1] = inverse[h];
    }
    if (task.call.weights && in_one_block(edges, row)) {
      int64_t number[LANES];
      const int n = int(edges.start(row + 1) - edges.start(row));
      edges.numbers(edges.start(row), n, number);
      for (int64_t at = 0; at < Lanes::filled(n); at += LANES)
        for (int l = 0; l < LANES; ++l) s[at + l] *= inverse[l] * A(task.dropout.scale);
      by_edge.store_weights(n, number, s);
    }
  }
}

// `__restrict`: these work on arrays that the compiler must know apart to vectorise.

template <class A>
inline void weigh_lanes(const A* __restrict s, const A* __restrict top, const A* __restrict inverse,
                        const A* __restrict kept, A scale, A* __restrict weight,
                        A* __restrict w) {
  for (int l = 0; l < LANES; ++l) {
    weight[l] = exp_below(s[l], top[l]) * inverse[l];
    w[l] = weight[l] * kept[l] * scale;
  }
}

template <class A>
struct Pulled {
  const A *__restrict z, *__restrict s, *__restrict weight, *__restrict kept, *__restrict delta;
};

// The weights after dropout of rows in several blocks, from the statistics of the forward pass; own,
// other as there.
template <int H, class T>
void weights_by_edge(const Task<T>& task, const Edges& edges, Rows<T> own, Rows<T> other,
                     Range rows) {
  using A = Arithmetic<T>;
  using Lanes = ByEdge<T, H>;
  const Lanes by_edge(task);
  const A scale = A(task.dropout.scale);
  A z[Lanes::COUNT], s[Lanes::COUNT], kept[Lanes::COUNT], weight[LANES], w[Lanes::COUNT];
  const A* stats = static_cast<const A*>(task.call.stats);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    if (in_one_block(edges, row)) continue;
    A mine[LANES], top[LANES], inverse[LANES];
    Lanes::tile(own.data ? own[row] : nullptr, mine);
    for (int l = 0; l < LANES; ++l) {
      const A* stat = stats + (row * H + l % H) * 2;
      top[l] = base_of(stat[0]);
      inverse[l] = stat[1];
    }
    for_blocks(edges, row, true, [&](const Block& block) {
      for (int k = 0; k < block.n; ++k) {
        const T* from = other[block.col[k]];
        for (int h = 0; h < H; ++h) z[k * H + h] = widen(from[h]);
      }
      by_edge.scores(block, mine, z, s);
      by_edge.keep(block, kept);
      for (int64_t at = 0; at < Lanes::filled(block.n); at += LANES)
        weigh_lanes(s + at, top, inverse, kept + at, scale, weight, w + at);
      by_edge.store_weights(block.n, block.number, w);
    });
  }
}

// The weights' gradients become those of the sums z, which `moved` adds up.
template <class A>
inline void pull_lanes(const Pulled<A>& of, A scale, A slope, A* __restrict gradient,
                       A* __restrict moved) {
  A ds[LANES];
  score_gradient(of.weight, of.kept, scale, gradient, of.delta, of.s, ds);
  for (int l = 0; l < LANES; ++l) {
    // A sum cut to the largest number does not move.
    const A rate = of.z[l] > 0 ? A(1) : slope;
    gradient[l] = is_cut<A>(of.z[l]) ? A(0) : ds[l] * rate;
    moved[l] += gradient[l];
  }
}

// By source: own is score_src. scratch: 2 * [H * C]. Each edge's gradient is handed on to its target
// through `passed` [edges, H], of which [0] is the edge at position `first`; null: not wanted.
template <int H, int C0, class T>
void backward_by_edge(const Task<T>& task, const Edges& edges, Rows<T> own,
                      const Targets<Arithmetic<T>>& targets, Range rows, Arithmetic<T>* scratch,
                      Arithmetic<T>* passed, int64_t first) {
  using A = Arithmetic<T>;
  using Lanes = ByEdge<T, H>;
  constexpr int64_t N = Lanes::COUNT;
  const Width<C0> C{task.call.value_channels};
  const Lanes by_edge(task);
  const A scale = A(task.dropout.scale), slope = A(task.call.slope);
  const Rows<T> grad_out = rows_of<T>(task.call.grad_out, H * C);
  const T* grad_weights = static_cast<const T*>(task.call.grad_weights);
  T* grad_value = static_cast<T*>(task.call.grad_value);
  T* grad_own = static_cast<T*>(task.call.grad_key);
  T* grad_edge = static_cast<T*>(task.call.grad_edge);
  A z[N], s[N], kept[N], top[N], inverse[N], delta[N], weight[N], w[N], da[N];
  A *value = scratch, *sum = value + H * C;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    A mine[LANES], moved[LANES] = {};
    Lanes::tile(own[row], mine);
    for (int64_t c = 0; c < H * C; ++c) {
      value[c] = widen(task.value[row][c]);
      sum[c] = 0;
    }
    for_blocks(edges, row, task.numbered, [&](const Block& block) {
      targets.ask(block);
      const Ends<T, false> ends(block, grad_out);
      const int64_t n = int64_t(block.n) * H, all = Lanes::filled(block.n);
      for (int k = 0; k < block.n; ++k) {
        const A* of = targets.top(block.col[k]);
        std::memcpy(top + k * H, of, H * sizeof(A));
        std::memcpy(inverse + k * H, of + H, H * sizeof(A));
        std::memcpy(delta + k * H, of + 2 * H, H * sizeof(A));
        std::memcpy(z + k * H, of + 3 * H, H * sizeof(A));
      }
      for (int64_t at = n; at < all; ++at) top[at] = inverse[at] = delta[at] = da[at] = 0;
      by_edge.scores(block, mine, z, s);
      by_edge.keep(block, kept);
      for (int64_t at = 0; at < all; at += LANES)
        weigh_lanes(s + at, top + at, inverse + at, kept + at, scale, weight + at, w + at);
      for (int h = 0; h < H; ++h) {
        ask_rows(block, h, grad_out);
        prefetch(task.value[row + 1] + h * C, C);
        meet_rows<true, H>(block.n, value + h * C, w + h, ends, h * C, C, da + h, sum + h * C);
      }
      if (grad_weights)
        for (int k = 0; k < block.n; ++k)
          for (int h = 0; h < H; ++h)
            da[k * H + h] += widen(grad_weights[task.at(block.number[k], h)]);
      for (int64_t at = 0; at < all; at += LANES)
        pull_lanes<A>({z + at, s + at, weight + at, kept + at, delta + at}, scale, slope, da + at,
                   moved);
      if (passed) std::memcpy(passed + (block.first - first) * H, da, n * sizeof(A));
      if (grad_edge)
        for (int k = 0; k < block.n; ++k)
          for (int h = 0; h < H; ++h)
            narrow(da[k * H + h], grad_edge[task.at(block.number[k], h)]);
    });
    Lanes::across(moved, [](A a, A b) { return a + b; });
    if (grad_own)
      for (int h = 0; h < H; ++h) narrow(moved[h], grad_own[row * H + h]);
    if (grad_value)
      for (int64_t c = 0; c < H * C; ++c) narrow(sum[c], grad_value[row * H * C + c]);
  }
}

}  // namespace gat::GAT_ISA
