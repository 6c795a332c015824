// The plain C ABI of gat_cpu: each kernel, in the fastest of the instruction sets this machine has.
#include "api.h"

#include <pthread.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

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

// The sets that this machine has, the fastest first.
std::vector<Choice> choices() {
  std::vector<Choice> found;
#ifdef GAT_X86
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (v4) found.push_back({"x86-64-v4", v4::kernels()});
  if (v3) found.push_back({"x86-64-v3", v3::kernels()});
  found.push_back({"x86-64", baseline::kernels()});
#else
  found.push_back({"baseline", baseline::kernels()});
#endif
  return found;
}

// GAT_CPU_INSTRUCTIONS may ask for less than the machine has, to test what others will run. What it
// has not gets no name, and Python refuses the library.
Choice choose() {
  const char* asked = std::getenv("GAT_CPU_INSTRUCTIONS");
  const std::vector<Choice> found = choices();
  if (!asked || !*asked) return found.front();
  for (const Choice& choice : found)
    if (!std::strcmp(asked, choice.name)) return choice;
  return {nullptr, baseline::kernels()};
}

std::string names() {
  std::string listed;
  for (const Choice& choice : choices()) {
    if (!listed.empty()) listed += ", ";
    listed += choice.name;
  }
  return listed;
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

// Null where GAT_CPU_INSTRUCTIONS asks for a set that is not among the possible ones.
GAT_EXPORT const char* gat_cpu_instructions() { return gat::chosen().name; }

GAT_EXPORT const char* gat_cpu_possible_instructions() {
  static const std::string names = gat::names();
  return names.c_str();
}

// Python's struct must be of this size.
GAT_EXPORT long long gat_cpu_call_size() { return sizeof(gat::Call); }

#define GAT_EXPORT_KERNEL(name)                           \
  GAT_EXPORT int gat_cpu_##name(const gat::Call* call) {  \
    return gat::run(gat::chosen().kernels.name, call);    \
  }
GAT_OPERATORS(GAT_EXPORT_KERNEL)
GAT_STEPS(GAT_EXPORT_KERNEL)
GAT_OTHERS(GAT_EXPORT_KERNEL)
