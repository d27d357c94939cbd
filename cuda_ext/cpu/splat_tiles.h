// A tile of a picture of Gaussians, front to back, and the way back, back to front. Pixels of a row are side by side in
// vectors.
#pragma once
#include "../include/splat.h"
#include "simd.h"
#include "splats.h"

NS_BEGIN

constexpr int kRowVectors = kSplatTile / kWidth;

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

// The tile's rows [first, last) whose centres a Gaussian reaches.
NS_HD void tile_rows(const Splat& s, const TilePlace& t, int& first, int& last) {
    const float low = s.y - s.reach_y - t.y, high = s.y + s.reach_y - t.y;
    first = low > 0.0f ? int(low) : 0;  // a row too many does no harm: its pixels are all beyond the limit
    last = high < 0.0f ? 0 : ns_min(int(ns_min(high, 64.0f)) + 1, t.rows);
}

NS_HD vi load_int(const int32_t* p) { return (vi) * (const vu_any*)p; }
NS_HD void store_int(int32_t* p, vi v) { *(vu_any*)p = (vu)v; }

static void splat_draw(const SplatPicture& p, int tile) {
    const TilePlace t = tile_place(p, tile);
    alignas(64) float red[kTilePixels] = {}, green[kTilePixels] = {}, blue[kTilePixels] = {}, far[kTilePixels] = {};
    float* through = p.transmittance + size_t(tile) * kTilePixels;  // below 0: the pixel is done
    int32_t* last = p.last + size_t(tile) * kTilePixels;
    for (int i = 0; i < kTilePixels; ++i) through[i] = i / kSplatTile < t.rows && i % kSplatTile < t.columns ? 1.0f : -1.0f;
    for (int i = 0; i < kTilePixels; ++i) last[i] = 0;
    uint32_t alive = (1u << t.rows) - 1u;
    const uint32_t begin = p.first_entry[tile], end = p.first_entry[tile + 1];
    int32_t deepest = 0;
    const vf column = iota(0.0f), least = splat(kLeastTransmittance), zero = {};
    for (uint32_t e = begin; e < end && alive; ++e) {
        const Splat& s = p.splats[p.entries[e].splat];
        int row, past;
        tile_rows(s, t, row, past);
        const int32_t number = int32_t(e - begin) + 1;
        const float offset = t.x - s.x;
        for (; row < past; ++row) {
            if (!(alive >> row & 1u)) continue;
            const float dy = t.y + float(row) - s.y, still = s.half_c * dy * dy, start = offset + s.lean * dy;
            bool ended = false;
            for (int v = 0; v < kRowVectors; ++v) {
                const vf across = column + (start + float(v * kWidth)), power = across * across * s.half_a + still;
                const vi inside = power <= splat(s.limit);
                if (!lane_bits(inside)) continue;
                const int at = row * kSplatTile + v * kWidth;
                const vf alpha = ns_min(ns_exp(-power) * s.opacity, splat(kMostAlpha)), before = load(through + at);
                const vf after = before - before * alpha;
                const vi use = inside & (after > least), done = inside & ~use & (before > zero);
                const vf weight = use ? before * alpha : zero;
                store(red + at, load(red + at) + weight * s.color[0]);
                store(green + at, load(green + at) + weight * s.color[1]);
                store(blue + at, load(blue + at) + weight * s.color[2]);
                store(far + at, load(far + at) + weight * s.depth);
                store(through + at, use ? after : (done ? -before : before));
                store_int(last + at, use ? number - vi{} : load_int(last + at));
                deepest = lane_bits(use) ? number : deepest;
                ended |= lane_bits(done) != 0;
            }
            if (ended) {
                bool any = false;
                for (int v = 0; v < kRowVectors; ++v) any |= lane_bits(load(through + row * kSplatTile + v * kWidth) > zero) != 0;
                if (!any) alive &= ~(1u << row);
            }
        }
    }
    p.deepest[tile] = deepest;
    for (int row = 0; row < t.rows; ++row)
        for (int col = 0; col < t.columns; ++col) {
            const int at = row * kSplatTile + col;
            const float rest = fabsf(through[at]), covered = 1.0f - rest;
            const size_t to = size_t(t.row + row) * p.camera.columns + t.column + col;
            p.rgb[3 * to] = red[at] + rest * p.background[0];
            p.rgb[3 * to + 1] = green[at] + rest * p.background[1];
            p.rgb[3 * to + 2] = blue[at] + rest * p.background[2];
            p.alpha[to] = covered, p.depth[to] = last[at] > 0 ? far[at] / covered : 0.0f;
        }
}

NS_HD float sum_of(vf v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#else
    float total = 0.0f;
    for (int i = 0; i < kWidth; ++i) total += v[i];
    return total;
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
        const SplatEntry entry = p.entries[begin + uint32_t(number) - 1];
        const Splat& s = p.splats[entry.splat];
        int row, past;
        tile_rows(s, t, row, past);
        vf sum_s = zero, sum_se = zero, sum_see = zero, sum_sey = zero, sum_sy = zero, sum_syy = zero;
        vf red = zero, green = zero, blue = zero, pull_x = zero, pull_y = zero, weights = zero;
        int pixels = 0;
        const float offset = t.x - s.x;
        for (; row < past; ++row) {
            const float dy = t.y + float(row) - s.y, still = s.half_c * dy * dy, start = offset + s.lean * dy;
            for (int v = 0; v < kRowVectors; ++v) {
                const vf e = column + (start + float(v * kWidth)), power = e * e * s.half_a + still;
                const int at = row * kSplatTile + v * kWidth;
                const vi use = (power <= splat(s.limit)) & (load_int(last + at) >= number - vi{});
                const uint32_t lanes = lane_bits(use);
                if (!lanes) continue;
                pixels += __builtin_popcount(lanes);
                const vf raw = ns_exp(-power) * s.opacity, alpha = ns_min(raw, most);
                const vf after = load(g.through + at), before = after / (one - alpha);
                const vf behind = load(g.behind + at);
                const vf dr = load(g.red + at), dg = load(g.green + at), db = load(g.blue + at);
                const vf gain = dr * s.color[0] + dg * s.color[1] + db * s.color[2] + load(g.alpha + at) - behind;
                const vf weight = use ? alpha * before : zero;
                store(g.through + at, use ? before : after);
                store(g.behind + at, use ? behind + alpha * gain : behind);
                // By the exponent's negative; a capped alpha has none.
                const vf d = raw < most ? weight * gain * -1.0f : zero;
                red += weight * dr, green += weight * dg, blue += weight * db, weights = ns_max(weights, weight);
                const vf de = d * e, dx = de * (-2.0f * s.half_a);
                sum_s += d, sum_se += de, sum_see += de * e, sum_sey += de * dy, sum_sy += d * dy, sum_syy += d * (dy * dy);
                pull_x += ns_abs(dx), pull_y += ns_abs(dx * s.lean - d * (2.0f * s.half_c * dy));
            }
        }
        if (pixels == 0) continue;
        SplatSums& to = p.sums[entry.slot];
        to.s = sum_of(sum_s), to.se = sum_of(sum_se), to.see = sum_of(sum_see), to.sey = sum_of(sum_sey);
        to.sy = sum_of(sum_sy), to.syy = sum_of(sum_syy);
        to.color[0] = sum_of(red), to.color[1] = sum_of(green), to.color[2] = sum_of(blue);
        to.pull_x = sum_of(pull_x), to.pull_y = sum_of(pull_y), to.weight = most_of(weights), to.pixels = pixels;
        p.touched[entry.slot] = 1;
    }
}

NS_END
