// A tile of a picture of Gaussians, front to back, and the way back, back to front. Pixels of a row are side by side in
// vectors.
#pragma once
#include "../include/splat.h"
#include "simd.h"
#include "splats.h"

NS_BEGIN

constexpr int kRowVectors = kSplatTile / kWidth;
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

// The tile's rows, as bits, in which a Gaussian's ellipse may meet a pixel's centre: at the point of the row that is nearest
// to the ellipse's middle, the exponent is within the limit.
NS_HD uint32_t tile_rows(const Splat& s, const TilePlace& t, vf column) {
    uint32_t rows = 0;
    for (int v = 0; v < kRowVectors; ++v) {
        const vf dy = column + (t.y + float(v * kWidth) - s.y), start = dy * s.lean + (t.x - s.x), zero = {};
        const vf e = ns_min(ns_max(-start, zero), splat(float(kSplatTile - 1))) + start;
        rows |= lane_bits(e * e * s.half_a + dy * dy * s.half_c <= splat(s.limit * 1.0001f)) << (v * kWidth);
    }
    return rows & ((1u << t.rows) - 1u);
}

constexpr uint32_t kAllLanes = (1u << kWidth) - 1u;
// Which lanes of a comparison hold. AVX-512 has registers for this.
#if defined(__AVX512F__)
typedef __mmask16 SplatLanes;
NS_HD SplatLanes at_most(vf a, vf b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LE_OQ); }
NS_HD SplatLanes at_least(vi a, int32_t b) { return _mm512_cmpge_epi32_mask((__m512i)a, _mm512_set1_epi32(b)); }
NS_HD vf pick(SplatLanes lanes, vf a, vf b) { return (vf)_mm512_mask_mov_ps((__m512)b, lanes, (__m512)a); }
NS_HD vi pick(SplatLanes lanes, vi a, vi b) { return (vi)_mm512_mask_mov_epi32((__m512i)b, lanes, (__m512i)a); }
NS_HD uint32_t bits_of(SplatLanes lanes) { return lanes; }
#else
typedef vi SplatLanes;
NS_HD SplatLanes at_most(vf a, vf b) { return a <= b; }
NS_HD SplatLanes at_least(vi a, int32_t b) { return a >= b - vi{}; }
NS_HD vf pick(SplatLanes lanes, vf a, vf b) { return lanes ? a : b; }
NS_HD vi pick(SplatLanes lanes, vi a, vi b) { return lanes ? a : b; }
NS_HD uint32_t bits_of(SplatLanes lanes) { return lane_bits(lanes); }
#endif

NS_HD vi load_int(const int32_t* p) { return (vi) * (const vu_any*)p; }
NS_HD void store_int(int32_t* p, vi v) { *(vu_any*)p = (vu)v; }

// 1 / v, to about two units in the last place.
NS_HD vf inverse_of(vf v) {
#if defined(__AVX512F__)
    const vf x = (vf)_mm512_rcp14_ps((__m512)v);
    return x * (2.0f - v * x);
#elif defined(__AVX2__)
    const vf x = (vf)_mm256_rcp_ps((__m256)v);
    return x * (2.0f - v * x);
#else
    return 1.0f / v;
#endif
}

// exp(-power) as ns_exp has it, for powers from 0 to 80; of others it is any number, or none.
NS_HD vf bell(vf power) {
    using L = Lanes<vf>;
    const float magic = 12582912.0f;  // see ns_exp
    const vf t = power * -1.44269504f + magic, n = t - magic;
    const vf r = n * 2.12194440e-4f - (n * 0.693359375f + power);
    vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return L::from_bits(L::bits(p) + (L::bits(t) << 23));  // the lowest bits of t are n's
}

// A tile's pixels while it is drawn.
struct TileColors {
    alignas(64) float red[kTilePixels], green[kTilePixels], blue[kTilePixels], far[kTilePixels];
};

// Draws some of a tile's Gaussians in the pixels [at, at + kWidth) of one row, whose colours stay in registers meanwhile.
// `which` are the `n` of them that meet the row; x and y: the first pixel's centre. Returns false if all pixels are done.
static bool draw_row(const Splat* const* splats, const uint8_t* which, int n, int32_t first, float x, float y, int at,
                     TileColors& colors, float* through, int32_t* last) {
    const vf column = iota(0.0f), least = splat(kLeastTransmittance), zero = {};
    vf red = load(colors.red + at), green = load(colors.green + at), blue = load(colors.blue + at), far = load(colors.far + at);
    vf before = load(through + at);
    vi numbers = load_int(last + at);
    bool alive = true;
    for (int k = 0; k < n && alive; ++k) {
        const Splat& s = *splats[which[k]];
        const float dy = y - s.y;
        const vf across = column + (x - s.x + s.lean * dy), power = across * across * s.half_a + s.half_c * dy * dy;
        const SplatLanes inside = at_most(power, splat(s.limit));
        if (kRowVectors > 1 && !bits_of(inside)) continue;
        const vf alpha = ns_min(bell(power) * s.opacity, splat(kMostAlpha)), after = before - before * alpha;
        const SplatLanes stays = at_most(after, least), use = inside & ~stays, full = inside & stays;
        const vf weight = pick(use, before * alpha, zero);
        red += weight * s.color[0], green += weight * s.color[1], blue += weight * s.color[2], far += weight * s.depth;
        numbers = pick(use, (first + which[k]) - vi{}, numbers);
        before = pick(use, after, before);
        if (bits_of(full)) {  // these are done now, or have been before
            before = pick(full, -ns_abs(before), before);
            alive = bits_of(at_most(before, zero)) != kAllLanes;
        }
    }
    store(colors.red + at, red), store(colors.green + at, green), store(colors.blue + at, blue), store(colors.far + at, far);
    store(through + at, before), store_int(last + at, numbers);
    return alive;
}

static void splat_draw(const SplatPicture& p, int tile) {
    constexpr uint32_t kSome = 256;  // Gaussians that are sorted by rows at a time
    const TilePlace t = tile_place(p, tile);
    TileColors colors = {};
    float* through = p.transmittance + size_t(tile) * kTilePixels;  // below 0: the pixel is done
    int32_t* last = p.last + size_t(tile) * kTilePixels;
    for (int i = 0; i < kTilePixels; ++i) through[i] = i / kSplatTile < t.rows && i % kSplatTile < t.columns ? 1.0f : -1.0f;
    for (int i = 0; i < kTilePixels; ++i) last[i] = 0;
    uint32_t alive = (1u << t.rows) - 1u;
    const uint32_t begin = p.first_entry[tile], end = p.first_entry[tile + 1];
    const Splat* splats[kSome];
    uint8_t which[kSplatTile][kSome];
    for (uint32_t base = begin; base < end && alive; base += kSome) {
        const uint32_t past = ns_min(base + kSome, end);
        int counts[kSplatTile] = {};
        for (uint32_t e = base; e < past; ++e) {
            if (e + kAhead < end) __builtin_prefetch(p.splats + p.entries[e + kAhead].splat);
            const Splat& s = p.splats[p.entries[e].splat];
            splats[e - base] = &s;
            for (uint32_t rows = tile_rows(s, t, iota(0.0f)) & alive; rows; rows &= rows - 1) {
                const int row = __builtin_ctz(rows);
                which[row][counts[row]++] = uint8_t(e - base);
            }
        }
        for (uint32_t rows = alive; rows; rows &= rows - 1) {
            const int row = __builtin_ctz(rows);
            bool any = false;
            for (int v = 0; v < kRowVectors; ++v)
                any |= draw_row(splats, which[row], counts[row], int32_t(base - begin) + 1, t.x + float(v * kWidth),
                                t.y + float(row), row * kSplatTile + v * kWidth, colors, through, last);
            if (!any) alive &= ~(1u << row);
        }
    }
    int32_t deepest = 0;
    for (int i = 0; i < kTilePixels; ++i) deepest = ns_max(deepest, last[i]);
    p.deepest[tile] = deepest;
    for (int row = 0; row < t.rows; ++row)
        for (int col = 0; col < t.columns; ++col) {
            const int at = row * kSplatTile + col;
            const float rest = fabsf(through[at]), covered = 1.0f - rest;
            const size_t to = size_t(t.row + row) * p.camera.columns + t.column + col;
            p.rgb[3 * to] = colors.red[at] + rest * p.background[0];
            p.rgb[3 * to + 1] = colors.green[at] + rest * p.background[1];
            p.rgb[3 * to + 2] = colors.blue[at] + rest * p.background[2];
            p.alpha[to] = covered, p.depth[to] = last[at] > 0 ? colors.far[at] / covered : 0.0f;
        }
}

// The sums over the lanes of eight vectors.
NS_HD void sums_of(const vf* v, float* to) {
#if defined(__AVX2__)
    __m256 h[8];
    for (int i = 0; i < 8; ++i) {
#if defined(__AVX512F__)
        h[i] = _mm256_add_ps(_mm512_castps512_ps256((__m512)v[i]), _mm512_extractf32x8_ps((__m512)v[i], 1));
#else
        h[i] = (__m256)v[i];
#endif
    }
    const __m256 low = _mm256_hadd_ps(_mm256_hadd_ps(h[0], h[1]), _mm256_hadd_ps(h[2], h[3]));
    const __m256 high = _mm256_hadd_ps(_mm256_hadd_ps(h[4], h[5]), _mm256_hadd_ps(h[6], h[7]));
    _mm256_storeu_ps(to, _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31)));
#else
    for (int k = 0; k < 8; ++k) {
        to[k] = 0.0f;
        for (int i = 0; i < kWidth; ++i) to[k] += v[k][i];
    }
#endif
}
NS_HD float most_of(vf v) {
#if defined(__AVX512F__)
    return _mm512_reduce_max_ps((__m512)v);
#else
    float most = v[0];
    for (int i = 1; i < kWidth; ++i) most = ns_max(most, v[i]);
    return most;
#endif
}

// A tile's gradients of colour and alpha, and for each pixel what the loss gains by all that lies behind.
struct TileGradients {
    alignas(64) float red[kTilePixels], green[kTilePixels], blue[kTilePixels], alpha[kTilePixels];
    alignas(64) float through[kTilePixels], behind[kTilePixels];
};

static void load_gradients(const SplatPicture& p, const TilePlace& t, int tile, TileGradients& g) {
    double background[3] = {};
    const float* through = p.transmittance + size_t(tile) * kTilePixels;
    for (int i = 0; i < kTilePixels; ++i) {
        const int row = i / kSplatTile, col = i % kSplatTile;
        const bool there = row < t.rows && col < t.columns;
        const size_t from = there ? size_t(t.row + row) * p.camera.columns + t.column + col : 0;
        g.red[i] = there ? p.d_rgb[3 * from] : 0.0f, g.green[i] = there ? p.d_rgb[3 * from + 1] : 0.0f;
        g.blue[i] = there ? p.d_rgb[3 * from + 2] : 0.0f, g.alpha[i] = there ? p.d_alpha[from] : 0.0f;
        g.through[i] = fabsf(through[i]);
        g.behind[i] = g.red[i] * p.background[0] + g.green[i] * p.background[1] + g.blue[i] * p.background[2];
        background[0] += double(g.through[i]) * g.red[i], background[1] += double(g.through[i]) * g.green[i];
        background[2] += double(g.through[i]) * g.blue[i];
    }
    for (int c = 0; c < 3; ++c) p.d_background[3 * tile + c] = background[c];
}

static void splat_draw_backward(const SplatPicture& p, int tile) {
    const TilePlace t = tile_place(p, tile);
    TileGradients g;
    load_gradients(p, t, tile, g);
    const int32_t* last = p.last + size_t(tile) * kTilePixels;
    const uint32_t begin = p.first_entry[tile];
    const vf column = iota(0.0f), zero = {}, one = splat(1.0f), most = splat(kMostAlpha);
    for (int32_t number = p.deepest[tile]; number > 0; --number) {
        if (number > int32_t(kAhead)) {
            const SplatEntry& later = p.entries[begin + uint32_t(number) - 1 - kAhead];
            __builtin_prefetch(p.splats + later.splat), __builtin_prefetch(p.sums + later.slot, 1);
            __builtin_prefetch(p.touched + later.slot, 1);
        }
        const SplatEntry entry = p.entries[begin + uint32_t(number) - 1];
        const Splat& s = p.splats[entry.splat];
        vf sum[16] = {}, weights = zero;
        int pixels = 0;
        const float offset = t.x - s.x;
        for (uint32_t rows = tile_rows(s, t, column); rows; rows &= rows - 1) {
            const int row = __builtin_ctz(rows);
            const float dy = t.y + float(row) - s.y, still = s.half_c * dy * dy, start = offset + s.lean * dy;
            for (int v = 0; v < kRowVectors; ++v) {
                const vf e = column + (start + float(v * kWidth)), power = e * e * s.half_a + still;
                const int at = row * kSplatTile + v * kWidth;
                const SplatLanes use = at_most(power, splat(s.limit)) & at_least(load_int(last + at), number);
                const uint32_t lanes = bits_of(use);
                if (!lanes) continue;
                pixels += __builtin_popcount(lanes);
                const vf raw = bell(power) * s.opacity, alpha = ns_min(raw, most);
                const vf after = load(g.through + at), before = after * inverse_of(one - alpha);
                const vf behind = load(g.behind + at);
                const vf dr = load(g.red + at), dg = load(g.green + at), db = load(g.blue + at);
                const vf gain = dr * s.color[0] + dg * s.color[1] + db * s.color[2] + load(g.alpha + at) - behind;
                const vf weight = pick(use, alpha * before, zero);
                store(g.through + at, pick(use, before, after));
                store(g.behind + at, pick(use, behind + alpha * gain, behind));
                // By the exponent's negative; a capped alpha has none.
                const vf d = pick(at_most(most, raw), zero, -weight * gain);
                const vf de = d * e, dx = de * (-2.0f * s.half_a), dd = d * dy;
                sum[0] += d, sum[1] += de, sum[2] += de * e, sum[3] += de * dy, sum[4] += dd, sum[5] += dd * dy;
                sum[6] += weight * dr, sum[7] += weight * dg, sum[8] += weight * db, weights = ns_max(weights, weight);
                sum[9] += ns_abs(dx), sum[10] += ns_abs(dx * s.lean - dd * (2.0f * s.half_c));
            }
        }
        if (pixels == 0) continue;
        float f[16];
        sums_of(sum, f), sums_of(sum + 8, f + 8);
        p.sums[entry.slot] = {f[0], f[1], f[2], f[3], f[4], f[5], {f[6], f[7], f[8]}, f[9], f[10], most_of(weights), pixels};
        p.touched[entry.slot] = 1;
    }
}

NS_END
