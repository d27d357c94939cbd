// A GPU made of fibers: CUDA's names for the host's compiler, so that the sources that run on a GPU can be tested without
// one. A block's threads are fibers of one thread, and collective operations (shuffles, votes, barriers, tensor-core
// products) switch between them. It is slow and exact, and it finds deadlocks.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define NS_SHARED(name) unsigned char* const name = emulate::shared_memory()

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

extern uint3 threadIdx, blockIdx;  // of the running fiber
extern dim3 blockDim, gridDim;

namespace emulate {

// Runs a kernel's blocks one after the other. Throws std::runtime_error when threads wait for each other forever, or end
// while others wait for them at a barrier.
void run(int blocks, int threads, size_t shared, const std::function<void()>& kernel);
unsigned char* shared_memory();
// Throws if an argument of a kernel, or a member of it, is an address in the host's memory.
void require_on_device(const void* argument, size_t bytes);

void block_barrier();
void warp_barrier();
// Every lane passes a value and gets the values of all 32 lanes.
const uint64_t* exchange(uint64_t value);
void mma(float* c, const uint32_t* a, const uint32_t* b);

uint16_t float_to_half(float x);
float half_to_float(uint16_t h);

}  // namespace emulate

inline void __syncthreads() { emulate::block_barrier(); }
inline void __syncwarp(unsigned = 0xffffffffu) { emulate::warp_barrier(); }
inline void __threadfence() {}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }

template <class T>
T emulated_shuffle(T value, int from) {
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(T));
    const uint64_t got = emulate::exchange(bits)[from & 31];
    T out;
    __builtin_memcpy(&out, &got, sizeof(T));
    return out;
}
template <class T>
T __shfl_sync(unsigned, T value, int from) {
    return emulated_shuffle(value, from);
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
    return emulated_shuffle(value, int(threadIdx.x % 32) ^ mask);
}
inline unsigned __ballot_sync(unsigned, int predicate) {
    const uint64_t* all = emulate::exchange(predicate != 0);
    unsigned votes = 0;
    for (int i = 0; i < 32; ++i) votes |= unsigned(all[i]) << i;
    return votes;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }

// Only one fiber runs at a time, and none is interrupted. So plain arithmetic is atomic.
template <class T, class V>
T atomicAdd(T* to, V value) {
    const T before = *to;
    *to = before + T(value);
    return before;
}
template <class T>
T atomicMax(T* to, T value) {
    const T before = *to;
    if (value > before) *to = value;
    return before;
}
template <class T>
T atomicOr(T* to, T value) {
    const T before = *to;
    *to = before | value;
    return before;
}
template <class T>
T __ldg(const T* p) {
    return *p;
}
