// Layers' products in bfloat16, with sums in float, on processors that have it: twice as fast, and good enough for
// training and for pictures, which are 8 bits deep. Other processors use gemm.h.
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

// gemm_block with both factors' numbers in pairs, of which `depth` are added up.
template <int R, int V, After E>
NS_BFLOAT static void bfloat_block(int depth, const uint32_t* a, long a_row, long a_depth, const uint32_t* b, long ldb,
                                   float* c, long ldc, const float* mask, long ldm) {
    __m512 sum[R][V];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v)
            sum[r][v] = E == After::kAdd ? _mm512_loadu_ps(c + r * ldc + v * 16) : _mm512_setzero_ps();
    for (int k = 0; k < depth; ++k) {
        __m512i bk[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) bk[v] = _mm512_loadu_si512(b + k * ldb + v * 16);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const __m512i x = _mm512_set1_epi32(int(a[r * a_row + k * a_depth]));
#pragma GCC unroll 2
            for (int v = 0; v < V; ++v) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], (__m512bh)x, (__m512bh)bk[v]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) {
            __m512 x = sum[r][v];
            if (E == After::kRelu) x = _mm512_max_ps(x, _mm512_setzero_ps());
            if (E == After::kMask) {
                const __m512 own = _mm512_loadu_ps(mask + r * ldm + v * 16);
                x = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(own, _mm512_setzero_ps(), _CMP_GT_OQ), x);
            }
            _mm512_storeu_ps(c + r * ldc + v * 16, x);
        }
}
template <int V, After E>
NS_BFLOAT static void bfloat_columns(int n, int depth, const uint32_t* a, long a_row, long a_depth, const uint32_t* b,
                                     long ldb, float* c, long ldc, const float* mask, long ldm) {
    int i = 0;
    for (; i + 12 <= n; i += 12)
        bfloat_block<12, V, E>(depth, a + i * a_row, a_row, a_depth, b, ldb, c + i * ldc, ldc, mask + i * ldm, ldm);
    for (; i + 4 <= n; i += 4)
        bfloat_block<4, V, E>(depth, a + i * a_row, a_row, a_depth, b, ldb, c + i * ldc, ldc, mask + i * ldm, ldm);
    for (; i < n; ++i)
        bfloat_block<1, V, E>(depth, a + i * a_row, a_row, a_depth, b, ldb, c + i * ldc, ldc, mask + i * ldm, ldm);
}
template <After E>
NS_BFLOAT static void bfloat_gemm(int rows, int columns, int depth, const uint32_t* a, long a_row, long a_depth,
                                  const uint32_t* b, long ldb, float* c, long ldc, const float* mask, long ldm) {
    int j = 0;
    for (; j + 32 <= columns; j += 32)
        bfloat_columns<2, E>(rows, depth, a, a_row, a_depth, b + j, ldb, c + j, ldc, mask + j, ldm);
    for (; j < columns; j += 16)
        bfloat_columns<1, E>(rows, depth, a, a_row, a_depth, b + j, ldb, c + j, ldc, mask + j, ldm);
}

// from · weights of n samples, at most kBlock, with `E` applied to the sums. from: (n, in); to: (n, columns), of `ldb`
// that the pairs have; mask: (n, columns).
template <After E>
NS_BFLOAT static void bfloat_layer(int n, int in, int columns, const float* from, const uint32_t* pairs, long ldb,
                                   float* to, const float* mask = nullptr) {
    alignas(64) uint32_t rows[kBlock * kMaxWidth / 2];
    for (int i = 0; i < n * in; i += 16)
        _mm256_store_si256((__m256i*)(rows + i / 2), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + i)));
    bfloat_gemm<E>(n, columns, in / 2, rows, in / 2, 1, pairs, ldb, to, columns, mask, columns);
}

// Pairs of samples, as pair_weights makes them of rows of weights. After an odd last sample comes one of zeros.
NS_BFLOAT static int pair_samples(int n, int width, const float* from, uint32_t* pairs) {
    pair_weights(n & ~1, width, from, pairs);
    if (n & 1)
        for (int j = 0; j < width; j += 16) {
            const __m512 last = _mm512_loadu_ps(from + (n - 1) * width + j);
            _mm512_storeu_si512(pairs + n / 2 * width + j, _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(last)));
        }
    return (n + 1) / 2;
}
// gradient (in, out) += the sum over n samples, at most kBlock, of below (n, in) times d (n, out).
NS_BFLOAT static void bfloat_gradient(int n, int in, int out, const float* below, const float* d, float* gradient) {
    alignas(64) uint32_t a[kBlock * kMaxWidth / 2], b[kBlock * kMaxWidth / 2];
    const int depth = pair_samples(n, in, below, a);
    pair_samples(n, out, d, b);
    bfloat_gemm<After::kAdd>(in, out, depth, a, 1, in, b, out, gradient, out, nullptr, 0);
}
#else
static inline bool has_bfloat() { return false; }
static inline void pair_weights(int, int, const float*, uint32_t*) {}
template <After E>
static inline void bfloat_layer(int, int, int, const float*, const uint32_t*, long, float*, const float* = nullptr) {}
static inline void bfloat_gradient(int, int, int, const float*, const float*, float*) {}
#endif

NS_END
