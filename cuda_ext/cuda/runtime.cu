// Implements runtime.h with the CUDA runtime. That is linked statically, so only the driver is needed to run.
#include <cuda_runtime.h>

#include "launch.h"

#include <map>
#include <mutex>

namespace nerfscene {
namespace gpu {

thread_local int LoadingOnly::depth = 0;

void check(int error, const char* what) {
    if (error == cudaSuccess) return;
    cudaGetLastError();  // clears the error; otherwise a later call would report it again
    const auto code = static_cast<cudaError_t>(error);
    std::string text = std::string("the GPU failed while ") + what + ": " + cudaGetErrorString(code);
    if (code == cudaErrorMemoryAllocation) text += "; close other programs that use the GPU, or use --backend cpu";
    if (code == cudaErrorNoKernelImageForDevice)
        text += "; this build has no machine code for this GPU; reinstall on this machine (pip install .)";
    if (code == cudaErrorInsufficientDriver) text += "; the NVIDIA driver is missing or older than this build needs; install or update it";
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
        int pools = 0;
        check(cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, i), "asking a device for its properties");
        found.push_back({p.name, p.major, p.minor, p.multiProcessorCount, p.totalGlobalMem,
                         p.sharedMemPerBlockOptin, driver, runtime, pools != 0});
    }
    return found;
}

const Device& current_device() {
    static const std::vector<Device> all = devices();
    int which = 0;
    check(cudaGetDevice(&which), "asking which device is in use");
    if (size_t(which) >= all.size()) throw Error("there is no NVIDIA GPU here");
    return all[which];
}

namespace {

constexpr uint64_t kKept = uint64_t(256) << 20;  // bytes of released memory that a pool keeps for later

// cudaMalloc and cudaFree wait for the whole device, which would make every tile of a picture wait. So memory comes
// from a pool of our own, on a stream that nothing else uses. `pool` is null if the driver has no memory pools.
struct Pool {
    cudaMemPool_t pool = nullptr;
    cudaStream_t stream = nullptr;
};
const Pool& current_pool() {
    static std::mutex mutex;
    static auto& pools = *new std::map<int, Pool>;  // never destroyed: memory may be released until the process ends
    int which = 0;
    check(cudaGetDevice(&which), "asking which device is in use");
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = pools.find(which);
    if (found != pools.end()) return found->second;
    Pool& made = pools[which];
    cudaMemPoolProps props = {};
    props.allocType = cudaMemAllocationTypePinned;
    props.location.type = cudaMemLocationTypeDevice;
    props.location.id = which;
    uint64_t kept = kKept;
    int able = 0;
    if (cudaDeviceGetAttribute(&able, cudaDevAttrMemoryPoolsSupported, which) == cudaSuccess && able &&
        cudaStreamCreateWithFlags(&made.stream, cudaStreamNonBlocking) == cudaSuccess &&
        (cudaMemPoolCreate(&made.pool, &props) != cudaSuccess ||
         cudaMemPoolSetAttribute(made.pool, cudaMemPoolAttrReleaseThreshold, &kept) != cudaSuccess))
        made.pool = nullptr;
    cudaGetLastError();
    return made;
}

}  // namespace

void* allocate(size_t bytes) {
    void* p = nullptr;
    bytes = bytes ? bytes : 16;
    const Pool& from = current_pool();
    const cudaError_t error =
        from.pool ? cudaMallocFromPoolAsync(&p, bytes, from.pool, from.stream) : cudaMalloc(&p, bytes);
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        throw Error(out_of_memory(bytes));
    }
    check(error, "allocating memory");
    if (from.pool) check(cudaStreamSynchronize(from.stream), "allocating memory");  // after this, every stream may use it
    return p;
}
void release(void* pointer) noexcept {
    if (!pointer) return;
    try {
        const Pool& to = current_pool();
        if (to.pool && cudaFreeAsync(pointer, to.stream) == cudaSuccess) return;
    } catch (...) {  // the device is gone, and its memory with it
    }
    cudaGetLastError();
    cudaFree(pointer);
}
size_t free_memory() {
    size_t unused = 0, all = 0;
    check(cudaMemGetInfo(&unused, &all), "asking how much memory is free");
    const Pool& pool = current_pool();
    uint64_t reserved = 0, used = 0;  // of what the pool has reserved, the rest can be allocated too
    if (pool.pool && cudaMemPoolGetAttribute(pool.pool, cudaMemPoolAttrReservedMemCurrent, &reserved) == cudaSuccess &&
        cudaMemPoolGetAttribute(pool.pool, cudaMemPoolAttrUsedMemCurrent, &used) == cudaSuccess)
        unused += size_t(reserved - used);
    cudaGetLastError();
    return unused;
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
    {
        const LoadingOnly first;
        work();
    }
    // Relaxed mode lets other threads use the device meanwhile without breaking the recording.
    check(cudaStreamBeginCapture(s, cudaStreamCaptureModeRelaxed), "recording a graph");
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
