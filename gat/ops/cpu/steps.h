// What the files of the steps share: rows in parts, and one head's numbers out of tensors [E, H].
#pragma once
#include "walk.h"

namespace gat::GAT_ISA {

// body(rows, part, thread) over the rows of a CSR in parts, by the multiplications of one edge.
template <class Body>
void for_rows(const Call& call, const Edges& edges, int64_t edge_work, const Body& body) {
  const int64_t work = edge_work + call.heads * HEAD_WORK;
  const int parts = parts_for((edges.count() + edges.rows) * work);
  for_parts(parts, int(call.threads), [&](int part, int thread) {
    body(share(edges, part, parts), part, thread);
  });
}

// One head's numbers of a block's edges, out of [E, H]; 0 beyond the last edge.
template <class T, class A>
void gather_lanes(const Task<T>& task, const Block& block, const void* from, int64_t head,
                  A* lanes) {
  const T* numbers = static_cast<const T*>(from);
  for (int k = 0; k < LANES; ++k)
    lanes[k] = k < block.n ? widen(numbers[task.at(block.number[k], head)]) : A(0);
}

template <class T, class A>
void scatter_lanes(const Task<T>& task, const Block& block, const A* lanes, int64_t head,
                   void* to) {
  T* numbers = static_cast<T*>(to);
  for (int k = 0; k < block.n; ++k) narrow(lanes[k], numbers[task.at(block.number[k], head)]);
}

}  // namespace gat::GAT_ISA
