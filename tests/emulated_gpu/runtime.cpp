// cuda/runtime.h for the emulated GPU. Its memory is the host's too, but kernels may only use what was allocated for the
// device, so that a copy which was forgotten shows. Its streams are never busy.
#include "../../cuda_ext/cuda/runtime.h"
#include "emulate.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <map>

namespace nerfscene {
namespace gpu {
namespace {
size_t from_environment(const char* name, size_t otherwise) {
    const char* value = std::getenv(name);
    return value ? size_t(std::atoll(value)) : otherwise;
}
// The memory allocated for the device: start → size.
std::map<const char*, size_t>& allocated() {
    static std::map<const char*, size_t> all;
    return all;
}
}  // namespace

// NERFSCENE_EMULATED_SHARED: the bytes of shared memory that a block may ask for, to test small cards.
// NERFSCENE_EMULATED_MEMORY: the bytes of the device's memory.
std::vector<Device> devices() {
    return {{"emulated GPU", 9, 0, 2, from_environment("NERFSCENE_EMULATED_MEMORY", size_t(1) << 32),
             from_environment("NERFSCENE_EMULATED_SHARED", 227 * 1024), 13000, 13000, false}};
}
const Device& current_device() {
    static Device device;
    device = devices()[0];
    return device;
}
size_t free_memory() {
    size_t used = 0;
    for (const auto& [start, bytes] : allocated()) used += bytes;
    const size_t all = current_device().memory;
    return used < all ? all - used : 0;
}
void* allocate(size_t bytes) {
    if (bytes > free_memory()) throw Error(out_of_memory(bytes));
    void* p = std::aligned_alloc(256, (bytes + 511) / 256 * 256);
    if (!p) throw Error("the GPU failed while allocating memory");
    std::memset(p, 0xff, bytes);  // nothing may rely on fresh memory being zero
    allocated()[static_cast<char*>(p)] = bytes;
    return p;
}
void release(void* pointer) noexcept {
    allocated().erase(static_cast<char*>(pointer));
    std::free(pointer);
}
bool is_device_accessible(const void* pointer) {
    const char* p = static_cast<const char*>(pointer);
    auto after = allocated().upper_bound(p);
    return after != allocated().begin() && p < (--after)->first + after->second;
}
void copy(void* to, const void* from, size_t bytes, Stream) { std::memmove(to, from, bytes); }
void zero(void* to, size_t bytes, Stream) { std::memset(to, 0, bytes); }
void synchronize(Stream) {}
Stream new_stream() { return nullptr; }
void delete_stream(Stream) noexcept {}
void set_flag(int* flag, int value) { *flag = value; }

Graph::~Graph() = default;
void Graph::reset() { work_ = nullptr; }
void Graph::record(Stream, const std::function<void()>& work) { work_ = work; }
void Graph::launch(Stream) { work_(); }

}  // namespace gpu
}  // namespace nerfscene

namespace emulate {

// Whatever in a kernel's argument can be an address must be one on the device. Numbers may look like addresses, but
// hardly like those of memory that is in use, which `msync` tells.
void require_on_device(const void* argument, size_t bytes) {
    static const uint64_t page = uint64_t(sysconf(_SC_PAGESIZE));
    for (size_t at = 0; at + sizeof(uint64_t) <= bytes; at += sizeof(uint64_t)) {
        uint64_t word;
        std::memcpy(&word, static_cast<const char*>(argument) + at, sizeof(word));
        if (word >> 32 == 0 || word >> 47 != 0) continue;
        const auto address = reinterpret_cast<void*>(word);
        if (!nerfscene::gpu::is_device_accessible(address) &&
            msync(reinterpret_cast<void*>(word / page * page), 1, MS_ASYNC) == 0)
            throw nerfscene::gpu::Error("a kernel was given an address on the host");
    }
}

}  // namespace emulate

// For tests, which call these through ctypes.
extern "C" __attribute__((visibility("default"))) void* emulated_allocate(size_t bytes) {
    return nerfscene::gpu::allocate(bytes);
}
extern "C" __attribute__((visibility("default"))) int emulated_refuses(const void* argument, size_t bytes) {
    try {
        emulate::require_on_device(argument, bytes);
    } catch (const nerfscene::gpu::Error&) {
        return 1;
    }
    return 0;
}
