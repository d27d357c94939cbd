// Launches a kernel, on a GPU or on the emulated one.
#pragma once
#include "device.h"
#include "runtime.h"

namespace nerfscene {
namespace gpu {

#if defined(NS_EMULATE)
template <class... P, class... A>
void launch(void (*kernel)(P...), int blocks, int threads, size_t shared, Stream, A&&... arguments) {
    (emulate::require_on_device(&arguments, sizeof(arguments)), ...);
    emulate::run(blocks, threads, shared, [&] { kernel(arguments...); });
}
template <class... P>
int blocks_at_once(void (*)(P...), int, size_t shared) {
    return int(200 * 1024 / (shared + 1024)) < 8 ? int(200 * 1024 / (shared + 1024)) : 8;
}
#else
void check(int error, const char* what);

// While an object of this type exists, this thread's launches only load their kernels. The runtime loads a kernel's
// code on first use, and that must not happen while a graph is being recorded.
struct LoadingOnly {
    static thread_local int depth;
    LoadingOnly() { ++depth; }
    ~LoadingOnly() { --depth; }
};

template <class... P>
void ask_for_shared(void (*kernel)(P...), size_t shared) {
    if (shared > 48 * 1024)  // more than this must be requested explicitly
        check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   int(shared)),
              "requesting shared memory");
}

// How many blocks of a kernel a multiprocessor runs at once.
template <class... P>
int blocks_at_once(void (*kernel)(P...), int threads, size_t shared) {
    int n = 0;
    ask_for_shared(kernel, shared);
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&n, reinterpret_cast<const void*>(kernel), threads, shared),
          "asking how many blocks of a kernel fit");
    return n;
}

template <class... P, class... A>
void launch(void (*kernel)(P...), int blocks, int threads, size_t shared, Stream stream, A&&... arguments) {
    ask_for_shared(kernel, shared);
    if (LoadingOnly::depth > 0) {
        cudaFuncAttributes loaded;
        check(cudaFuncGetAttributes(&loaded, reinterpret_cast<const void*>(kernel)), "loading a kernel");
        return;
    }
    kernel<<<blocks, threads, shared, static_cast<cudaStream_t>(stream)>>>(arguments...);
    check(cudaGetLastError(), "launching a kernel");
}
#endif

inline int blocks_for(int64_t items, int threads) { return int((items + threads - 1) / threads); }

}  // namespace gpu
}  // namespace nerfscene
