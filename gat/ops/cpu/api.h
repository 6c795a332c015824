// What Python passes: one plain struct for every operator, with null for what is absent.
//
// Shapes as in gat/ops/attention.py: N nodes, E edges, H heads, C channels; tensors are contiguous.
// gat/ops/cpu/kernels.py holds the same struct, field by field.
#pragma once
#include <cstdint>

namespace gat {

enum Dtype : int64_t { FLOAT32, FLOAT64, BFLOAT16, FLOAT16 };
enum Index : int64_t { INT32, INT64 };
enum Activation : int64_t { LEAKY_RELU, TANH };

// Edges sorted by row. `number` is each one's listed number, null where that is its position.
struct Csr {
  int64_t rows;
  const void* rowptr;
  const void* col;
  const void* number;
};

struct Call {
  int64_t dtype, index, threads;
  int64_t heads, key_channels, value_channels;

  Csr by_target, by_source;
  // Where in by_source each edge of by_target stands.
  const void* transposed;

  // key is score_src [num_src, H] in additive attention, query score_dst, edge score_edge. att is
  // alpha [H] of entmax.
  const void *value, *key, *query, *att, *edge, *edge_value;
  int64_t activation;
  double slope, scale;

  const int64_t* seed;
  int64_t threshold;
  double dropout_scale;

  // stats [num_dst, H, 2]: the highest score, and 1 / the sum of exp(score - highest).
  void *out, *stats, *weights;

  // Of a step on its own, [E, H]: scores, or the weights of a sum; and their gradient.
  void *per_edge, *grad_per_edge;

  const void *grad_out, *grad_weights;
  void *grad_value, *grad_key, *grad_query, *grad_att, *grad_edge, *grad_edge_value;
};

using Kernel = void (*)(const Call&);

// Every kernel, by the name under which Python finds it.
#define GAT_OPERATORS(X) \
  X(additive_forward)    \
  X(additive_backward)   \
  X(gatv2_forward)       \
  X(gatv2_backward)      \
  X(dot_forward)         \
  X(dot_backward)

#define GAT_STEPS(X)          \
  X(additive_scores_forward)  \
  X(additive_scores_backward) \
  X(gatv2_scores_forward)     \
  X(gatv2_scores_backward)    \
  X(dot_scores_forward)       \
  X(dot_scores_backward)      \
  X(segment_softmax_forward)  \
  X(segment_softmax_backward) \
  X(aggregate_forward)        \
  X(aggregate_backward)

#define GAT_OTHERS(X)        \
  X(segment_entmax_forward)  \
  X(segment_entmax_backward) \
  X(drop_entries)            \
  X(head_scores_forward)     \
  X(head_scores_backward)

// One for each instruction set the library was compiled for.
struct Kernels {
#define GAT_FIELD(name) Kernel name;
  GAT_OPERATORS(GAT_FIELD)
  GAT_STEPS(GAT_FIELD)
  GAT_OTHERS(GAT_FIELD)
#undef GAT_FIELD
};

bool in_forked_child();

}  // namespace gat
