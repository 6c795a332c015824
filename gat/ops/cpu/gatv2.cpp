// GATv2 attention.
#include "gatv2.h"

#include "kernels.h"
#include "scored.h"

namespace gat::GAT_ISA {
namespace {

struct Forward {
  template <class T, class I, int C0>
  static void run(const Call& call) {
    scored_forward<T, I, C0>(call, GATv2Maker<T, I, C0>(call, 0));
  }
};

struct Backward {
  template <class T, class I, int C0>
  static void run(const Call& call) {
    const GATv2Maker<T, I, C0> maker(call, MOST_PARTS);
    scored_backward<T, I, C0>(call, maker);
    maker.sum_parts();
  }
};

}  // namespace

void gatv2_forward(const Call& call) { dispatch<Forward>(call); }
void gatv2_backward(const Call& call) { dispatch<Backward>(call); }

}  // namespace gat::GAT_ISA
