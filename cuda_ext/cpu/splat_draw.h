// A tile of a picture of Gaussians, front to back.
#pragma once
#include "splat_sort.h"
#include "splat_tiles.h"

NS_BEGIN

// A tile's pixels while it is drawn. The columns of pixels that are done are infinite: no Gaussian reaches these.
struct TileColors {
    alignas(64) float red[kTilePixels], green[kTilePixels], blue[kTilePixels], far[kTilePixels];
    alignas(64) float through[kTilePixels], column[kTilePixels];
    alignas(64) int32_t last[kTilePixels];
};

// Draws some of a tile's Gaussians in one strip, whose colours stay in registers meanwhile. `which` are the `n` of them that
// may meet it. Returns false if all of its pixels are done.
template <bool kFar, bool kBack>
static bool draw_strip(const Bell* bells, const uint8_t* which, int n, int strip, TileColors& colors) {
    const int at = strip_pixel(strip);
    const float y = float(strip_row(strip));
    const vf least = splat(kLeastTransmittance), bottom = splat(kLeastExponent), most = splat(kMostAlpha), zero = {};
    vf red = load(colors.red + at), green = load(colors.green + at), blue = load(colors.blue + at), far = zero;
    vf before = load(colors.through + at), column = load(colors.column + at);
    vi numbers = {};
    if (kFar) far = load(colors.far + at);
    if (kBack) numbers = load_int(colors.last + at);
    bool alive = true;
    for (int k = 0; k < n; ++k) {
        const Bell& s = bells[which[k]];
        const float dy = y - s.y;
        const vf e = column + (s.lean * dy - s.x), exponent = splat(s.top - s.c * dy * dy) - e * e * s.a;
        SplatLanes inside = at_most(bottom, exponent);
        vf alpha = only(inside, least_of(power_of_2(exponent), most)), after = before - before * alpha;
        const SplatLanes full = at_most(after, least);
        if (__builtin_expect(bits_of(full), 0)) {  // these are done, and without this Gaussian
            alpha = pick(full, zero, alpha), after = before - before * alpha;
            column = pick(full, splat(INFINITY), column);
            inside = inside & ~full;
            alive = bits_of(at_most(column, splat(float(kSplatTile)))) != 0;
        }
        const vf weight = before * alpha;
        red += weight * s.red, green += weight * s.green, blue += weight * s.blue;
        if (kFar) far += weight * s.depth;
        if (kBack) numbers = pick(inside, s.number - vi{}, numbers);
        before = after;
        if (!alive) break;
    }
    store(colors.red + at, red), store(colors.green + at, green), store(colors.blue + at, blue);
    store(colors.through + at, before), store(colors.column + at, column);
    if (kFar) store(colors.far + at, far);
    if (kBack) store_int(colors.last + at, numbers);
    return alive;
}

static TileColors tile_colors(const TilePlace& t) {
    TileColors c;
    for (int i = 0; i < kTilePixels; ++i) {
        c.red[i] = c.green[i] = c.blue[i] = c.far[i] = 0.0f, c.through[i] = 1.0f, c.last[i] = 0;
        c.column[i] = i % kSplatTile < t.columns ? float(i % kSplatTile) : INFINITY;
    }
    return c;
}

// Draws a tile's Gaussians, which are sorted. keys: their places in the list, in the lower halves.
template <bool kFar, bool kBack>
static void draw_list(const SplatPicture& p, const TilePlace& t, const uint64_t* keys, uint32_t begin, int32_t n, TileColors& c) {
    constexpr int32_t kSome = 256;  // Gaussians that are sorted by strips at a time
    alignas(64) Bell bells[kSome];
    uint8_t which[kStrips][kSome];
    const vf column = iota(0.0f);
    StripBits alive = strips_within(t);
    for (int32_t base = 0; base < n && alive; base += kSome) {
        const int32_t some = ns_min(n - base, kSome);
        int counts[kStrips] = {};
        for (int32_t i = 0; i < some; ++i) {
            if (base + i + int32_t(kAhead) < n) __builtin_prefetch(p.splats + p.listed[begin + uint32_t(keys[base + i + kAhead])].splat);
            bells[i] = bell_of(p.splats[p.listed[begin + uint32_t(keys[base + i])].splat], t, base + i + 1);
            for (StripBits left = strips_of(bells[i], column) & alive; left; left &= left - 1) {
                const int strip = __builtin_ctzll(left);
                which[strip][counts[strip]++] = uint8_t(i);
            }
        }
        for (StripBits left = alive; left; left &= left - 1) {
            const int strip = __builtin_ctzll(left);
            if (!draw_strip<kFar, kBack>(bells, which[strip], counts[strip], strip, c)) alive &= ~(StripBits(1) << strip);
        }
    }
}

static void keep_tile(const SplatPicture& p, int tile, const uint64_t* keys, uint32_t begin, int32_t n, const TileColors& c) {
    for (int32_t i = 0; i < n; ++i) {
        const uint32_t place = begin + uint32_t(keys[i]);
        p.entries[begin + uint32_t(i)] = {p.listed[place].splat, place};
    }
    int32_t deepest = 0;
    for (int i = 0; i < kTilePixels; ++i) {
        p.transmittance[size_t(tile) * kTilePixels + i] = c.through[i], p.last[size_t(tile) * kTilePixels + i] = c.last[i];
        deepest = ns_max(deepest, c.last[i]);
    }
    p.deepest[tile] = deepest;
}

static void splat_draw(const SplatPicture& p, const SplatSorting& memory, int tile) {
    const TilePlace t = tile_place(p, tile);
    const uint32_t begin = p.first_entry[tile];
    const int32_t n = int32_t(p.first_entry[tile + 1] - begin);
    const uint64_t* keys = splats_by_depth(p.listed + begin, n, memory);
    TileColors c = tile_colors(t);
    if (p.depth && p.back) draw_list<true, true>(p, t, keys, begin, n, c);
    else if (p.depth) draw_list<true, false>(p, t, keys, begin, n, c);
    else if (p.back) draw_list<false, true>(p, t, keys, begin, n, c);
    else draw_list<false, false>(p, t, keys, begin, n, c);
    if (p.back) keep_tile(p, tile, keys, begin, n, c);
    for (int i = 0; i < kTilePixels; ++i) {
        c.red[i] += c.through[i] * p.background[0], c.green[i] += c.through[i] * p.background[1];
        c.blue[i] += c.through[i] * p.background[2];
    }
    for (int row = 0; row < t.rows; ++row) {
        const int at = row * kSplatTile;
        const size_t to = size_t(t.row + row) * p.camera.columns + t.column;
        for (int col = 0; col < t.columns; ++col) {
            float* rgb = p.rgb + 3 * (to + col);
            rgb[0] = c.red[at + col], rgb[1] = c.green[at + col], rgb[2] = c.blue[at + col];
        }
        for (int col = 0; col < t.columns && p.alpha; ++col) p.alpha[to + col] = 1.0f - c.through[at + col];
        for (int col = 0; col < t.columns && p.depth; ++col) {
            const float covered = 1.0f - c.through[at + col];
            p.depth[to + col] = covered > 0.0f ? c.far[at + col] / covered : 0.0f;
        }
    }
}

NS_END
