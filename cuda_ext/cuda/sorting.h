// Sums of everything before, and a stable sort, on a GPU. Plain: a thread takes a few neighbours, a block a few thousand.
#pragma once
#include "launch.h"

NS_BEGIN

constexpr int kSortThreads = 256, kSortEach = 8, kSortItems = kSortThreads * kSortEach;
constexpr int kDigitBits = 4, kDigits = 1 << kDigitBits;

// The sum of `mine` over the block's threads before this one; `total`: over all. All threads must call this.
NS_D uint32_t block_sum_before(uint32_t mine, uint32_t* shared, uint32_t& total) {
    const int i = int(threadIdx.x), n = int(blockDim.x);
    shared[i] = mine;
    __syncthreads();
    for (int d = 1; d < n; d *= 2) {
        const uint32_t other = i >= d ? shared[i - d] : 0;
        __syncthreads();
        shared[i] += other;
        __syncthreads();
    }
    total = shared[n - 1];
    const uint32_t before = shared[i] - mine;
    __syncthreads();
    return before;
}

// Each number becomes the sum of those before it. One block; `total` gets the sum of all.
__global__ void sum_before_kernel(uint32_t* values, int64_t n, uint32_t* total) {
    NS_SHARED(raw);
    uint32_t* shared = reinterpret_cast<uint32_t*>(raw);
    uint32_t sum = 0;
    for (int64_t base = 0; base < n; base += kSortItems) {
        uint32_t mine = 0, here[kSortEach];
        for (int k = 0; k < kSortEach; ++k) {
            const int64_t at = base + int64_t(threadIdx.x) * kSortEach + k;
            here[k] = at < n ? values[at] : 0, mine += here[k];
        }
        uint32_t all, before = sum + block_sum_before(mine, shared, all);
        for (int k = 0; k < kSortEach; ++k) {
            const int64_t at = base + int64_t(threadIdx.x) * kSortEach + k;
            if (at < n) values[at] = before;
            before += here[k];
        }
        sum += all;
    }
    if (threadIdx.x == 0) *total = sum;
}

// How many of each block's keys have each digit: counts (kDigits, blocks).
__global__ void count_digits_kernel(const uint32_t* keys, uint32_t n, int shift, uint32_t* counts) {
    NS_SHARED(raw);
    uint32_t* shared = reinterpret_cast<uint32_t*>(raw);
    if (threadIdx.x < kDigits) shared[threadIdx.x] = 0;
    __syncthreads();
    const uint32_t first = blockIdx.x * kSortItems + threadIdx.x * kSortEach;
    for (int k = 0; k < kSortEach; ++k)
        if (first + k < n) atomicAdd(shared + (keys[first + k] >> shift & (kDigits - 1)), 1u);
    __syncthreads();
    if (threadIdx.x < kDigits) counts[threadIdx.x * gridDim.x + blockIdx.x] = shared[threadIdx.x];
}

// Moves keys and values to their places by one digit; `starts`: count_digits_kernel's counts, summed.
__global__ void place_by_digit_kernel(const uint32_t* keys, const uint32_t* values, uint32_t n, int shift,
                                      const uint32_t* starts, uint32_t* to_keys, uint32_t* to_values) {
    NS_SHARED(raw);
    uint32_t* shared = reinterpret_cast<uint32_t*>(raw);
    const uint32_t first = blockIdx.x * kSortItems + threadIdx.x * kSortEach;
    for (uint32_t digit = 0; digit < kDigits; ++digit) {
        uint32_t mine = 0, all;
        for (int k = 0; k < kSortEach; ++k)
            mine += first + k < n && (keys[first + k] >> shift & (kDigits - 1)) == digit;
        uint32_t to = starts[digit * gridDim.x + blockIdx.x] + block_sum_before(mine, shared, all);
        for (int k = 0; k < kSortEach && mine; ++k)
            if (first + k < n && (keys[first + k] >> shift & (kDigits - 1)) == digit)
                to_keys[to] = keys[first + k], to_values[to++] = values[first + k];
    }
}

NS_END

namespace nerfscene {
namespace gpu {

// Memory that only grows.
template <class T>
class Grown {
  public:
    T* with(size_t n) {
        if (n > buffer_.size()) buffer_.resize(n + n / 4 + 1);
        return buffer_.data();
    }
    T* data() const { return buffer_.data(); }

  private:
    Buffer<T> buffer_;
};

inline void sum_before(uint32_t* values, int64_t n, uint32_t* total) {
    launch(cuda::sum_before_kernel, 1, cuda::kSortThreads, cuda::kSortThreads * sizeof(uint32_t), nullptr, values, n, total);
}

// Sorts by the lowest `bits` of the keys; of equal keys, the order stays.
struct Sorting {
    Grown<uint32_t> keys, values, other_keys, other_values, counts, total;
    // Keys and values are in `keys` and `values` before and after.
    void sort(uint32_t n, int bits) {
        if (n == 0) return;
        const int blocks = blocks_for(n, cuda::kSortItems);
        const size_t shared = cuda::kSortThreads * sizeof(uint32_t);
        const int64_t places = int64_t(blocks) * cuda::kDigits;
        uint32_t *k = keys.data(), *v = values.data(), *to_k = other_keys.with(n), *to_v = other_values.with(n);
        uint32_t *c = counts.with(size_t(places)), *t = total.with(1);
        int passes = (bits + cuda::kDigitBits - 1) / cuda::kDigitBits;
        passes += passes % 2;  // so that the result is where it began
        for (int pass = 0; pass < passes; ++pass) {
            const int shift = pass * cuda::kDigitBits;
            launch(cuda::count_digits_kernel, blocks, cuda::kSortThreads, shared, nullptr, static_cast<const uint32_t*>(k), n,
                   shift, c);
            sum_before(c, places, t);
            launch(cuda::place_by_digit_kernel, blocks, cuda::kSortThreads, shared, nullptr, static_cast<const uint32_t*>(k),
                   static_cast<const uint32_t*>(v), n, shift, static_cast<const uint32_t*>(c), to_k, to_v);
            std::swap(k, to_k), std::swap(v, to_v);
        }
    }
};

}  // namespace gpu
}  // namespace nerfscene
