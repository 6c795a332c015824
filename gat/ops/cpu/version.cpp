// The plain C ABI of gat_cpu. The version lets Python refuse a library left over from another build.
#if defined(_WIN32)
#define GAT_EXPORT extern "C" __declspec(dllexport)
#else
#define GAT_EXPORT extern "C" __attribute__((visibility("default")))
#endif

GAT_EXPORT const char* gat_cpu_version() { return GAT_VERSION; }
