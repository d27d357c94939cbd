// cuda/runtime.h for the emulated GPU: its memory is the host's, and its streams are never busy.
#include "../../cuda_ext/cuda/runtime.h"

#include <cstdlib>
#include <cstring>
#include <map>

namespace nerfscene {
namespace gpu {

// NERFSCENE_EMULATED_APART: host and device can't share memory, as under Windows.
// NERFSCENE_EMULATED_SHARED: the bytes of shared memory that a block may ask for, to test small cards.
std::vector<Device> devices() {
    const char* shared = std::getenv("NERFSCENE_EMULATED_SHARED");
    return {{"emulated GPU", 9, 0, 2, size_t(1) << 32, shared ? size_t(std::atol(shared)) : size_t(227 * 1024), 13000, 13000,
             !std::getenv("NERFSCENE_EMULATED_APART")}};
}
const Device& current_device() {
    static Device device;
    device = devices()[0];
    return device;
}
namespace {
// The memory that the emulated device can reach: start → size.
std::map<const char*, size_t>& reachable() {
    static std::map<const char*, size_t> all;
    return all;
}
}  // namespace

void* allocate(size_t bytes) {
    void* p = std::aligned_alloc(256, (bytes + 511) / 256 * 256);
    if (!p) throw Error("the GPU failed while allocating memory");
    std::memset(p, 0xff, bytes);  // nothing may rely on fresh memory being zero
    reachable()[static_cast<char*>(p)] = bytes;
    return p;
}
void release(void* pointer) noexcept {
    reachable().erase(static_cast<char*>(pointer));
    std::free(pointer);
}
void* allocate_managed(size_t bytes) {
    if (!current_device().shares_memory) throw Error("the GPU and the processor can't share memory");
    return allocate(bytes);
}
void release_managed(void* pointer) noexcept { release(pointer); }
void prefetch(const void*, size_t, Stream) {}
bool is_device_accessible(const void* pointer) {
    const char* p = static_cast<const char*>(pointer);
    auto after = reachable().upper_bound(p);
    return after != reachable().begin() && p < (--after)->first + after->second;
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
