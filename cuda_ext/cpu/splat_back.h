// The way back through a tile, from its last Gaussian to its first.
#pragma once
#include "splat_tiles.h"

NS_BEGIN

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
    for (int row = 0; row < kSplatTile; ++row)
        for (int col = 0; col < kSplatTile; ++col) {
            const int i = row * kSplatTile + col;
            const bool there = row < t.rows && col < t.columns;
            const size_t from = there ? size_t(t.row + row) * p.camera.columns + t.column + col : 0;
            g.red[i] = there ? p.d_rgb[3 * from] : 0.0f, g.green[i] = there ? p.d_rgb[3 * from + 1] : 0.0f;
            g.blue[i] = there ? p.d_rgb[3 * from + 2] : 0.0f, g.alpha[i] = there && p.d_alpha ? p.d_alpha[from] : 0.0f;
        }
    const float* through = p.transmittance + size_t(tile) * kTilePixels;
    vf red = {}, green = {}, blue = {};
    for (int i = 0; i < kTilePixels; i += kWidth) {
        const vf after = load(through + i), r = load(g.red + i), gr = load(g.green + i), b = load(g.blue + i);
        store(g.through + i, after);
        store(g.behind + i, r * p.background[0] + gr * p.background[1] + b * p.background[2]);
        red += after * r, green += after * gr, blue += after * b;
    }
    double* background = p.d_background + 3 * size_t(tile);
    background[0] = background[1] = background[2] = 0;
    for (int i = 0; i < kWidth; ++i) background[0] += red[i], background[1] += green[i], background[2] += blue[i];
}

// What a Gaussian has of a tile, strip by strip.
struct BackSums {
    vf s, se, see, sey, sy, syy, red, green, blue, pull_x, pull_y, weight;
    int pixels;
};

// Adds a strip to a Gaussian's sums, and goes back behind it. numbers: of the strip's last entries. lean, level: half_a · lean
// and half_c, as the pull has them.
NS_HD void strip_backward(const Bell& b, float lean, float level, int strip, const int32_t* last, TileGradients& g, BackSums& sum) {
    const int at = strip_pixel(strip);
    const vf zero = {}, most = splat(kMostAlpha);
    const float dy = float(strip_row(strip)) - b.y;
    const vf e = iota(float(strip_column(strip))) + (b.lean * dy - b.x);
    const vf exponent = splat(b.top - b.c * dy * dy) - e * e * b.a;
    const SplatLanes use = at_most(splat(kLeastExponent), exponent) & at_least(load_int(last + at), b.number);
    const uint32_t lanes = bits_of(use);
    if (!lanes) return;
    sum.pixels += __builtin_popcount(lanes);
    const vf raw = only(use, power_of_2(exponent)), alpha = least_of(raw, most);
    const vf after = load(g.through + at), before = pick(use, after * inverse_of(1.0f - alpha), after);
    const vf behind = load(g.behind + at), dr = load(g.red + at), dg = load(g.green + at), db = load(g.blue + at);
    const vf gain = dr * b.red + dg * b.green + db * b.blue + (load(g.alpha + at) - behind);
    const vf weight = alpha * before;
    store(g.through + at, before), store(g.behind + at, behind + alpha * gain);
    const vf d = pick(at_most(most, raw), zero, weight * gain);  // by the exponent; a capped alpha has none
    const vf de = d * e, dd = d * dy;
    sum.s += d, sum.se += de, sum.see += de * e, sum.sey += de * dy, sum.sy += dd, sum.syy += dd * dy;
    sum.red += weight * dr, sum.green += weight * dg, sum.blue += weight * db;
    sum.pull_x += ns_abs(de), sum.pull_y += ns_abs(de * lean + dd * level), sum.weight = most_of(sum.weight, weight);
}

static void splat_draw_backward(const SplatPicture& p, int tile) {
    const TilePlace t = tile_place(p, tile);
    TileGradients g;
    load_gradients(p, t, tile, g);
    const int32_t* last = p.last + size_t(tile) * kTilePixels;
    const uint32_t begin = p.first_entry[tile];
    const StripBits within = strips_within(t);
    const vf column = iota(0.0f);
    for (int32_t number = p.deepest[tile]; number > 0; --number) {
        if (number > int32_t(kAhead)) {
            const SplatEntry& later = p.entries[begin + uint32_t(number) - 1 - kAhead];
            __builtin_prefetch(p.splats + later.splat), __builtin_prefetch(p.sums + later.slot, 1);
            __builtin_prefetch(p.touched + later.slot, 1);
        }
        const SplatEntry entry = p.entries[begin + uint32_t(number) - 1];
        const Splat& s = p.splats[entry.splat];
        const Bell b = bell_of(s, t, number);
        BackSums sum = {};
        for (StripBits strips = strips_of(b, column) & within; strips; strips &= strips - 1)
            strip_backward(b, s.half_a * s.lean, s.half_c, __builtin_ctzll(strips), last, g, sum);
        if (sum.pixels == 0) continue;
        // The exponent's negative is what the gradients are by.
        const vf all[16] = {-sum.s,  -sum.se,   -sum.see, -sum.sey,                      -sum.sy,     -sum.syy,
                            sum.red, sum.green, sum.blue, sum.pull_x * (2.0f * s.half_a), 2.0f * sum.pull_y};
        float f[16];
        sums_of(all, f), sums_of(all + 8, f + 8);
        p.sums[entry.slot] = {f[0], f[1], f[2], f[3], f[4], f[5], {f[6], f[7], f[8]}, f[9], f[10], most_of(sum.weight), sum.pixels};
        p.touched[entry.slot] = 1;
    }
}

NS_END
