// A tile's list in the order of depths.
#pragma once
#include "simd.h"
#include "splats.h"

NS_BEGIN

// One pass of a radix sort: by the kBits bits of the upper halves from `shift` on.
template <int kBits>
static void sort_pass(const uint64_t* from, uint64_t* to, int n, int shift) {
    constexpr uint32_t kBuckets = 1u << kBits;
    uint32_t counts[kBuckets] = {};
    for (int i = 0; i < n; ++i) ++counts[(from[i] >> (32 + shift)) & (kBuckets - 1)];
    uint32_t sum = 0;
    for (uint32_t b = 0; b < kBuckets; ++b) {
        const uint32_t here = counts[b];
        counts[b] = sum, sum += here;
    }
    for (int i = 0; i < n; ++i) to[counts[(from[i] >> (32 + shift)) & (kBuckets - 1)]++] = from[i];
}

// Keys of which the upper half is a depth, from the nearest on, and the lower half a place in `listed`. Of equal depths, the
// first in the list comes first.
static const uint64_t* splats_by_depth(const SplatListed* listed, int n, const SplatSorting& memory) {
    uint64_t *keys = memory.keys, *others = memory.others;
    uint32_t least = 0xffffffffu, most = 0;
    for (int i = 0; i < n; ++i) least = ns_min(least, listed[i].depth), most = ns_max(most, listed[i].depth);
    if (n <= 32) {
        for (int i = 0; i < n; ++i) {
            const uint64_t key = uint64_t(listed[i].depth) << 32 | uint32_t(i);
            int at = i;
            for (; at > 0 && keys[at - 1] > key; --at) keys[at] = keys[at - 1];
            keys[at] = key;
        }
        return keys;
    }
    for (int i = 0; i < n; ++i) keys[i] = uint64_t(listed[i].depth - least) << 32 | uint32_t(i);
    for (int shift = 0; shift < 32 && (most - least) >> shift; shift += 8) {
        sort_pass<8>(keys, others, n, shift);
        uint64_t* const sorted = others;
        others = keys, keys = sorted;
    }
    return keys;
}

NS_END
