// Small dense matrix products for networks a few dozen wide:   C[i][:] (+)= Σ_k A(i, k) · B[k][:].
//
// One loop nest serves the forward pass, the input's gradient and the weights' gradient. This works because activations
// are stored by sample, every weight matrix is also stored transposed, and A is read with two strides.
// A block of C (kBlockRows × kBlockVectors vectors) stays in registers, B is streamed, and A is broadcast.
#pragma once
#include "simd.h"

NS_BEGIN

#if defined(__AVX512F__)
constexpr int kBlockRows = 12, kBlockVectors = 2;  // 24 of 32 registers hold sums
#elif defined(__AVX2__)
constexpr int kBlockRows = 6, kBlockVectors = 2;  // 12 of 16
#elif defined(__aarch64__)
constexpr int kBlockRows = 6, kBlockVectors = 4;  // 24 of 32
#else
constexpr int kBlockRows = 4, kBlockVectors = 2;
#endif

enum class After { kNothing, kRelu, kMask, kAdd };  // applied to each sum before it is stored

template <int R, int V, After E>
NS_HD void gemm_block(int depth, const float* a, long a_row, long a_depth, const float* b, long ldb,
                      float* c, long ldc, const float* mask, long ldm) {
    vf sum[R][V];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v)
            sum[r][v] = E == After::kAdd ? load(c + r * ldc + v * kWidth) : vf{};
    for (int k = 0; k < depth; ++k) {
        vf bk[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) bk[v] = load(b + k * ldb + v * kWidth);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const float x = a[r * a_row + k * a_depth];
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[r][v] += bk[v] * x;
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            vf x = sum[r][v];
            if (E == After::kRelu) x = ns_max(x, vf{});
            if (E == After::kMask) x = load(mask + r * ldm + v * kWidth) > vf{} ? x : vf{};
            store(c + r * ldc + v * kWidth, x);
        }
}

template <int V, After E>
NS_HD void gemm_rows(int rows, int depth, const float* a, long a_row, long a_depth, const float* b,
                     long ldb, float* c, long ldc, const float* mask, long ldm) {
    constexpr int R = V == 1 ? 2 * kBlockRows > 16 ? kBlockRows : 2 * kBlockRows : kBlockRows;
    int i = 0;
    for (; i + R <= rows; i += R)
        gemm_block<R, V, E>(depth, a + i * a_row, a_row, a_depth, b, ldb, c + i * ldc, ldc,
                            mask + i * ldm, ldm);
    for (; i + 4 <= rows; i += 4)
        gemm_block<4, V, E>(depth, a + i * a_row, a_row, a_depth, b, ldb, c + i * ldc, ldc,
                            mask + i * ldm, ldm);
    for (; i < rows; ++i)
        gemm_block<1, V, E>(depth, a + i * a_row, a_row, a_depth, b, ldb, c + i * ldc, ldc,
                            mask + i * ldm, ldm);
}

// C is (rows × columns); columns must be a multiple of 16. `mask` has the same shape and is used by kMask: it is the
// activation, and the gradient is zeroed where that is not positive.
template <After E>
static inline void gemm(int rows, int columns, int depth, const float* a, long a_row, long a_depth,
                        const float* b, long ldb, float* c, long ldc, const float* mask = nullptr,
                        long ldm = 0) {
    int j = 0;
    constexpr int V = kBlockVectors;
    for (; j + V * kWidth <= columns; j += V * kWidth)
        gemm_rows<V, E>(rows, depth, a, a_row, a_depth, b + j, ldb, c + j, ldc, mask + j, ldm);
    for (; j < columns; j += kWidth)
        gemm_rows<1, E>(rows, depth, a, a_row, a_depth, b + j, ldb, c + j, ldc, mask + j, ldm);
}

NS_END
