// A counter-based random number generator: numbers are a function of (seed, counter), without state. So any thread on
// any device draws the same ones.
#pragma once
#include "platform.h"

NS_BEGIN

// A 32-bit mixer with full avalanche ("lowbias32", C. Wellons, 2018).
NS_HD uint32_t mix32(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    x ^= x >> 16;
    return x;
}
NS_HD uint32_t random_bits(uint32_t seed, uint32_t a, uint32_t b) {
    return mix32(mix32(mix32(seed ^ 0x9e3779b9u) + a) ^ (b * 0x85ebca6bu));
}
// Uniform in [0, 1).
NS_HD float random_unit(uint32_t seed, uint32_t a, uint32_t b) {
    return float(random_bits(seed, a, b) >> 8) * (1.0f / 16777216.0f);
}

// The i-th element of a pseudo-random permutation of 0 … n-1: a Feistel network of four rounds on the next even power of
// two, repeated until the result is below n. It draws every pixel once before any pixel a second time. That matters
// when there is only time for about one pass over the photos.
NS_HD uint64_t permute(uint64_t i, uint64_t n, uint32_t seed) {
    int half = 1;
    while ((uint64_t(1) << (2 * half)) < n) ++half;
    const uint32_t mask = (uint32_t(1) << half) - 1;
    do {
        uint32_t left = uint32_t(i >> half), right = uint32_t(i) & mask;
        for (uint32_t round = 0; round < 4; ++round) {
            const uint32_t next = left ^ (mix32(right + seed + round * 0x9e3779b9u) & mask);
            left = right;
            right = next;
        }
        i = (uint64_t(left) << half) | right;
    } while (i >= n);
    return i;
}

NS_END
