// Scaled dot-product attention over edges.
#include "dot.h"

#include "kernels.h"
#include "scored.h"

namespace gat::GAT_ISA {
namespace {

struct Forward {
  template <class T, int C0>
  static void run(const Call& call) {
    scored_forward<T, C0>(call, DotMaker<T, C0>{call});
  }
};

struct Backward {
  template <class T, int C0>
  static void run(const Call& call) {
    scored_backward<T, C0>(call, DotMaker<T, C0>{call});
  }
};

}  // namespace

void dot_forward(const Call& call) { dispatch<Forward>(call); }
void dot_backward(const Call& call) { dispatch<Backward>(call); }

}  // namespace gat::GAT_ISA
