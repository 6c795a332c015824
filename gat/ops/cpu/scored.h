// Attention whose scores come from keys and queries (GATv2, dot products): forward with a gather of
// keys and values; backward by target, then by source, each working out the scores anew, so that
// nothing is kept per edge.
//
// A Maker makes scores for a walk: make<BySource>(task, part, scratch).
#pragma once
#include "operators.h"

namespace gat::GAT_ISA {

inline int64_t scored_work(const Call& call) {
  return call.heads * (call.key_channels + call.value_channels + HEAD_WORK);
}

template <class T, int C0, class Maker>
void scored_forward(const Call& call, const Maker& maker) {
  using A = Arithmetic<T>;
  const Edges edges(call.by_target, call.index);
  const Task<T> task(call);
  const int64_t H = call.heads, size = maker.scratch_size();
  const Scratch<A> scratch(int(call.threads), size + H * (2 * LANES + 1 + call.value_channels));
  const int parts = parts_for((edges.count() + edges.rows) * scored_work(call));
  for_parts(parts, int(call.threads), [&](int part, int thread) {
    const Range rows = share(edges, part, parts);
    A* own = scratch.of(thread);
    const auto score = maker.template make<false>(task, part, own);
    forward_rows<C0>(task, edges, score, rows, own + size);
    if (call.weights) write_weights(task, edges, score, rows, own + size);
  });
}

template <class T, int C0, class Maker>
void scored_backward(const Call& call, const Maker& maker) {
  using A = Arithmetic<T>;
  const Edges edges(call.by_target, call.index), back(call.by_source, call.index);
  const Task<T> task(call);
  const int64_t H = call.heads, size = maker.scratch_size();
  const int threads = int(call.threads);
  const Buffer<A> room(edges.rows * Targets<A>::KINDS * H);
  const Targets<A> targets{room.get(), H};
  const Scratch<A> scratch(threads, size + H * (7 * LANES + 2 * call.value_channels));
  const int parts = parts_for((edges.count() + edges.rows) * scored_work(call));
  for_parts(parts, threads, [&](int part, int thread) {
    const Range rows = share(edges, part, parts);
    A* own = scratch.of(thread);
    const auto score = maker.template make<false>(task, part, own);
    fill_targets(task, Rows<T>(), rows, targets);
    if (call.grad_weights) add_weight_deltas(task, edges, score, rows, targets, own + size);
    backward_targets<C0>(task, edges, score, targets, rows, own + size);
  });
  for_parts(parts, threads, [&](int part, int thread) {
    const Range rows = share(back, part, parts);
    A* own = scratch.of(thread);
    const auto score = maker.template make<true>(task, part, own);
    backward_sources<C0>(task, back, score, targets, rows, own + size);
  });
}

}  // namespace gat::GAT_ISA
