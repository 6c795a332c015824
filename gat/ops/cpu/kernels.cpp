// The kernels of one instruction set.
#include "kernels.h"

namespace gat::GAT_ISA {

Kernels kernels() {
#define GAT_ENTRY(name) name,
  return {GAT_OPERATORS(GAT_ENTRY) GAT_STEPS(GAT_ENTRY) GAT_OTHERS(GAT_ENTRY)};
#undef GAT_ENTRY
}

}  // namespace gat::GAT_ISA
