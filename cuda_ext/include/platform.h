// What every header of the kernels' math needs: NS_HD, which lets one source compile for the CPU and for CUDA, and a
// few elementary functions that take a number or a vector of numbers.
//
// The namespace is named after the instruction set (NS_ISA). The same headers are compiled several times into one
// module, and the linker must never use an inline function that was compiled for AVX-512 in the portable code.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define NS_HD __host__ __device__ __forceinline__
#else
#define NS_HD inline __attribute__((always_inline))
#endif
#ifndef NS_ISA
#if defined(__CUDACC__) || defined(NS_EMULATE)
#define NS_ISA cuda
#else
#define NS_ISA generic
#endif
#endif
#define NS_BEGIN   \
    namespace nerfscene { \
    namespace NS_ISA {
#define NS_END }}

NS_BEGIN

struct Vec3 {
    float x, y, z;
};
NS_HD Vec3 operator+(Vec3 a, Vec3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
NS_HD Vec3 operator-(Vec3 a, Vec3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
NS_HD Vec3 operator*(Vec3 a, float s) { return {a.x * s, a.y * s, a.z * s}; }
NS_HD float dot(Vec3 a, Vec3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

// The integer types that match T. cpu/simd.h specialises this for its vectors.
template <class T>
struct Lanes {
    using Int = int32_t;
    using Uint = uint32_t;
    static NS_HD Int to_int(T x) { return Int(x); }
    static NS_HD T to_float(Int i) { return T(i); }
    static NS_HD Int bits(T x) {
#if defined(__CUDA_ARCH__)
        return __float_as_int(x);
#else
        Int i;
        std::memcpy(&i, &x, 4);
        return i;
#endif
    }
    static NS_HD T from_bits(Int i) {
#if defined(__CUDA_ARCH__)
        return __int_as_float(i);
#else
        T x;
        std::memcpy(&x, &i, 4);
        return x;
#endif
    }
    static NS_HD T sqrt(T x) { return sqrtf(x); }
};

template <class T>
NS_HD T ns_max(T a, T b) {
    return a > b ? a : b;
}
template <class T>
NS_HD T ns_min(T a, T b) {
    return a < b ? a : b;
}
template <class T>
NS_HD T ns_abs(T a) {
    return a < (a - a) ? -a : a;
}

// exp(x) for |x| up to 87 (beyond that, clamped), with a relative error below 3e-7. Writes x = n ln 2 + r, evaluates a
// polynomial of degree 6 in r, and adds n to the exponent's bits. libm's exp takes no vectors.
template <class T>
NS_HD T ns_exp(T x) {
    using L = Lanes<T>;
    const T zero = x - x;
    x = ns_min(ns_max(x, zero - 87.0f), zero + 87.0f);
    const float magic = 12582912.0f;  // 1.5 · 2^23: adding it rounds to an integer
    const T t = x * 1.44269504f + magic;
    const T n = t - magic;
    const T r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    T p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return L::from_bits(L::bits(p) + (L::to_int(n) << 23));
}

template <class T>
NS_HD T ns_sigmoid(T x) {
    return 1.0f / (1.0f + ns_exp(-x));
}

NS_END
