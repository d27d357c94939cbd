// Nearest neighbours among the descriptors of two photos' features: 128 bytes each, compared by their dot products, which
// are whole numbers, so that every instruction set finds the same.
#pragma once
#include "driver.h"
#include "simd.h"

NS_BEGIN

// The largest and the second largest product of a row in each lane, and where the largest is, in vectors of columns.
struct Largest {
    vi first, second, at;
};

static inline __attribute__((always_inline)) void consider(Largest& l, vi product, int at) {
    const vi larger = product > l.first;
    const vi lesser = larger ? l.first : product;
    l.second = lesser > l.second ? lesser : l.second;
    l.at = larger ? at - vi{} : l.at;
    l.first = larger ? product : l.first;
}

// One row's outcome from its lanes; of equal products the first in order counts. `more` was left out of each product.
static void conclude(const Largest& l, int more, int32_t* index, int32_t* first, int32_t* second) {
    int best = 0;
    for (int i = 1; i < kWidth; ++i)
        if (l.first[i] > l.first[best] || (l.first[i] == l.first[best] && l.at[i] < l.at[best])) best = i;
    int32_t next = l.second[best];
    for (int i = 0; i < kWidth; ++i)
        if (i != best && l.first[i] > next) next = l.first[i];
    *index = l.at[best] * kWidth + best, *first = l.first[best] + more, *second = next + more;
}

constexpr int32_t kNone = -(1 << 30);
static inline int padded_vectors(int m, int several) { return (m + several * kWidth - 1) / (several * kWidth) * several; }

// acc + the products of the lanes' two halves, numbers of 16 bits.
NS_HD vi add_products(vi acc, vi a, vi b) {
#if defined(__AVX512BW__)
    return (vi)_mm512_add_epi32((__m512i)acc, _mm512_madd_epi16((__m512i)a, (__m512i)b));
#elif defined(__AVX2__)
    return (vi)_mm256_add_epi32((__m256i)acc, _mm256_madd_epi16((__m256i)a, (__m256i)b));
#elif defined(__SSE2__)
    return (vi)_mm_add_epi32((__m128i)acc, _mm_madd_epi16((__m128i)a, (__m128i)b));
#else
    return acc + (a & 0xffff) * (b & 0xffff) + (a >> 16) * (b >> 16);  // descriptors are not negative
#endif
}

// R rows, each of 64 words of two numbers, with all columns: `words` has `vectors` times (64, kWidth) of them.
template <int R, int V>
static void word_rows(const int32_t* rows, const int32_t* words, int vectors, int32_t* index, int32_t* first,
                      int32_t* second) {
    Largest largest[R];
    for (int r = 0; r < R; ++r) largest[r] = {kNone - vi{}, kNone - vi{}, vi{}};
    for (int at = 0; at < vectors; at += V) {
        vi sum[R][V] = {};
        for (int k = 0; k < 64; ++k) {
            vi b[V];
            for (int v = 0; v < V; ++v) b[v] = (vi) * (const vu_any*)(words + ((at + v) * 64 + k) * kWidth);
            for (int r = 0; r < R; ++r) {
                const vi a = rows[r * 64 + k] - vi{};
                for (int v = 0; v < V; ++v) sum[r][v] = add_products(sum[r][v], a, b[v]);
            }
        }
        for (int r = 0; r < R; ++r)
            for (int v = 0; v < V; ++v) consider(largest[r], sum[r][v], at + v);
    }
    for (int r = 0; r < R; ++r) conclude(largest[r], 0, index + r, first + r, second + r);
}

static void nearest_by_words(const uint8_t* a, int n, const uint8_t* b, int m, int32_t* scratch, int32_t* index,
                             int32_t* first, int32_t* second) {
    constexpr int R = kWidth == 16 ? 6 : 4, V = kWidth == 16 ? 4 : 2;
    const int vectors = padded_vectors(m, V);
    int32_t* rows = scratch + vectors * kWidth * 64;
    for (int j = 0; j < vectors * kWidth; ++j)
        for (int k = 0; k < 64; ++k)
            scratch[(j / kWidth * 64 + k) * kWidth + j % kWidth] =
                j < m ? b[j * 128 + 2 * k] | b[j * 128 + 2 * k + 1] << 16 : 0;
    for (int i = 0; i < n * 64; ++i) rows[i] = a[2 * i] | a[2 * i + 1] << 16;
    int i = 0;
    for (; i + R <= n; i += R) word_rows<R, V>(rows + i * 64, scratch, vectors, index + i, first + i, second + i);
    for (; i < n; ++i) word_rows<1, V>(rows + i * 64, scratch, vectors, index + i, first + i, second + i);
}

#if defined(__AVX512F__) && defined(__x86_64__) && (defined(__clang__) ? __clang_major__ >= 7 : __GNUC__ >= 9)
// The same with products of bytes, four at a time. The columns are taken as signed, less 128.
#define NS_VNNI __attribute__((target("avx512vnni")))
static bool has_vnni() { return __builtin_cpu_supports("avx512vnni"); }

template <int R, int V>
NS_VNNI static void byte_rows(const uint8_t* rows, const int32_t* bytes, int vectors, int32_t* index, int32_t* first,
                              int32_t* second) {
    Largest largest[R];
    for (int r = 0; r < R; ++r) largest[r] = {kNone - vi{}, kNone - vi{}, vi{}};
    for (int at = 0; at < vectors; at += V) {
        __m512i sum[R][V];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) sum[r][v] = _mm512_setzero_si512();
        for (int k = 0; k < 32; ++k) {
            __m512i b[V];
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) b[v] = _mm512_loadu_si512(bytes + ((at + v) * 32 + k) * 16);
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
                int32_t four;
                __builtin_memcpy(&four, rows + r * 128 + 4 * k, 4);
                const __m512i a = _mm512_set1_epi32(four);
#pragma GCC unroll 8
                for (int v = 0; v < V; ++v) sum[r][v] = _mm512_dpbusd_epi32(sum[r][v], a, b[v]);
            }
        }
        for (int r = 0; r < R; ++r)
            for (int v = 0; v < V; ++v) consider(largest[r], (vi)sum[r][v], at + v);
    }
    for (int r = 0; r < R; ++r) {
        int more = 0;
        for (int k = 0; k < 128; ++k) more += 128 * rows[r * 128 + k];
        conclude(largest[r], more, index + r, first + r, second + r);
    }
}

NS_VNNI static void nearest_by_bytes(const uint8_t* a, int n, const uint8_t* b, int m, int32_t* scratch, int32_t* index,
                                     int32_t* first, int32_t* second) {
    constexpr int R = 6, V = 4;
    const int vectors = padded_vectors(m, V);
    for (int j = 0; j < vectors * 16; ++j)
        for (int k = 0; k < 32; ++k) {
            uint32_t four = 0;
            if (j < m) __builtin_memcpy(&four, b + j * 128 + 4 * k, 4);
            scratch[(j / 16 * 32 + k) * 16 + j % 16] = int32_t(four ^ 0x80808080u);
        }
    int i = 0;
    for (; i + R <= n; i += R) byte_rows<R, V>(a + i * 128, scratch, vectors, index + i, first + i, second + i);
    for (; i < n; ++i) byte_rows<1, V>(a + i * 128, scratch, vectors, index + i, first + i, second + i);
}
#else
static bool has_vnni() { return false; }
static void nearest_by_bytes(const uint8_t*, int, const uint8_t*, int, int32_t*, int32_t*, int32_t*, int32_t*) {}
#endif

static void nearest(const uint8_t* a, int n, const uint8_t* b, int m, int32_t* scratch, int32_t* index, int32_t* first,
                    int32_t* second) {
    (has_vnni() ? nearest_by_bytes : nearest_by_words)(a, n, b, m, scratch, index, first, second);
}

NS_END
