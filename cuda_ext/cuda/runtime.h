// The few things that the host needs from a GPU. cuda/runtime.cu implements them with the CUDA runtime, and
// tests/emulated_gpu with host memory. Nothing here needs CUDA's headers.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace nerfscene {
namespace gpu {

// Any failure. The message is a sentence that says what went wrong and, if known, what to do.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

using Stream = void*;  // a cudaStream_t; null: the default stream

struct Device {
    std::string name;
    int major, minor, multiprocessors;
    size_t memory, shared_per_block;  // bytes; `shared_per_block` is the most that a block may ask for
    int driver, runtime;              // CUDA versions, as 1000 · major + 10 · minor
    bool pools;                       // the driver has memory pools, see `allocate`
};
std::vector<Device> devices();    // throws Error if there is no usable driver
const Device& current_device();   // of the calling thread

// The device's own memory, which the host can't access. Where there are memory pools, neither function waits for the
// device. Memory must not be released while work that uses it is still running.
void* allocate(size_t bytes);
void release(void* pointer) noexcept;
size_t free_memory();  // bytes of the current device that can still be allocated
bool is_device_accessible(const void* pointer);
void copy(void* to, const void* from, size_t bytes, Stream stream);  // any direction
void zero(void* to, size_t bytes, Stream stream);
void synchronize(Stream stream);
Stream new_stream();
void delete_stream(Stream stream) noexcept;
// Writes an int on the device without waiting for running kernels. It tells a running kernel to stop.
void set_flag(int* flag, int value);

// Bytes in words, such as "1.5 GB".
inline std::string in_words(size_t bytes) {
    const bool large = bytes >= 100'000'000;
    const size_t tenths = (bytes + (large ? 50'000'000 : 50'000)) / (large ? 100'000'000 : 100'000);
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + (large ? " GB" : " MB");
}
// What is said when an allocation fails.
inline std::string out_of_memory(size_t bytes) {
    return "the GPU is out of memory: " + in_words(bytes) + " more are needed, and " + in_words(free_memory()) + " of its " +
           in_words(current_device().memory) + " are free; close other programs that use the GPU, or use --backend cpu";
}

// Work that is recorded once and launched many times.
class Graph {
  public:
    Graph() = default;
    ~Graph();
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;
    void record(Stream stream, const std::function<void()>& work);
    void launch(Stream stream);
    void reset();
    bool empty() const { return !executable_ && !work_; }

  private:
    void* executable_ = nullptr;
    std::function<void()> work_;  // for the emulated GPU
};

// Device memory that is freed when the object is destroyed.
template <class T>
class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(size_t n) { resize(n); }
    Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), n_(std::exchange(other.n_, 0)) {}
    Buffer& operator=(Buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(n_, other.n_);
        return *this;
    }
    ~Buffer() { release(data_); }
    // Loses the contents.
    void resize(size_t n) {
        release(std::exchange(data_, nullptr));
        n_ = 0;
        data_ = static_cast<T*>(allocate(n * sizeof(T)));
        n_ = n;
    }
    T* data() const { return data_; }
    size_t size() const { return n_; }

  private:
    T* data_ = nullptr;
    size_t n_ = 0;
};

}  // namespace gpu
}  // namespace nerfscene
