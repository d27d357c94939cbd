// Launching a kernel, on a GPU or in the emulation.
#pragma once
#include "device.h"
#include "runtime.h"

namespace nerfscene {
namespace gpu {

#if defined(NS_EMULATE)
template <class... P, class... A>
void launch(void (*kernel)(P...), int blocks, int threads, size_t shared, Stream, A&&... arguments) {
    emulate::run(blocks, threads, shared, [&] { kernel(arguments...); });
}
#else
void check(int error, const char* what);

template <class... P, class... A>
void launch(void (*kernel)(P...), int blocks, int threads, size_t shared, Stream stream, A&&... arguments) {
    if (shared > 48 * 1024)  // above this a kernel has to ask
        check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   int(shared)),
              "asking for shared memory");
    kernel<<<blocks, threads, shared, static_cast<cudaStream_t>(stream)>>>(arguments...);
    check(cudaGetLastError(), "launching a kernel");
}
#endif

inline int blocks_for(int64_t items, int threads) { return int((items + threads - 1) / threads); }

}  // namespace gpu
}  // namespace nerfscene
