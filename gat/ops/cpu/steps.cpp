// The steps of attention on their own: scores [E, H], softmax over a target's edges, weighted sums.
// Per-edge tensors are in listed order; nothing else is made per edge.
#include "additive.h"
#include "dot.h"
#include "gatv2.h"
#include "kernels.h"
#include "operators.h"
#include "steps.h"

namespace gat::GAT_ISA {
namespace {

// Scores ---------------------------------------------------------------------------------------

// Scores are stored as T, whose largest number may be smaller; a mask stays one.
template <class T>
void cut_scores(int64_t count, Arithmetic<T>* s) {
  using A = Arithmetic<T>;
  for (int64_t k = 0; k < count; ++k) s[k] = s[k] == -INFINITE<A> ? s[k] : finite_as<T>(s[k]);
}

template <class T, class Score>
void write_scores(const Task<T>& task, const Edges& edges, Score score, Range rows,
                  Arithmetic<T>* s) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    score.begin(row);
    for_blocks(edges, row, true, [&](const Block& block) {
      score.scores(block, s);
      cut_scores<T>(task.heads * LANES, s);
      for (int64_t h = 0; h < task.heads; ++h)
        scatter_lanes(task, block, s + h * LANES, h, task.call.per_edge);
    });
  }
}

// The scores' gradient, none where a score was cut to the largest number.
template <class T>
void read_gradient(const Task<T>& task, const Block& block, Arithmetic<T>* gradient) {
  using A = Arithmetic<T>;
  for (int64_t h = 0; h < task.heads; ++h) {
    A s[LANES];
    A* lanes = gradient + h * LANES;
    gather_lanes(task, block, task.call.per_edge, h, s);
    gather_lanes(task, block, task.call.grad_per_edge, h, lanes);
    for (int k = 0; k < LANES; ++k) lanes[k] = is_cut<T>(s[k]) ? A(0) : lanes[k];
  }
}

template <class T, class Score, class End>
void pull_scores(const Task<T>& task, const Edges& edges, Score score, Range rows,
                 Arithmetic<T>* gradient, const End& end) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    score.begin(row);
    for_blocks(edges, row, true, [&](const Block& block) {
      read_gradient(task, block, gradient);
      score.pull(block, gradient);
    });
    end(score, row);
  }
}

template <class T, class Maker>
void scores_forward(const Call& call, const Maker& maker) {
  const Edges edges(call.by_target, call.index);
  const Task<T> task(call);
  const int64_t size = maker.scratch_size();
  const Scratch<Arithmetic<T>> scratch(int(call.threads), size + call.heads * LANES);
  for_rows(call, edges, call.heads * call.key_channels, [&](Range rows, int part, int thread) {
    Arithmetic<T>* own = scratch.of(thread);
    const auto score = maker.template make<false>(task, part, own);
    write_scores(task, edges, score, rows, own + size);
  });
}

template <class T, class Maker>
void scores_backward(const Call& call, const Maker& maker) {
  using A = Arithmetic<T>;
  const Edges edges(call.by_target, call.index), back(call.by_source, call.index);
  const Task<T> task(call);
  const int64_t size = maker.scratch_size(), work = call.heads * call.key_channels;
  const Scratch<A> scratch(int(call.threads), size + call.heads * LANES);
  for_rows(call, edges, work, [&](Range rows, int part, int thread) {
    A* own = scratch.of(thread);
    const auto score = maker.template make<false>(task, part, own);
    pull_scores(task, edges, score, rows, own + size,
                [](const auto& of, int64_t row) { of.end(row); });
  });
  for_rows(call, back, work, [&](Range rows, int part, int thread) {
    A* own = scratch.of(thread);
    const auto score = maker.template make<true>(task, part, own);
    pull_scores(task, back, score, rows, own + size,
                [](const auto& of, int64_t row) { of.end(row, nullptr); });
  });
}

// GAT's scores -----------------------------------------------------------------------------------

template <class T>
void additive_scores_to(const Call& call) {
  const Edges edges(call.by_target, call.index);
  const Task<T> task(call);
  const int64_t H = call.heads;
  const AdditiveScore<T> score(task, rows_of<T>(call.query, H), rows_of<T>(call.key, H));
  const Scratch<Arithmetic<T>> scratch(int(call.threads), H * LANES);
  for_rows(call, edges, H, [&](Range rows, int, int thread) {
    write_scores(task, edges, score, rows, scratch.of(thread));
  });
}

// The gradient of the rows' own terms, and where `grad_edge`, of the edges'.
template <class T>
void pull_terms(const Call& call, const Csr& csr, const void* own, const void* other, void* grad_own,
                void* grad_edge) {
  using A = Arithmetic<T>;
  const Edges edges(csr, call.index);
  const Task<T> task(call);
  const int64_t H = call.heads;
  const Rows<T> mine = rows_of<T>(own, H), theirs = rows_of<T>(other, H);
  const A slope = A(call.slope);
  const Scratch<A> scratch(int(call.threads), 3 * H * LANES);
  for_rows(call, edges, H, [&](Range rows, int, int thread) {
    A *z = scratch.of(thread), *gradient = z + H * LANES, *sum = gradient + H * LANES;
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      for (int64_t k = 0; k < H * LANES; ++k) sum[k] = 0;
      for_blocks(edges, row, true, [&](const Block& block) {
        gather_terms(block, theirs, H, z);
        add_terms(task, block, mine.data ? mine[row] : nullptr, z);
        read_gradient(task, block, gradient);
        for (int64_t k = 0; k < H * LANES; ++k) {
          gradient[k] *= is_cut<A>(z[k]) ? A(0) : z[k] > 0 ? A(1) : slope;
          sum[k] += gradient[k];
        }
        for (int64_t h = 0; h < H && grad_edge; ++h)
          scatter_lanes(task, block, gradient + h * LANES, h, grad_edge);
      });
      for (int64_t h = 0; h < H && grad_own; ++h)
        narrow(sum_of(sum + h * LANES), static_cast<T*>(grad_own)[row * H + h]);
    }
  });
}

template <class T>
void additive_scores_back(const Call& call) {
  pull_terms<T>(call, call.by_target, call.query, call.key, call.grad_query, call.grad_edge);
  pull_terms<T>(call, call.by_source, call.key, call.query, call.grad_key, nullptr);
}

template <class T, int C0>
void gatv2_scores_to(const Call& call) {
  if (call.activation == TANH)
    scores_forward<T>(call, GATv2Maker<T, C0, TANH>(call, 0));
  else
    scores_forward<T>(call, GATv2Maker<T, C0, LEAKY_RELU>(call, 0));
}

template <class T, int C0>
void gatv2_scores_back(const Call& call) {
  const auto run = [&](const auto& maker) {
    scores_backward<T>(call, maker);
    maker.sum_parts();
  };
  if (call.activation == TANH)
    run(GATv2Maker<T, C0, TANH>(call, MOST_PARTS));
  else
    run(GATv2Maker<T, C0, LEAKY_RELU>(call, MOST_PARTS));
}

// Softmax ----------------------------------------------------------------------------------------

template <class T>
void softmax_forward(const Call& call) {
  using A = Arithmetic<T>;
  const Edges edges(call.by_target, call.index);
  const Task<T> task(call);
  const int64_t H = call.heads;
  const Scratch<A> scratch(int(call.threads), H * (LANES + 1));
  for_rows(call, edges, H, [&](Range rows, int, int thread) {
    Running<A> running{scratch.of(thread), scratch.of(thread) + H};
    A s[LANES];
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const auto each = [&](const auto& use) {
        for_blocks(edges, row, true, [&](const Block& block) {
          for (int64_t h = 0; h < H; ++h) {
            gather_lanes(task, block, call.per_edge, h, s);
            for (int k = 0; k < LANES; ++k) s[k] = s[k] > LIMIT<T> ? LIMIT<T> : s[k];
            mask_rest(block, 1, s);
            use(block, h);
          }
        });
      };
      running.reset(H);
      each([&](const Block&, int64_t h) { running.absorb(h, s, static_cast<A*>(nullptr), 0); });
      each([&](const Block& block, int64_t h) {
        const A total = sum_of(running.total + h * LANES);
        weigh(s, running.top[h], total == 0 ? A(0) : 1 / total);
        scatter_lanes(task, block, s, h, call.weights);
      });
    }
  });
}

// ds = a (da - sum of a da over the target's edges).
template <class T>
void softmax_backward(const Call& call) {
  using A = Arithmetic<T>;
  const Edges edges(call.by_target, call.index);
  const Task<T> task(call);
  const int64_t H = call.heads;
  const Scratch<A> scratch(int(call.threads), H * LANES);
  for_rows(call, edges, H, [&](Range rows, int, int thread) {
    A *sums = scratch.of(thread), a[LANES], da[LANES];
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const auto each = [&](const auto& use) {
        for_blocks(edges, row, true, [&](const Block& block) {
          for (int64_t h = 0; h < H; ++h) {
            gather_lanes(task, block, call.weights, h, a);
            gather_lanes(task, block, call.grad_weights, h, da);
            use(block, h);
          }
        });
      };
      for (int64_t k = 0; k < H * LANES; ++k) sums[k] = 0;
      each([&](const Block&, int64_t h) {
        for (int k = 0; k < LANES; ++k) sums[h * LANES + k] += a[k] * da[k];
      });
      each([&](const Block& block, int64_t h) {
        const A delta = sum_of(sums + h * LANES);
        for (int k = 0; k < LANES; ++k) a[k] *= da[k] - delta;
        scatter_lanes(task, block, a, h, call.grad_per_edge);
      });
    }
  });
}

// Weighted sums ----------------------------------------------------------------------------------

// to[row] = sum over the row's edges of weight_e * (rows_j + extra_e).
template <class T>
void sum_rows(const Call& call, const Csr& csr, const void* gathered, const T* extra, void* to) {
  using A = Arithmetic<T>;
  const Edges edges(csr, call.index);
  const Task<T> task(call);
  const int64_t H = call.heads;
  const Width<0> C{call.value_channels};
  const Rows<T> rows_from = rows_of<T>(gathered, H * C);
  const Scratch<A> scratch(int(call.threads), H * C);
  for_rows(call, edges, H * C, [&](Range rows, int, int thread) {
    A *sum = scratch.of(thread), w[LANES];
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      for (int64_t c = 0; c < H * C; ++c) sum[c] = 0;
      for_blocks(edges, row, true, [&](const Block& block) {
        const Ends<T> ends(block, rows_from);
        for (int64_t h = 0; h < H; ++h) {
          gather_lanes(task, block, call.per_edge, h, w);
          add_rows(block.n, w, ends, h * C, C, sum + h * C);
          for (int k = 0; k < block.n && extra; ++k)
            for (int64_t c = 0; c < C; ++c)
              sum[h * C + c] += w[k] * widen(extra[task.at(block.number[k], h, C) + c]);
        }
      });
      for (int64_t c = 0; c < H * C; ++c) narrow(sum[c], static_cast<T*>(to)[row * H * C + c]);
    }
  });
}

// The weights' gradient, <grad_out_i, value_j + extra_e>, and the extra values' own.
template <class T>
void pull_weights(const Call& call) {
  using A = Arithmetic<T>;
  const Edges edges(call.by_target, call.index);
  const Task<T> task(call);
  const int64_t H = call.heads;
  const Width<0> C{call.value_channels};
  const Rows<T> grad_out = rows_of<T>(call.grad_out, H * C);
  T* grad_extra = static_cast<T*>(call.grad_edge_value);
  const Scratch<A> scratch(int(call.threads), H * C);
  for_rows(call, edges, H * C, [&](Range rows, int, int thread) {
    A *own = scratch.of(thread), w[LANES];
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      for (int64_t c = 0; c < H * C; ++c) own[c] = widen(grad_out[row][c]);
      for_blocks(edges, row, true, [&](const Block& block) {
        const Ends<T> ends(block, task.value);
        for (int64_t h = 0; h < H; ++h) {
          A dw[LANES] = {};
          gather_lanes(task, block, call.per_edge, h, w);
          meet_rows<false>(block.n, own + h * C, w, ends, h * C, C, dw, NONE<A>);
          for (int k = 0; k < block.n && task.edge_value; ++k) {
            const int64_t at = task.at(block.number[k], h, C);
            for (int64_t c = 0; c < C; ++c) {
              dw[k] += own[h * C + c] * widen(task.edge_value[at + c]);
              if (grad_extra) narrow(w[k] * own[h * C + c], grad_extra[at + c]);
            }
          }
          if (call.grad_per_edge) scatter_lanes(task, block, dw, h, call.grad_per_edge);
        }
      });
    }
  });
}

// Each kernel for every dtype and index ----------------------------------------------------------

#define GAT_STEP(name, ...)             \
  struct name##_step {                  \
    template <class T, int C0>          \
    static void run(const Call& call) { \
      __VA_ARGS__;                      \
    }                                   \
  };

GAT_STEP(additive_scores_forward, additive_scores_to<T>(call))
GAT_STEP(additive_scores_backward, additive_scores_back<T>(call))
GAT_STEP(gatv2_scores_forward, gatv2_scores_to<T, C0>(call))
GAT_STEP(gatv2_scores_backward, gatv2_scores_back<T, C0>(call))
GAT_STEP(dot_scores_forward, scores_forward<T>(call, DotMaker<T, C0>{call}))
GAT_STEP(dot_scores_backward, scores_backward<T>(call, DotMaker<T, C0>{call}))
GAT_STEP(segment_softmax_forward, softmax_forward<T>(call))
GAT_STEP(segment_softmax_backward, softmax_backward<T>(call))
GAT_STEP(aggregate_forward, sum_rows<T>(call, call.by_target, call.value,
                                           static_cast<const T*>(call.edge_value), call.out))
GAT_STEP(aggregate_backward, if (call.grad_per_edge || call.grad_edge_value) pull_weights<T>(call);
         if (call.grad_value) sum_rows<T>(call, call.by_source, call.grad_out,
                                             static_cast<const T*>(nullptr), call.grad_value))

}  // namespace

#define GAT_DEFINE(name) \
  void name(const Call& call) { dispatch<name##_step, false>(call); }
GAT_STEPS(GAT_DEFINE)

}  // namespace gat::GAT_ISA
