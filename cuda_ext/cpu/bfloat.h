// A layer's product in bfloat16, with sums in float, on processors that have it: twice as fast, and good enough for
// pictures, which are 8 bits deep. Other processors use gemm.h.
#pragma once
#include "driver.h"
#include "gemm.h"

NS_BEGIN

#if defined(__AVX512F__) && defined(__x86_64__) && (defined(__clang__) ? __clang_major__ >= 9 : __GNUC__ >= 10)
#define NS_BFLOAT __attribute__((target("avx512bf16")))
// Asked for each picture: the kernels for AVX-512 also run on processors without bfloat16.
static inline bool has_bfloat() { return __builtin_cpu_supports("avx512bf16"); }

// A layer's weights (in × out) as the product takes them: two rows' numbers side by side in each of (in / 2 × out).
NS_BFLOAT static void pair_weights(int in, int out, const float* weights, uint32_t* pairs) {
    for (int k = 0; k < in; k += 2)
        for (int j = 0; j < out; j += 16) {
            const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(weights + k * out + j)));
            const __m512i high =
                _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(weights + (k + 1) * out + j)));
            _mm512_storeu_si512(pairs + k / 2 * out + j, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
        }
}

// R rows of the product with V vectors of columns, after which negative numbers become 0 if `relu`.
template <int R, int V, bool relu>
NS_BFLOAT static void bfloat_block(int in, const uint32_t* rows, const uint32_t* pairs, int out, float* to) {
    __m512 sum[R][V];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) sum[r][v] = _mm512_setzero_ps();
    for (int k = 0; k < in / 2; ++k) {
        __m512i b[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) b[v] = _mm512_loadu_si512(pairs + k * out + v * 16);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const __m512i a = _mm512_set1_epi32(int(rows[r * (in / 2) + k]));
#pragma GCC unroll 2
            for (int v = 0; v < V; ++v) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], (__m512bh)a, (__m512bh)b[v]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v)
            _mm512_storeu_ps(to + r * out + v * 16, relu ? _mm512_max_ps(sum[r][v], _mm512_setzero_ps()) : sum[r][v]);
}
template <int V, bool relu>
NS_BFLOAT static void bfloat_columns(int n, int in, const uint32_t* rows, const uint32_t* pairs, int out, float* to) {
    int i = 0;
    for (; i + 12 <= n; i += 12) bfloat_block<12, V, relu>(in, rows + i * (in / 2), pairs, out, to + i * out);
    for (; i + 4 <= n; i += 4) bfloat_block<4, V, relu>(in, rows + i * (in / 2), pairs, out, to + i * out);
    for (; i < n; ++i) bfloat_block<1, V, relu>(in, rows + i * (in / 2), pairs, out, to + i * out);
}

// from · weights of n samples, at most kBlock, and then its positive part if `relu`. from: (n, in), to: (n, out).
template <bool relu>
NS_BFLOAT static void bfloat_layer(int n, int in, int out, const float* from, const uint32_t* pairs, float* to) {
    alignas(64) uint32_t rows[kBlock * kMaxWidth / 2];
    for (int i = 0; i < n * in; i += 16)
        _mm256_store_si256((__m256i*)(rows + i / 2), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + i)));
    int j = 0;
    for (; j + 32 <= out; j += 32) bfloat_columns<2, relu>(n, in, rows, pairs + j, out, to + j);
    for (; j < out; j += 16) bfloat_columns<1, relu>(n, in, rows, pairs + j, out, to + j);
}
#else
static inline bool has_bfloat() { return false; }
static inline void pair_weights(int, int, const float*, uint32_t*) {}
template <bool relu>
static inline void bfloat_layer(int, int, int, const float*, const uint32_t*, float*) {}
#endif

NS_END
