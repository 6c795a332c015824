// What each instruction set's files define: see api.h for the arguments.
#pragma once
#include "api.h"

namespace gat::GAT_ISA {

#define GAT_DECLARE(name) void name(const Call& call);
GAT_OPERATORS(GAT_DECLARE)
GAT_STEPS(GAT_DECLARE)
GAT_OTHERS(GAT_DECLARE)
#undef GAT_DECLARE

}  // namespace gat::GAT_ISA
