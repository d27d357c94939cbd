// A tile's pixels and a Gaussian in them: what drawing and the way back have in common. Pixels of a row are side by side in
// vectors, here called strips.
#pragma once
#include "../include/splat.h"
#include "simd.h"
#include "splats.h"

NS_BEGIN

constexpr int kRowStrips = kSplatTile / kWidth, kStrips = kSplatTile * kRowStrips;
typedef uint64_t StripBits;  // a tile's strips as bits: the first of each row, then the second of each row
static_assert(kStrips <= 64, "a tile has at most as many strips");
constexpr uint32_t kAhead = 8;  // a tile's Gaussians lie anywhere in memory: they are asked for so many entries ahead

// Where a tile lies: in pixels of the whole picture, and how much of it is in the window.
struct TilePlace {
    float x, y;       // the first pixel's centre
    int row, column;  // in the window
    int rows, columns;
};
static TilePlace tile_place(const SplatPicture& p, int tile) {
    TilePlace t;
    t.row = tile / p.across * kSplatTile, t.column = tile % p.across * kSplatTile;
    t.x = float(p.camera.left + t.column) + 0.5f, t.y = float(p.camera.top + t.row) + 0.5f;
    t.rows = ns_min(kSplatTile, p.camera.rows - t.row), t.columns = ns_min(kSplatTile, p.camera.columns - t.column);
    return t;
}

// A Gaussian in a tile: in pixels from the tile's first centre, and with exponents of 2. Where e = x - bell.x + lean · dy and
// dy = y - bell.y, alpha is 2^(top - a e² - c dy²), and nothing below 2^kLeastExponent.
struct alignas(16) Bell {
    float x, y, lean, a, c, top;
    float red, green, blue, depth;
    int32_t number;  // in the tile's list, from 1
    float limit;     // top - kLeastExponent
};
constexpr float kLeastExponent = -7.9943534368588578f;  // log2(kLeastAlpha)

NS_HD Bell bell_of(const Splat& s, const TilePlace& t, int32_t number) {
    constexpr float kToBase2 = 1.4426950408889634f;
    const float limit = s.limit * kToBase2;
    return {s.x - t.x,  s.y - t.y,  s.lean,     s.half_a * kToBase2, s.half_c * kToBase2, limit + kLeastExponent,
            s.color[0], s.color[1], s.color[2], s.depth,             number,              limit};
}

// 2^v, with a relative error below 3e-6, for v from -120 to 120; of others it is any number, or none. A polynomial of degree 4
// in v's distance to the nearest whole number, fitted so that its largest relative error is least.
NS_HD vf power_of_2(vf v) {
    using L = Lanes<vf>;
    const float magic = 12582912.0f;  // see ns_exp
    const vf t = v + magic, r = v - (t - magic);
    vf p = r * 9.5828505e-3f + 5.5906421e-2f;
    p = p * r + 2.4024099e-1f;
    p = p * r + 6.9312419e-1f;
    p = p * r + 1.0f;
    return L::from_bits(L::bits(p) + (L::bits(t) << 23));  // the lowest bits of t are the whole number's
}

// The larger and the smaller of two numbers, where neither has to be a number.
#if defined(__AVX512F__)
NS_HD vf most_of(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
NS_HD vf least_of(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
#elif defined(__AVX2__)
NS_HD vf most_of(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
NS_HD vf least_of(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
#else
NS_HD vf most_of(vf a, vf b) { return ns_max(a, b); }
NS_HD vf least_of(vf a, vf b) { return ns_min(a, b); }
#endif

// The strips that a Gaussian may meet: where it has most of a strip, its exponent is within the limit.
NS_HD StripBits strips_of(const Bell& s, vf column) {
    StripBits strips = 0;
    for (int v = 0; v < kSplatTile / kWidth; ++v) {
        const vf dy = column + (float(v * kWidth) - s.y), start = dy * s.lean - s.x, zero = {};
        const vf room = splat(s.limit * 1.0001f) - dy * dy * s.c;
        for (int w = 0; w < kRowStrips; ++w) {
            // The pixels' e go from start + first to start + last; the nearest to 0 counts.
            const float first = float(w * kWidth), last = first + float(kWidth - 1);
            const vf e = most_of(most_of(start + first, zero), -(start + last));
            const uint32_t rows = lane_bits(e * e * s.a <= room);
            strips |= StripBits(rows) << (w * kSplatTile + v * kWidth);
        }
    }
    return strips;
}
// The strips of which a part lies in the window.
NS_HD StripBits strips_within(const TilePlace& t) {
    StripBits strips = 0;
    for (int w = 0; w * kWidth < t.columns; ++w) strips |= StripBits((1u << t.rows) - 1u) << (w * kSplatTile);
    return strips;
}
NS_HD int strip_row(int strip) { return strip % kSplatTile; }
NS_HD int strip_column(int strip) { return strip / kSplatTile * kWidth; }
NS_HD int strip_pixel(int strip) { return strip_row(strip) * kSplatTile + strip_column(strip); }

constexpr uint32_t kAllLanes = (1u << kWidth) - 1u;
// Which lanes of a comparison hold. AVX-512 has registers for this.
#if defined(__AVX512F__)
typedef __mmask16 SplatLanes;
NS_HD SplatLanes at_most(vf a, vf b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LE_OQ); }
NS_HD SplatLanes at_least(vi a, int32_t b) { return _mm512_cmpge_epi32_mask((__m512i)a, _mm512_set1_epi32(b)); }
NS_HD vf pick(SplatLanes lanes, vf a, vf b) { return (vf)_mm512_mask_mov_ps((__m512)b, lanes, (__m512)a); }
NS_HD vi pick(SplatLanes lanes, vi a, vi b) { return (vi)_mm512_mask_mov_epi32((__m512i)b, lanes, (__m512i)a); }
NS_HD vf only(SplatLanes lanes, vf v) { return (vf)_mm512_maskz_mov_ps(lanes, (__m512)v); }
NS_HD uint32_t bits_of(SplatLanes lanes) { return lanes; }
#else
typedef vi SplatLanes;
NS_HD SplatLanes at_most(vf a, vf b) { return a <= b; }
NS_HD SplatLanes at_least(vi a, int32_t b) { return a >= b - vi{}; }
NS_HD vf pick(SplatLanes lanes, vf a, vf b) { return lanes ? a : b; }
NS_HD vi pick(SplatLanes lanes, vi a, vi b) { return lanes ? a : b; }
NS_HD vf only(SplatLanes lanes, vf v) { return (vf)((vi)v & lanes); }
NS_HD uint32_t bits_of(SplatLanes lanes) { return lane_bits(lanes); }
#endif

NS_HD vi load_int(const int32_t* p) { return (vi) * (const vu_any*)p; }
NS_HD void store_int(int32_t* p, vi v) { *(vu_any*)p = (vu)v; }

NS_END
