// What the operators' own files share: what the backward walks need first, and
// the types and widths compiled for.
#pragma once
#include "walk.h"

namespace gat::GAT_ISA {

// `term`: additive attention's score_dst, or null.
template <class T, class I>
void fill_targets(const Task<T, I>& task, Rows<T> term, Range rows,
                  Target<Arithmetic<T>>* targets) {
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
      targets[row * H + h] = {base_of(stat[0]), stat[1], delta, own};
    }
}

// Where the weights have a gradient of their own, D has a term weight * grad_weight per edge.
template <class T, class I, class Score>
void add_weight_deltas(const Task<T, I>& task, const Edges<I>& edges, const Score& score, Range rows,
                       Target<Arithmetic<T>>* targets, Arithmetic<T>* scratch) {
  using A = Arithmetic<T>;
  const T* grad_weights = static_cast<const T*>(task.call.grad_weights);
  const int64_t H = task.heads;
  for (int64_t row = rows.begin; row < rows.end; ++row)
    weights_of_rows(task, edges, score, {row, row + 1}, scratch,
                    [&](int64_t number, int64_t h, A weight) {
                      const A gradient = widen(grad_weights[task.at(number, h)]);
                      targets[row * H + h].delta += weight * gradient;
                    });
}

template <class T, class I, class Score>
void write_weights(const Task<T, I>& task, const Edges<I>& edges, const Score& score, Range rows,
                   Arithmetic<T>* scratch) {
  T* weights = static_cast<T*>(task.call.weights);
  weights_of_rows(task, edges, score, rows, scratch,
                  [&](int64_t number, int64_t h, Arithmetic<T> weight) {
                    narrow(weight, weights[task.at(number, h)]);
                  });
}

// Operator::run<T, I, C0> for the call's dtype, index and width. Widths known to the compiler are
// worth their code for float only, with indices of 32 bits, and where vectors are wide.
template <class Operator>
bool dispatch_width(const Call& call) {
#ifdef GAT_WIDE_VECTORS
  if (call.dtype != FLOAT32 || call.index != INT32 || call.key_channels != call.value_channels)
    return false;
  switch (call.value_channels) {
    case 8:
      Operator::template run<float, int32_t, 8>(call);
      return true;
    case 32:
      Operator::template run<float, int32_t, 32>(call);
      return true;
    case 64:
      Operator::template run<float, int32_t, 64>(call);
      return true;
  }
#endif
  return false;
}

template <class Operator, class T>
void dispatch_index(const Call& call) {
  if (call.index == INT32)
    Operator::template run<T, int32_t, 0>(call);
  else
    Operator::template run<T, int64_t, 0>(call);
}

template <class Operator, bool Widths = true>
void dispatch(const Call& call) {
  if constexpr (Widths)
    if (dispatch_width<Operator>(call)) return;
  switch (call.dtype) {
    case FLOAT64:
      return dispatch_index<Operator, double>(call);
    case BFLOAT16:
      return dispatch_index<Operator, bf16>(call);
    case FLOAT16:
      return dispatch_index<Operator, f16>(call);
    default:
      return dispatch_index<Operator, float>(call);
  }
}

}  // namespace gat::GAT_ISA
