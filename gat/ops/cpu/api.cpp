// The plain C ABI of gat_cpu: each kernel, in the fastest of the instruction sets this machine has.
#include "api.h"

#include <pthread.h>

#include <cstdlib>
#include <cstring>
#include <new>

#define GAT_EXPORT extern "C" __attribute__((visibility("default")))

namespace gat {

#define GAT_DECLARE(isa) \
  namespace isa {        \
  Kernels kernels();     \
  }
GAT_DECLARE(baseline)
#ifdef GAT_X86
GAT_DECLARE(v3)
GAT_DECLARE(v4)
#endif

namespace {

bool forked = false;

// A forked child has its parent's OpenMP state but none of its threads: it computes on its own.
[[maybe_unused]] const int watching = pthread_atfork(nullptr, nullptr, [] { forked = true; });

struct Choice {
  const char* name;
  Kernels kernels;
};

Choice choose() {
#ifdef GAT_X86
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  // GAT_CPU_INSTRUCTIONS may ask for less than the machine has, to test what others will run.
  const char* asked = std::getenv("GAT_CPU_INSTRUCTIONS");
  const auto allows = [&](const char* name) { return !asked || !std::strcmp(asked, name); };
  if (v4 && allows("x86-64-v4")) return {"x86-64-v4", v4::kernels()};
  if (v3 && allows("x86-64-v3")) return {"x86-64-v3", v3::kernels()};
  return {"x86-64", baseline::kernels()};
#else
  return {"baseline", baseline::kernels()};
#endif
}

const Choice& chosen() {
  static const Choice choice = choose();
  return choice;
}

// 0, or 1 where memory is short: no exception leaves the library.
int run(Kernel kernel, const Call* call) {
  try {
    kernel(*call);
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

}  // namespace

bool in_forked_child() { return forked; }

}  // namespace gat

GAT_EXPORT const char* gat_cpu_instructions() { return gat::chosen().name; }

// Python's struct must be of this size.
GAT_EXPORT long long gat_cpu_call_size() { return sizeof(gat::Call); }

#define GAT_EXPORT_KERNEL(name)                           \
  GAT_EXPORT int gat_cpu_##name(const gat::Call* call) {  \
    return gat::run(gat::chosen().kernels.name, call);    \
  }
GAT_OPERATORS(GAT_EXPORT_KERNEL)
GAT_STEPS(GAT_EXPORT_KERNEL)
GAT_OTHERS(GAT_EXPORT_KERNEL)
