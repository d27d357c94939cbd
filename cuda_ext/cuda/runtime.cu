// runtime.h, by the CUDA runtime (linked statically: nothing but the driver is needed to run).
#include <cuda_runtime.h>

#include "launch.h"

namespace nerfscene {
namespace gpu {

void check(int error, const char* what) {
    if (error == cudaSuccess) return;
    cudaGetLastError();  // a launch's error would otherwise be reported again, elsewhere
    const auto code = static_cast<cudaError_t>(error);
    std::string text = std::string("the GPU failed while ") + what + ": " + cudaGetErrorString(code);
    if (code == cudaErrorMemoryAllocation) text += "; use smaller photos (--downscale) or free memory on the GPU";
    if (code == cudaErrorNoKernelImageForDevice)
        text += "; this build has no machine code for this card: install again on this machine (pip install .)";
    if (code == cudaErrorInsufficientDriver) text += "; there is no NVIDIA driver here, or an older one than this build needs: install or update it";
    throw Error(text);
}

std::vector<Device> devices() {
    int n = 0, driver = 0, runtime = 0;
    check(cudaGetDeviceCount(&n), "looking for devices");
    check(cudaDriverGetVersion(&driver), "asking for the driver's version");
    check(cudaRuntimeGetVersion(&runtime), "asking for the runtime's version");
    std::vector<Device> found;
    for (int i = 0; i < n; ++i) {
        cudaDeviceProp p;
        check(cudaGetDeviceProperties(&p, i), "asking a device for its properties");
        found.push_back({p.name, p.major, p.minor, p.multiProcessorCount, p.totalGlobalMem,
                         p.sharedMemPerBlockOptin, driver, runtime});
    }
    return found;
}

const Device& current_device() {
    static const Device device = [] {
        std::vector<Device> all = devices();
        if (all.empty()) throw Error("there is no NVIDIA GPU here");
        return all[0];
    }();
    return device;
}

void* allocate(size_t bytes) {
    void* p = nullptr;
    check(cudaMalloc(&p, bytes ? bytes : 16), "allocating memory");
    return p;
}
void* allocate_managed(size_t bytes) {
    void* p = nullptr;
    check(cudaMallocManaged(&p, bytes ? bytes : 16), "allocating memory");
    return p;
}
void release(void* pointer) noexcept {
    if (pointer) cudaFree(pointer);
}
bool is_device_accessible(const void* pointer) {
    cudaPointerAttributes a;
    if (cudaPointerGetAttributes(&a, pointer) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    return a.type == cudaMemoryTypeDevice || a.type == cudaMemoryTypeManaged;
}
void copy(void* to, const void* from, size_t bytes, Stream stream) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream)), "copying memory");
}
void zero(void* to, size_t bytes, Stream stream) {
    check(cudaMemsetAsync(to, 0, bytes, static_cast<cudaStream_t>(stream)), "clearing memory");
}
void synchronize(Stream stream) { check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)), "computing"); }
Stream new_stream() {
    cudaStream_t s;
    check(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "making a stream");
    return s;
}
void delete_stream(Stream stream) noexcept { cudaStreamDestroy(static_cast<cudaStream_t>(stream)); }

void set_flag(int* flag, int value) {
    static const Stream aside = new_stream();
    copy(flag, &value, sizeof(int), aside);
    synchronize(aside);
}

Graph::~Graph() { reset(); }
void Graph::reset() {
    if (executable_) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable_));
    executable_ = nullptr;
}
void Graph::record(Stream stream, const std::function<void()>& work) {
    reset();
    const auto s = static_cast<cudaStream_t>(stream);
    check(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal), "recording a graph");
    cudaGraph_t graph = nullptr;
    try {
        work();
    } catch (...) {
        cudaStreamEndCapture(s, &graph);
        if (graph) cudaGraphDestroy(graph);
        cudaGetLastError();
        throw;
    }
    check(cudaStreamEndCapture(s, &graph), "recording a graph");
    cudaGraphExec_t executable = nullptr;
    const auto error = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    check(error, "making a graph");
    executable_ = executable;
}
void Graph::launch(Stream stream) {
    check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable_), static_cast<cudaStream_t>(stream)),
          "launching a graph");
}

}  // namespace gpu
}  // namespace nerfscene
