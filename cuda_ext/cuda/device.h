// What device code needs beyond plain C++, for CUDA and for the emulated GPU of the tests. (tests/emulated_gpu compiles
// the same sources with the host's compiler and runs every thread as a fiber.)
#pragma once
#include <cstddef>
#include <cstdint>

#include "../include/platform.h"

#if defined(NS_EMULATE)
#include "emulate.h"
#define NS_D inline
#else
#include <cuda_fp16.h>
#define NS_D __device__ __forceinline__
#define NS_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#endif

NS_BEGIN

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// --- half precision, stored as its bits ------------------------------------------------------------------
// A number that is too large becomes the largest FP16 number, not infinity. NaN stays NaN, so that diverging training
// is noticed.
NS_D float clamp_to_half(float x) { return x > 65504.0f ? 65504.0f : x < -65504.0f ? -65504.0f : x; }
NS_D uint16_t to_half_bits(float x) {
#if defined(NS_EMULATE)
    return emulate::float_to_half(clamp_to_half(x));
#else
    return __half_as_ushort(__float2half_rn(clamp_to_half(x)));
#endif
}
NS_D float from_half_bits(uint16_t h) {
#if defined(NS_EMULATE)
    return emulate::half_to_float(h);
#else
    return __half2float(__ushort_as_half(h));
#endif
}
NS_D uint32_t pack_halves(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800  // converts both at once
    const __half2 largest = __float2half2_rn(65504.0f), both = __floats2half2_rn(low, high);
    const __half2 kept = __hmax2_nan(__hmin2_nan(both, largest), __hneg2(largest));
    uint32_t bits;
    memcpy(&bits, &kept, sizeof(bits));
    return bits;
#else
    return uint32_t(to_half_bits(low)) | uint32_t(to_half_bits(high)) << 16;
#endif
}

// --- tensor cores ------------------------------------------------------------------------------------
// One warp computes c (16×8, FP32) += a (16×16, FP16) · b (16×8, FP16). With g = lane / 4 and p = 2 (lane % 4):
//   a[0] = A[g][p, p+1]      a[1] = A[g+8][p, p+1]    a[2] = A[g][p+8, p+9]   a[3] = A[g+8][p+8, p+9]
//   b[0] = B[p, p+1][g]      b[1] = B[p+8, p+9][g]
//   c[0], c[1] = C[g][p, p+1]                         c[2], c[3] = C[g+8][p, p+1]
// (PTX ISA, "Matrix Fragments for mma.m16n8k16"). Turing's instruction has half that depth, so it is issued twice. The
// asm is volatile because the whole warp must execute it: otherwise the compiler may move it into a branch that only
// the lanes needing the result take.
NS_D void mma(float* c, const uint32_t* a, const uint32_t* b) {
#if defined(NS_EMULATE)
    emulate::mma(c, a, b);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif defined(__CUDA_ARCH__)
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(b[0]));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[2]), "r"(a[3]), "r"(b[1]));
#endif
}

// --- atomics -----------------------------------------------------------------------------------------
// to[0 … F) += g[0 … F); `to` is aligned to F floats. From Hopper on, one instruction adds four floats.
template <int F>
NS_D void add_row(float* to, const float* g) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if constexpr (F % 4 == 0) {
#pragma unroll
        for (int i = 0; i < F; i += 4)
            atomicAdd(reinterpret_cast<float4*>(to + i), make_float4(g[i], g[i + 1], g[i + 2], g[i + 3]));
    } else {
        atomicAdd(reinterpret_cast<float2*>(to), make_float2(g[0], g[1]));
    }
#else
#pragma unroll
    for (int i = 0; i < F; ++i) atomicAdd(to + i, g[i]);
#endif
}
// *to = max(*to, value) for numbers that are not negative, whose bits compare like integers.
NS_D void max_positive(float* to, float value) {
    if (value > *to) atomicMax(reinterpret_cast<int*>(to), Lanes<float>::bits(value));
}

// --- several numbers at once ---------------------------------------------------------------------------
// Loads N floats; `from` is aligned to N floats, or to four if N is more.
template <int N>
NS_D void load_floats(const float* from, float* to) {
    if constexpr (N == 2) {
        const float2 v = *reinterpret_cast<const float2*>(from);
        to[0] = v.x, to[1] = v.y;
    } else {
#pragma unroll
        for (int i = 0; i < N; i += 4) {
            const float4 v = *reinterpret_cast<const float4*>(from + i);
            to[i] = v.x, to[i + 1] = v.y, to[i + 2] = v.z, to[i + 3] = v.w;
        }
    }
}
template <int N>
NS_D void store_floats(float* to, const float* from) {
    if constexpr (N == 2) {
        *reinterpret_cast<float2*>(to) = make_float2(from[0], from[1]);
    } else {
#pragma unroll
        for (int i = 0; i < N; i += 4)
            *reinterpret_cast<float4*>(to + i) = make_float4(from[i], from[i + 1], from[i + 2], from[i + 3]);
    }
}
template <int N>
NS_D void store_halves(uint16_t* to, const float* from) {
    if constexpr (N == 2)
        *reinterpret_cast<uint32_t*>(to) = pack_halves(from[0], from[1]);
    else if constexpr (N == 4)
        *reinterpret_cast<uint2*>(to) = make_uint2(pack_halves(from[0], from[1]), pack_halves(from[2], from[3]));
    else
        *reinterpret_cast<uint4*>(to) = make_uint4(pack_halves(from[0], from[1]), pack_halves(from[2], from[3]),
                                                   pack_halves(from[4], from[5]), pack_halves(from[6], from[7]));
}

// --- warps -------------------------------------------------------------------------------------------
NS_D int lane_index() { return int(threadIdx.x) % kWarp; }
NS_D int warp_index() { return int(threadIdx.x) / kWarp; }
NS_D int highest_bit(unsigned x) { return 31 - __clz(int(x)); }
// Neighbouring lanes of a warp that work together, usually on one ray: `size` of them, a power of two.
struct Group {
    int size, place, first;  // `place`: this lane's index in the group; `first`: its first lane's index in the warp

    NS_D explicit Group(int lanes) : size(lanes), place(lane_index() & (lanes - 1)), first(lane_index() - place) {}
    NS_D bool leads() const { return place == 0; }
    // Bit k of the result is `yes` of the group's lane k. All lanes of the warp must call this.
    NS_D unsigned votes(bool yes) const { return __ballot_sync(kAllLanes, yes) >> first & (kAllLanes >> (kWarp - size)); }
    NS_D unsigned earlier() const { return (1u << place) - 1u; }  // the bits of the lanes before this one
    // `mine` of the group's lane k. All lanes of the warp must call this.
    template <class T>
    NS_D T from(int k, T mine) const { return __shfl_sync(kAllLanes, mine, first + k); }
    NS_D float sum(float x) const {
        for (int d = size / 2; d > 0; d /= 2) x += __shfl_xor_sync(kAllLanes, x, d);
        return x;
    }
};
NS_D float warp_sum(float x) { return Group(kWarp).sum(x); }
// Gives each lane with `want` an index of its own from a counter, with one atomic per warp.
NS_D uint32_t take_indices(uint32_t* counter, bool want) {
    const unsigned takers = __ballot_sync(kAllLanes, want);
    uint32_t base = 0;
    if (lane_index() == 0 && takers) base = atomicAdd(counter, uint32_t(__popc(takers)));
    base = __shfl_sync(kAllLanes, base, 0);
    return base + uint32_t(__popc(takers & ((1u << lane_index()) - 1u)));
}

NS_END
