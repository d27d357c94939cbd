// Vectors as wide as the instruction set that this file is compiled for, and a few operations on them. They use the
// compiler's vector extensions, so one source serves AVX-512, AVX2, SSE2 and NEON.
#pragma once
#include "../include/platform.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

NS_BEGIN

#if defined(__AVX512F__)
constexpr int kWidth = 16;
#elif defined(__AVX2__)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif

typedef float vf __attribute__((vector_size(4 * kWidth)));
typedef int32_t vi __attribute__((vector_size(4 * kWidth)));
typedef uint32_t vu __attribute__((vector_size(4 * kWidth)));
typedef float vf_any __attribute__((vector_size(4 * kWidth), aligned(4), may_alias));
typedef uint32_t vu_any __attribute__((vector_size(4 * kWidth), aligned(4), may_alias));

template <>
struct Lanes<vf> {
    using Int = vi;
    using Uint = vu;
    static NS_HD vi to_int(vf x) { return __builtin_convertvector(x, vi); }
    static NS_HD vf to_float(vi i) { return __builtin_convertvector(i, vf); }
    static NS_HD vi bits(vf x) { return (vi)x; }
    static NS_HD vf from_bits(vi i) { return (vf)i; }
    static NS_HD vf sqrt(vf x) {
#if defined(__AVX512F__)
        return (vf)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
        return (vf)_mm256_sqrt_ps((__m256)x);
#else
        for (int i = 0; i < kWidth; ++i) x[i] = sqrtf(x[i]);
        return x;
#endif
    }
};

NS_HD vf load(const float* p) { return *(const vf_any*)p; }
NS_HD void store(float* p, vf v) { *(vf_any*)p = v; }
NS_HD void store(uint32_t* p, vu v) { *(vu_any*)p = v; }
NS_HD vf splat(float x) { return x - vf{}; }
// start, start + 1, start + 2, …
NS_HD vf iota(float start) {
    vf v;
    for (int i = 0; i < kWidth; ++i) v[i] = start + float(i);
    return v;
}
// The natural logarithm of positive, normal numbers, with an error below 2 units in the last place. Writes x = 2^n (1 + f)
// with 1 + f from √½ to √2, and evaluates the polynomial of the Cephes library in f.
NS_HD vf ns_log(vf x) {
    const vi bits = (vi)x - 0x3f3504f3, n = bits >> 23;
    const vf f = (vf)((bits & 0x007fffff) + 0x3f3504f3) - 1.0f, e = Lanes<vf>::to_float(n);
    vf p = f * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    const vf square = f * f;
    return (f + (p * f * square + e * -2.12194440e-4f - square * 0.5f)) + e * 0.693359375f;
}
// The lanes, as bits, whose bit number `index` is set in `bits`. Only lanes in `valid` are read.
NS_HD uint32_t gather_bits(const uint32_t* bits, vi index, uint32_t valid) {
#if defined(__AVX512F__)
    const __m512i i = (__m512i)index;
    const __m512i words = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), __mmask16(valid), _mm512_srai_epi32(i, 5),
                                                      (const int*)bits, 4);
    const __m512i bit = _mm512_sllv_epi32(_mm512_set1_epi32(1), _mm512_and_si512(i, _mm512_set1_epi32(31)));
    return _mm512_test_epi32_mask(words, bit);
#else
    alignas(64) uint32_t at[kWidth];
    store(at, (vu)index);
    uint32_t found = 0;
    for (int i = 0; i < kWidth; ++i)
        if ((valid >> i) & 1u) found |= ((bits[at[i] >> 5] >> (at[i] & 31)) & 1u) << i;
    return found;
#endif
}
// A comparison's lanes, as bits.
NS_HD uint32_t lane_bits(vi mask) {
#if defined(__AVX512F__)
    return _mm512_movepi32_mask((__m512i)mask);
#elif defined(__AVX2__)
    return uint32_t(_mm256_movemask_ps((__m256)mask));
#else
    uint32_t found = 0;
    for (int i = 0; i < kWidth; ++i) found |= uint32_t(mask[i] & 1) << i;
    return found;
#endif
}
// The lanes, as a comparison gives them, of which `bits` are set.
NS_HD vi lanes_mask(uint32_t bits) {
#if defined(__AVX512F__)
    return (vi)_mm512_movm_epi32(__mmask16(bits));
#else
    vi mask;
    for (int i = 0; i < kWidth; ++i) mask[i] = (bits >> i) & 1u ? -1 : 0;
    return mask;
#endif
}
// Each lane's neighbour of one number less; the first lane keeps its own.
NS_HD vi lane_before(vi v) {
#if defined(__AVX512F__)
    return (vi)_mm512_permutexvar_epi32(_mm512_set_epi32(14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0), (__m512i)v);
#elif defined(__AVX2__)
    return (vi)_mm256_permutevar8x32_epi32((__m256i)v, _mm256_set_epi32(6, 5, 4, 3, 2, 1, 0, 0));
#else
    vi before;
    for (int i = 0; i < kWidth; ++i) before[i] = v[i ? i - 1 : 0];
    return before;
#endif
}
// Writes the lanes of `v` that are set in `lanes` one after the other. What follows them, up to a whole vector, changes.
NS_HD void compress(float* to, vf v, uint32_t lanes) {
#if defined(__AVX512F__)
    _mm512_storeu_ps(to, _mm512_maskz_compress_ps(__mmask16(lanes), (__m512)v));
#elif defined(__AVX2__) && defined(__BMI2__) && defined(__x86_64__)
    const uint64_t set = _pdep_u64(lanes, 0x0101010101010101u) * 0xff, from = _pext_u64(0x0706050403020100u, set);
    const __m256i lane = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)from));
    _mm256_storeu_ps(to, _mm256_permutevar8x32_ps((__m256)v, lane));
#else
    for (; lanes; lanes &= lanes - 1) *to++ = v[__builtin_ctz(lanes)];
#endif
}
// The reverse: reads one number for each lane that is set in `lanes`. A whole vector must be readable.
NS_HD vf expand(const float* from, uint32_t lanes) {
#if defined(__AVX512F__)
    return (vf)_mm512_maskz_expand_ps(__mmask16(lanes), _mm512_loadu_ps(from));
#elif defined(__AVX2__) && defined(__BMI2__) && defined(__x86_64__)
    const uint64_t set = _pdep_u64(lanes, 0x0101010101010101u) * 0xff, at = _pdep_u64(0x0706050403020100u, set);
    const __m256i lane = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)at));
    return (vf)_mm256_permutevar8x32_ps(_mm256_loadu_ps(from), lane);
#else
    vf v = {};
    for (; lanes; lanes &= lanes - 1) v[__builtin_ctz(lanes)] = *from++;
    return v;
#endif
}
// Square roots of vectors of other widths, for table rows.
typedef float v2 __attribute__((vector_size(8)));
typedef float v4 __attribute__((vector_size(16)));
typedef float v8 __attribute__((vector_size(32)));
template <>
struct Lanes<v2> {
    static NS_HD v2 sqrt(v2 x) { return v2{sqrtf(x[0]), sqrtf(x[1])}; }
};
#if defined(__AVX__)
template <>
struct Lanes<v4> {
    static NS_HD v4 sqrt(v4 x) { return (v4)_mm_sqrt_ps((__m128)x); }
};
#endif
#if defined(__AVX512F__)
template <>
struct Lanes<v8> {
    static NS_HD v8 sqrt(v8 x) { return (v8)_mm256_sqrt_ps((__m256)x); }
};
#elif !defined(__AVX2__)
template <>
struct Lanes<v8> {
    static NS_HD v8 sqrt(v8 x) {
        for (int i = 0; i < 8; ++i) x[i] = sqrtf(x[i]);
        return x;
    }
};
#endif

// A table row of F features as floats, independent of the vector width. F is 2, 4 or 8.
template <int F>
struct Row {
    typedef float type __attribute__((vector_size(4 * F)));
    typedef float any __attribute__((vector_size(4 * F), aligned(4), may_alias));
    typedef uint32_t bits __attribute__((vector_size(4 * F)));
    typedef uint16_t halves __attribute__((vector_size(2 * F)));
};
template <int F>
NS_HD typename Row<F>::type load_row(const float* p) {
    return *(const typename Row<F>::any*)p;
}
template <int F>
NS_HD void store_row(float* p, typename Row<F>::type v) {
    *(typename Row<F>::any*)p = v;
}

// 1 / (√v + epsilon), for v of 0 or more, to about two units in the last place. Where there are approximations of the two
// inverses, a step of Newton's method for each is faster than a root and a division.
template <int F>
NS_HD typename Row<F>::type inverse_root(typename Row<F>::type v, float epsilon) {
    using V = typename Row<F>::type;
#if defined(__AVX2__)
    if constexpr (F >= 4) {
        const auto estimate = [](V x, bool root) -> V {
            if constexpr (F == 8) {
#if defined(__AVX512VL__)
                return root ? (V)_mm256_rsqrt14_ps((__m256)x) : (V)_mm256_rcp14_ps((__m256)x);
#else
                return root ? (V)_mm256_rsqrt_ps((__m256)x) : (V)_mm256_rcp_ps((__m256)x);
#endif
            } else {
#if defined(__AVX512VL__)
                return root ? (V)_mm_rsqrt14_ps((__m128)x) : (V)_mm_rcp14_ps((__m128)x);
#else
                return root ? (V)_mm_rsqrt_ps((__m128)x) : (V)_mm_rcp_ps((__m128)x);
#endif
            }
        };
        v = v + 2e-38f;  // the inverse root of 0 would be infinite
        const V x = estimate(v, true), y = x * (1.5f - (v * 0.5f) * (x * x));
        const V root = v * y + epsilon, z = estimate(root, false);
        return z * (2.0f - root * z);
    }
#endif
    return 1.0f / (Lanes<V>::sqrt(v) + epsilon);
}

// --- half precision (IEEE binary16), round to nearest even -------------------------------------------
NS_HD float half_to_float(uint16_t h) {
    const uint32_t magnitude = uint32_t(h & 0x7fff) << 13, sign = uint32_t(h & 0x8000) << 16;
    float f;  // multiplying by 2^112, the difference of the exponents' biases, handles subnormals too
    std::memcpy(&f, &magnitude, 4);
    f *= 5.192296858534828e33f;
    uint32_t bits;
    std::memcpy(&bits, &f, 4);
    bits |= sign;
    std::memcpy(&f, &bits, 4);
    return f;
}
NS_HD uint16_t float_to_half(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    const uint32_t sign = (bits >> 16) & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x477fe000) bits = 0x477fe000;  // saturate at 65504, so that a table never has infinities
    if (bits < 0x38800000) {                   // subnormal: the addition below rounds it
        float f;
        std::memcpy(&f, &bits, 4);
        f += 0.5f;
        std::memcpy(&bits, &f, 4);
        return uint16_t(sign | (bits - 0x3f000000));
    }
    bits += 0xc8000fff + ((bits >> 13) & 1);
    return uint16_t(sign | (bits >> 13));
}

template <int F>
NS_HD typename Row<F>::type load_half_row(const uint16_t* p) {
    typename Row<F>::type r;
#if defined(__F16C__)
    if constexpr (F == 8) return (typename Row<F>::type)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
    if constexpr (F == 4) return (typename Row<F>::type)_mm_cvtph_ps(_mm_loadl_epi64((const __m128i*)p));
#elif defined(__aarch64__)
    if constexpr (F >= 4) {
        for (int i = 0; i < F; i += 4) {
            const float32x4_t q = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + i)));
            for (int j = 0; j < 4; ++j) r[i + j] = q[j];
        }
        return r;
    }
#endif
    for (int i = 0; i < F; ++i) r[i] = half_to_float(p[i]);
    return r;
}
template <int F>
NS_HD void store_half_row(uint16_t* p, typename Row<F>::type r) {
#if defined(__F16C__)  // the instruction would give infinity where float_to_half saturates
    if constexpr (F == 8) {
        const __m256 top = _mm256_set1_ps(65504.0f), bottom = _mm256_set1_ps(-65504.0f);
        const __m256 x = _mm256_max_ps(_mm256_min_ps((__m256)r, top), bottom);
        _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
        return;
    }
    if constexpr (F == 4) {
        const __m128 x = _mm_max_ps(_mm_min_ps((__m128)r, _mm_set1_ps(65504.0f)), _mm_set1_ps(-65504.0f));
        _mm_storel_epi64((__m128i*)p, _mm_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
        return;
    }
#endif
    for (int i = 0; i < F; ++i) p[i] = float_to_half(r[i]);
}

NS_END
