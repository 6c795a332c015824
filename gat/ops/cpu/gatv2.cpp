// GATv2 attention.
#include "gatv2.h"

#include "kernels.h"
#include "scored.h"

namespace gat::GAT_ISA {
namespace {

// tanh costs more than what a width known to the compiler saves.
struct Forward {
  template <class T, int C0>
  static void run(const Call& call) {
    if (call.activation == TANH)
      scored_forward<T, 0>(call, GATv2Maker<T, 0, TANH>(call, 0));
    else
      scored_forward<T, C0>(call, GATv2Maker<T, C0, LEAKY_RELU>(call, 0));
  }
};

template <class T, int C0, Activation F>
void backward(const Call& call) {
  const GATv2Maker<T, C0, F> maker(call, MOST_PARTS);
  scored_backward<T, C0>(call, maker);
  maker.sum_parts();
}

struct Backward {
  template <class T, int C0>
  static void run(const Call& call) {
    if (call.activation == TANH)
      backward<T, 0, TANH>(call);
    else
      backward<T, C0, LEAKY_RELU>(call);
  }
};

}  // namespace

void gatv2_forward(const Call& call) { dispatch<Forward>(call); }
void gatv2_backward(const Call& call) { dispatch<Backward>(call); }

}  // namespace gat::GAT_ISA
