// What the operators' own files share: what the backward walks need first, and
// the types and widths compiled for.
#pragma once
#include "walk.h"

namespace gat::GAT_ISA {

// `term`: additive attention's score_dst, or null.
template <class T>
void fill_targets(const Task<T>& task, Rows<T> term, Range rows,
                  const Targets<Arithmetic<T>>& targets) {
  using A = Arithmetic<T>;
  const Call& call = task.call;
  const int64_t H = call.heads, C = call.value_channels;
  const Rows<T> out = rows_of<T>(call.out, H * C), grad_out = rows_of<T>(call.grad_out, H * C);
  const A* stats = static_cast<const A*>(call.stats);
  for (int64_t row = rows.begin; row < rows.end; ++row)
    for (int64_t h = 0; h < H; ++h) {
      const A* stat = stats + (row * H + h) * 2;
      const A delta = delta_of(grad_out[row] + h * C, out[row] + h * C, C);
      const A own = term.data ? A(widen(term[row][h])) : A(0);
      targets.top(row)[h] = base_of(stat[0]);
      targets.inverse(row)[h] = stat[1];
      targets.delta(row)[h] = delta;
      targets.term(row)[h] = own;
    }
}

// Where the weights have a gradient of their own, D has a term weight * grad_weight per edge.
template <class T, class Score>
void add_weight_deltas(const Task<T>& task, const Edges& edges, const Score& score, Range rows,
                       const Targets<Arithmetic<T>>& targets, Arithmetic<T>* scratch) {
  using A = Arithmetic<T>;
  const T* grad_weights = static_cast<const T*>(task.call.grad_weights);
  for (int64_t row = rows.begin; row < rows.end; ++row)
    weights_of_rows(task, edges, score, {row, row + 1}, scratch,
                    [&](int64_t number, int64_t h, A weight) {
                      const A gradient = widen(grad_weights[task.at(number, h)]);
                      targets.delta(row)[h] += weight * gradient;
                    });
}

template <class T, class Score>
void write_weights(const Task<T>& task, const Edges& edges, const Score& score, Range rows,
                   Arithmetic<T>* scratch) {
  T* weights = static_cast<T*>(task.call.weights);
  weights_of_rows(task, edges, score, rows, scratch,
                  [&](int64_t number, int64_t h, Arithmetic<T> weight) {
                    narrow(weight, weights[task.at(number, h)]);
                  });
}

// Operator::run<T, C0> for the call's dtype and width. A width known to the compiler is worth
// its code where a row is short: a quarter of the time at 8 channels.
template <class Operator>
bool dispatch_width(const Call& call) {
#ifdef GAT_WIDE_VECTORS
  if (call.dtype != FLOAT32 || call.key_channels != call.value_channels) return false;
  switch (call.value_channels) {
    case 8:
      Operator::template run<float, 8>(call);
      return true;
    case 32:
      Operator::template run<float, 32>(call);
      return true;
  }
#endif
  return false;
}

template <class Operator, bool Widths = true>
void dispatch(const Call& call) {
  if constexpr (Widths)
    if (dispatch_width<Operator>(call)) return;
  switch (call.dtype) {
    case FLOAT64:
      return Operator::template run<double, 0>(call);
    case BFLOAT16:
      return Operator::template run<bf16, 0>(call);
    case FLOAT16:
      return Operator::template run<f16, 0>(call);
    default:
      return Operator::template run<float, 0>(call);
  }
}

}  // namespace gat::GAT_ISA
