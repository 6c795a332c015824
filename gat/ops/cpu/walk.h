// The walks over edges that every kind of attention shares: forward, and backward by target and by
// source. A Score (additive.h, gatv2.h, dot.h) says what an edge's score is and where its gradient goes:
//
//   begin(row)                 the row whose edges come
//   scores(block, s)           s[h * LANES + k], finite, or -inf for a masked edge
//   MEETS_VALUES               whether it reads the rows that are summed, and asks memory for them
//   pull(block, gradient)      the gradient of those scores, into the row's and the edges' own
//   end(row, sum)              the row's gradient is complete; by source, sum is that of its value
#pragma once
#include "rows.h"

namespace gat::GAT_ISA {

// What every walk of a call knows.
template <class T>
struct Task {
  using A = Arithmetic<T>;

  const Call& call;
  int64_t heads;
  Dropout dropout;
  Rows<T> value;
  const T* edge_value;
  bool numbered;

  explicit Task(const Call& call)
      : call(call),
        heads(call.heads),
        value(rows_of<T>(call.value, call.heads * call.value_channels)),
        edge_value(static_cast<const T*>(call.edge_value)) {
    if (call.seed) dropout = {uint64_t(*call.seed), uint64_t(call.threshold), call.dropout_scale};
    numbered = call.seed || call.edge || call.edge_value || call.weights || call.grad_weights ||
               call.grad_edge || call.grad_edge_value;
  }

  // Of a tensor [E, H, ...] with `channels` per head: the entry of one edge and head.
  int64_t at(int64_t number, int64_t head, int64_t channels = 1) const {
    return (number * heads + head) * channels;
  }

  void keep(const Block& block, int64_t head, A* kept) const {
    if (dropout.threshold)
      dropout.keep(block.number, heads, head, kept);
    else
      for (int k = 0; k < LANES; ++k) kept[k] = 1;
  }
};

// Lanes beyond the block's last edge count as masked.
template <class A>
inline void mask_rest(const Block& block, int64_t heads, A* s) {
  if (block.n == LANES) return;
  for (int64_t h = 0; h < heads; ++h)
    for (int k = 0; k < LANES; ++k)
      s[h * LANES + k] = k < block.n ? s[h * LANES + k] : -INFINITE<A>;
}

// Softmax as scores come in blocks: the highest so far, and the sum of exp(score - highest).
template <class A>
struct Running {
  A *top, *total;  // [heads], [heads * LANES]

  void reset(int64_t heads) {
    for (int64_t h = 0; h < heads; ++h) top[h] = -INFINITE<A>;
    for (int64_t k = 0; k < heads * LANES; ++k) total[k] = 0;
  }
  // Scores s[LANES] of a head become exp(s - highest); what was summed before is scaled down to it.
  void absorb(int64_t head, A* s, A* sum, int64_t channels) {
    A* lanes = total + head * LANES;
    const A block_top = highest(s);
    if (block_top > top[head]) {
      if (top[head] > -INFINITE<A>) {
        const A shrink = exp_negative(top[head] - block_top);
        for (int k = 0; k < LANES; ++k) lanes[k] *= shrink;
        for (int64_t c = 0; c < channels; ++c) sum[c] *= shrink;
      }
      top[head] = block_top;
    }
    // All masked so far: no highest to subtract.
    const A base = top[head] > -INFINITE<A> ? top[head] : A(0);
    for (int k = 0; k < LANES; ++k) {
      s[k] = exp_negative(s[k] - base);
      lanes[k] += s[k];
    }
  }
};

// Nothing to subtract where all edges are masked.
template <class A>
inline A base_of(A top) {
  return top > -INFINITE<A> ? top : A(0);
}

// exp(score - highest). A score worked out anew may be rounded above the highest, by far where it
// is enormous: its weight is 1 nevertheless. NaN stays.
template <class A>
inline A exp_below(A score, A highest) {
  return exp_negative(smaller(A(0), score - highest));
}

// Each edge's weight without dropout, exp(score - highest) / sum, in place of its score.
template <class A>
inline void weigh(A* s, A top, A inverse) {
  const A base = base_of(top);
  for (int k = 0; k < LANES; ++k) s[k] = exp_below(s[k], base) * inverse;
}

template <int C0, class T, class Score>
void forward_rows(const Task<T>& task, const Edges& edges, Score score, Range rows,
                  Arithmetic<T>* scratch) {
  using A = Arithmetic<T>;
  const Width<C0> C{task.call.value_channels};
  const int64_t H = task.heads;
  A* s = scratch;
  Running<A> running{s + H * LANES, s + H * LANES + H};
  A* sum = running.total + H * LANES;
  A* stats = static_cast<A*>(task.call.stats);
  T* out = static_cast<T*>(task.call.out);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    score.begin(row);
    running.reset(H);
    for (int64_t c = 0; c < H * C; ++c) sum[c] = 0;
    for_blocks(edges, row, task.numbered,
               [&](const Block& block) {
                 const Ends<T, !Score::MEETS_VALUES> ends(block, task.value);
                 score.scores(block, s);
                 mask_rest(block, H, s);
                 for (int64_t h = 0; h < H; ++h) {
                   A* w = s + h * LANES;
                   running.absorb(h, w, sum + h * C, C);
                   if (task.dropout.threshold) {
                     A kept[LANES];
                     task.keep(block, h, kept);
                     for (int k = 0; k < LANES; ++k) w[k] *= kept[k];
                   }
                   // Values near the largest number divided by the degree overflow here, though their
                   // mean would not: weights of sum 1 would take a second visit to each edge.
                   add_rows(block.n, w, ends, h * C, C, sum + h * C);
                   if (task.edge_value)
                     for (int k = 0; k < block.n; ++k) {
                       const T* extra = task.edge_value + task.at(block.number[k], h, C);
                       for (int64_t c = 0; c < C; ++c) sum[h * C + c] += w[k] * widen(extra[c]);
                     }
                 }
               });
    for (int64_t h = 0; h < H; ++h) {
      const A total = sum_of(running.total + h * LANES);
      const A inverse = total == 0 ? A(0) : 1 / total;
      const A scale = inverse * A(task.dropout.scale);
      T* to = out + (row * H + h) * C;
      for_pieces<A>(C, [&](int64_t c, auto piece) {
        constexpr int W = decltype(piece)::width;
        store<W>(load<W>(sum + h * C + c) * scale, to + c);
      });
      stats[(row * H + h) * 2] = running.top[h];
      stats[(row * H + h) * 2 + 1] = inverse;
    }
  }
}

// use(number, head, weight) for the weights after dropout, recomputed from the statistics.
template <class T, class Score, class Use>
void weights_of_rows(const Task<T>& task, const Edges& edges, Score score, Range rows,
                     Arithmetic<T>* scratch, const Use& use) {
  using A = Arithmetic<T>;
  const int64_t H = task.heads;
  const A* stats = static_cast<const A*>(task.call.stats);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    score.begin(row);
    for_blocks(edges, row, true, [&](const Block& block) {
      score.scores(block, scratch);
      mask_rest(block, H, scratch);
      for (int64_t h = 0; h < H; ++h) {
        const A* stat = stats + (row * H + h) * 2;
        A* w = scratch + h * LANES;
        weigh(w, stat[0], stat[1]);
        A kept[LANES];
        task.keep(block, h, kept);
        for (int k = 0; k < block.n; ++k)
          use(block.number[k], h, w[k] * kept[k] * A(task.dropout.scale));
      }
    });
  }
}

// What the backward walks read of a target, side by side, [heads] of each: highest score (0 for
// none), 1 / sum, <grad_out, out> (D), and additive attention's own term.
template <class A>
struct Targets {
  A* data;
  int64_t heads;

  static constexpr int64_t KINDS = 4;

  A* top(int64_t row) const { return data + row * KINDS * heads; }
  A* inverse(int64_t row) const { return top(row) + heads; }
  A* delta(int64_t row) const { return top(row) + 2 * heads; }
  A* term(int64_t row) const { return top(row) + 3 * heads; }

  // Asks memory for the next edges' targets; before their rows are asked for, which the processor
  // would rather forget than wait with.
  void ask(const Block& block) const {
    for (int k = 0; k < block.n; ++k) prefetch(top(block.next[k]), KINDS * heads);
  }
};

// The targets of a block's edges, [heads * LANES] of each.
template <class A>
struct TargetLanes {
  A *top, *inverse, *delta, *term;

  void gather(const Block& block, const Targets<A>& targets) const {
    for (int k = 0; k < block.n; ++k) {
      const A* of = targets.top(block.col[k]);
      const int64_t H = targets.heads;
      for (int64_t h = 0; h < H; ++h) {
        top[h * LANES + k] = of[h];
        inverse[h * LANES + k] = of[H + h];
        delta[h * LANES + k] = of[2 * H + h];
        term[h * LANES + k] = of[3 * H + h];
      }
    }
  }
};

// A block's scores, weights, and the scores' gradient, [heads * LANES] each.
template <class A>
struct BackwardBlock {
  A *s, *weight, *gradient;

  explicit BackwardBlock(A* scratch, int64_t heads)
      : s(scratch), weight(s + heads * LANES), gradient(weight + heads * LANES) {}
};

// Fills target.delta: D = sum over channels of grad_out * out, which is also sum of a_e * da_e.
template <class T>
inline Arithmetic<T> delta_of(const T* grad_out, const T* out, int64_t channels) {
  using A = Arithmetic<T>;
  Dot<A> delta;
  for_pieces<A>(Width<0>{channels}, [&](int64_t c, auto piece) {
    constexpr int W = decltype(piece)::width;
    delta.template add<W>(load<W>(grad_out + c), load<W>(out + c));
  });
  return delta.value();
}

// The score's gradient of one head's block, from the weights' own: ds = a (f da - D).
template <class A>
inline void score_gradient(const A* weight, const A* kept, A scale, const A* da, const A* delta,
                           const A* s, A* gradient) {
  for (int k = 0; k < LANES; ++k) {
    const A ds = weight[k] * (kept[k] * scale * da[k] - delta[k]);
    // A masked edge has weight 0, and its score may be infinite.
    gradient[k] = (weight[k] == 0) | is_cut<A>(s[k]) ? A(0) : ds;
  }
}

// By target: each row is a target, gathering keys and values; for scores with a query per target.
template <int C0, class T, class Score>
void backward_targets(const Task<T>& task, const Edges& edges, Score score,
                      const Targets<Arithmetic<T>>& targets, Range rows, Arithmetic<T>* scratch) {
  using A = Arithmetic<T>;
  const Width<C0> C{task.call.value_channels};
  const int64_t H = task.heads;
  const A scale = A(task.dropout.scale);
  const Rows<T> grad_out = rows_of<T>(task.call.grad_out, H * C);
  const T* grad_weights = static_cast<const T*>(task.call.grad_weights);
  T* grad_edge_value = static_cast<T*>(task.call.grad_edge_value);
  BackwardBlock<A> b(scratch, H);
  A* own = b.gradient + H * LANES;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    score.begin(row);
    for (int64_t c = 0; c < H * C; ++c) own[c] = widen(grad_out[row][c]);
    for_blocks(edges, row, task.numbered,
               [&](const Block& block) {
                 const Ends<T, !Score::MEETS_VALUES> ends(block, task.value);
                 score.scores(block, b.s);
                 mask_rest(block, H, b.s);
                 for (int64_t h = 0; h < H; ++h) {
                   const A own_delta = targets.delta(row)[h];
                   A kept[LANES], da[LANES] = {}, delta[LANES];
                   A* weight = b.weight + h * LANES;
                   for (int k = 0; k < LANES; ++k) {
                     weight[k] = b.s[h * LANES + k];
                     delta[k] = own_delta;
                   }
                   weigh(weight, targets.top(row)[h], targets.inverse(row)[h]);
                   task.keep(block, h, kept);
                   meet_rows<false>(block.n, own + h * C, weight, ends, h * C, C, da, NONE<A>);
                   if (task.edge_value)
                     for (int k = 0; k < block.n; ++k) {
                       const T* extra = task.edge_value + task.at(block.number[k], h, C);
                       for (int64_t c = 0; c < C; ++c) da[k] += own[h * C + c] * widen(extra[c]);
                     }
                   if (grad_edge_value)
                     for (int k = 0; k < block.n; ++k) {
                       T* to = grad_edge_value + task.at(block.number[k], h, C);
                       const A w = weight[k] * kept[k] * scale;
                       for (int64_t c = 0; c < C; ++c) narrow(w * own[h * C + c], to[c]);
                     }
                   if (grad_weights)
                     for (int k = 0; k < block.n; ++k)
                       da[k] += widen(grad_weights[task.at(block.number[k], h)]);
                   score_gradient(weight, kept, scale, da, delta, b.s + h * LANES,
                                  b.gradient + h * LANES);
                 }
                 score.pull(block, b.gradient);
               });
    score.end(row);
  }
}

// By source: each row is a source in the transposed graph, gathering what its targets received.
template <int C0, class T, class Score>
void backward_sources(const Task<T>& task, const Edges& edges, Score score,
                      const Targets<Arithmetic<T>>& targets, Range rows, Arithmetic<T>* scratch) {
  using A = Arithmetic<T>;
  const Width<C0> C{task.call.value_channels};
  const int64_t H = task.heads;
  const A scale = A(task.dropout.scale);
  const Rows<T> grad_out = rows_of<T>(task.call.grad_out, H * C);
  const T* grad_weights = static_cast<const T*>(task.call.grad_weights);
  T* grad_value = static_cast<T*>(task.call.grad_value);
  BackwardBlock<A> b(scratch, H);
  A* free = b.gradient + H * LANES;
  const TargetLanes<A> lanes{free, free + H * LANES, free + 2 * H * LANES, free + 3 * H * LANES};
  // Lanes beyond a block's last edge are read too.
  for (int64_t k = 0; k < 4 * H * LANES; ++k) free[k] = 0;
  score.targets(lanes.term);
  A* own = free + 4 * H * LANES;
  A* sum = own + H * C;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    score.begin(row);
    for (int64_t c = 0; c < H * C; ++c) {
      own[c] = widen(task.value[row][c]);
      sum[c] = 0;
    }
    for_blocks(edges, row, task.numbered,
               [&](const Block& block) {
                 targets.ask(block);
                 const Ends<T> ends(block, grad_out);
                 lanes.gather(block, targets);
                 score.scores(block, b.s);
                 mask_rest(block, H, b.s);
                 for (int64_t h = 0; h < H; ++h) {
                   prefetch(task.value[row + 1] + h * C, C);
                   A kept[LANES], da[LANES] = {}, w[LANES];
                   const A *s = b.s + h * LANES, *top = lanes.top + h * LANES;
                   const A *inverse = lanes.inverse + h * LANES, *delta = lanes.delta + h * LANES;
                   A* weight = b.weight + h * LANES;
                   task.keep(block, h, kept);
                   for (int k = 0; k < LANES; ++k) {
                     weight[k] = exp_below(s[k], top[k]) * inverse[k];
                     w[k] = weight[k] * kept[k] * scale;
                   }
                   meet_rows<true>(block.n, own + h * C, w, ends, h * C, C, da, sum + h * C);
                   if (task.edge_value)
                     for (int k = 0; k < block.n; ++k) {
                       const T* extra = task.edge_value + task.at(block.number[k], h, C);
                       const T* from = ends.row[k] + h * C;
                       for (int64_t c = 0; c < C; ++c) da[k] += widen(from[c]) * widen(extra[c]);
                     }
                   if (grad_weights)
                     for (int k = 0; k < block.n; ++k)
                       da[k] += widen(grad_weights[task.at(block.number[k], h)]);
                   score_gradient(weight, kept, scale, da, delta, s, b.gradient + h * LANES);
                 }
                 score.pull(block, b.gradient);
               });
    score.end(row, sum);
    if (grad_value) {
      T* to = grad_value + row * H * C;
      for (int64_t c = 0; c < H * C; ++c) narrow(sum[c], to[c]);
    }
  }
}

}  // namespace gat::GAT_ISA
