// Gaussians to the picture and back, as many at a time as a vector has numbers.
#pragma once
#include "../include/adam.h"
#include "../include/splat.h"
#include "simd.h"
#include "splats.h"

NS_BEGIN

// Numbers of kWidth Gaussians, one after the other in memory, as vectors. Of the last ones there may be fewer.
struct SplatLoader {
    uint32_t index[kWidth];
    vf load(const float* from, int width, int at) const {
        vf v;
        for (int i = 0; i < kWidth; ++i) v[i] = from[size_t(index[i]) * width + at];
        return v;
    }
    Triple<vf> load3(const float* from) const { return {load(from, 3, 0), load(from, 3, 1), load(from, 3, 2)}; }
    SplatGiven<vf> given(const SplatArrays& a) const {
        SplatGiven<vf> g;
        g.centre = load3(a.centres), g.log_scale = load3(a.log_scales);
        for (int i = 0; i < 4; ++i) g.turn[i] = load(a.turns, 4, i);
        g.logit = load(a.opacities, 1, 0);
        return g;
    }
};

// The colours of Gaussians in the window, from their directions as vectors and their harmonics as they lie in memory.
struct SplatColors {
    float basis[kMostHarmonics][kWidth];
    SplatColors(const Triple<vf>& centre, Vec3 eye, int count) {
        const Triple<vf> d = {centre.x - eye.x, centre.y - eye.y, centre.z - eye.z};
        const vf squared = dot(d, d), zero = {}, inverse = squared > zero ? 1.0f / Lanes<vf>::sqrt(squared) : zero;
        vf b[kMostHarmonics];
        splat_basis(count, d.x * inverse, d.y * inverse, d.z * inverse, b);
        for (int i = 0; i < count; ++i) store(basis[i], b[i]);
    }
    // Writes the colour of one lane; false if it is no colour.
    bool of(int lane, int count, const float* harmonics, float* color) const {
        // Red, green, blue and a number that is not used. Of the last ones, no fourth can be read.
        const float* h = harmonics + 3 * (count - 1);
        v4 sum = v4{h[0], h[1], h[2], 0.0f} * basis[count - 1][lane] + 0.5f;
        for (int i = 0; i + 1 < count; ++i) sum += load_row<4>(harmonics + 3 * i) * basis[i][lane];
        for (int j = 0; j < 3; ++j) color[j] = sum[j] < 0.0f ? 0.0f : sum[j];
        const float all = color[0] + color[1] + color[2];
        return all * 0.0f == 0.0f;
    }
};

// Calls meet(tile) for each tile that a Gaussian's ellipse meets, row by row.
template <class Meet>
NS_HD void splat_each_tile(const SplatPicture& p, const Splat& s, const SplatTiles& t, Meet meet) {
    if (t.meets) {
        for (uint32_t left = t.meets; left; left &= left - 1) {
            const int bit = __builtin_ctz(left);
            meet((t.top + bit / 4) * p.across + t.left + bit % 4);
        }
        return;
    }
    int top, bottom, left, right;
    if (!splat_tile_rows(s, p.camera, p.down, top, bottom)) return;
    for (int row = top; row <= bottom; ++row)
        if (splat_tiles(s, p.camera, p.across, row, left, right))
            for (int column = left; column <= right; ++column) meet(row * p.across + column);
}

// Tiles [left, right] and [top, bottom] around a Gaussian's ellipse → those that it meets, if there are few; false: none.
static bool splat_few_tiles(const SplatPicture& p, const Splat& s, int left, int top, int right, int bottom, SplatTiles& t) {
    t = {uint16_t(left), uint16_t(top), 0, 0};
    if (right < left || bottom < top) return false;
    if (right - left > 3 || bottom - top > 3) return true;
    uint32_t meets = 0;
    for (int row = top; row <= bottom; ++row) {
        int from = left, to = right;
        if (left < right && top < bottom && !splat_tiles(s, p.camera, p.across, row, from, to)) continue;
        from = ns_max(from, left), to = ns_min(to, right);
        if (from <= to) meets |= ((2u << (to - left)) - (1u << (from - left))) << 4 * (row - top);
    }
    t.meets = uint16_t(meets);
    return meets != 0;
}

// The pixels whose centres lie from `low` to `high`, both in pixels of the window → the first and the last one's tile.
NS_HD void splat_tiles_between(vf low, vf high, int pixels, vi& first, vi& last) {
    constexpr int kShift = 4;
    static_assert(1 << kShift == kSplatTile, "a tile's side is a power of two");
    const vf end = splat(float(pixels)), zero = {};
    low = ns_min(ns_max(low - 0.5f, zero), end), high = ns_min(ns_max(high + 0.5f, zero), end);
    const vi cut = Lanes<vf>::to_int(low);
    const vi up = cut - (Lanes<vf>::to_float(cut) < low), down = Lanes<vf>::to_int(high) - 1;
    first = up >> kShift, last = down >> kShift;
    first = up > down ? last + 1 : first;
}

static void splat_project_some(const SplatPicture& p, const SplatArrays& a, SplatPart& part) {
    const SplatCamera& k = p.camera;
    const Vec3 eye = splat_camera_centre(k);
    const int tiles = p.across * p.down;
    for (int i = 0; i < tiles; ++i) part.counts[i] = 0;
    int n = 0;
    uint64_t slots = 0;
    for (int at = part.first; at < part.last; at += kWidth) {
        SplatLoader loader;
        const int some = ns_min(part.last - at, kWidth);
        for (int i = 0; i < kWidth; ++i) loader.index[i] = uint32_t(at + ns_min(i, some - 1));
        // Those behind the camera need nothing more, and all of a vector are often neighbours.
        const Triple<vf> centre = loader.load3(a.centres);
        const vi before = splat_in_camera(k, centre).z > splat(k.near_plane);
        if (!lane_bits(before)) continue;
        const SplatGiven<vf> g = loader.given(a);
        SplatFlat<vf> f;
        splat_project(k, g, f);
        const vf limit = ns_log(ns_max(f.opacity * (1.0f / kLeastAlpha), splat(1.0f)));
        const vf reach_x = Lanes<vf>::sqrt(2.0f * limit * f.variance_x), reach_y = Lanes<vf>::sqrt(2.0f * limit * f.variance_y);
        const vf x = f.x - float(k.left), y = f.y - float(k.top);
        const vi inside = (x + reach_x > splat(0.0f)) & (x - reach_x < splat(float(k.columns))) & (y + reach_y > splat(0.0f)) &
                          (y - reach_y < splat(float(k.rows))) & (splat_drawable(k, g, f) > splat(0.0f));
        uint32_t lanes = lane_bits(inside) & ((1u << some) - 1u);
        if (!lanes) continue;
        vi left, right, top, bottom;
        splat_tiles_between(x - reach_x, x + reach_x, k.columns, left, right);
        splat_tiles_between(y - reach_y, y + reach_y, k.rows, top, bottom);
        const SplatColors colors(g.centre, eye, a.count);
        for (; lanes; lanes &= lanes - 1) {
            const int i = __builtin_ctz(lanes);
            Splat& s = part.splats[n];
            SplatTiles& t = part.tiles[n];
            s.x = f.x[i], s.y = f.y[i], s.half_a = f.half_a[i], s.lean = f.lean[i], s.half_c = f.half_c[i];
            s.opacity = f.opacity[i], s.limit = limit[i], s.depth = f.depth[i];
            s.reach_x = reach_x[i], s.reach_y = reach_y[i], s.index = loader.index[i];
            if (!colors.of(i, a.count, a.harmonics + 3 * size_t(a.count) * s.index, s.color)) continue;
            if (!splat_few_tiles(p, s, left[i], top[i], right[i], bottom[i], t)) continue;
            uint32_t met = 0;
            splat_each_tile(p, s, t, [&](int tile) { ++part.counts[tile], ++met; });
            if (!met) continue;
            s.first_slot = 0, s.slots = met, slots += met, ++n;
        }
    }
    part.found = n, part.slots = slots;
}

static void splat_list(const SplatPicture& p, SplatPart& part, uint32_t slot) {
    for (int i = 0; i < part.found; ++i) {
        Splat& s = part.splats[i];
        const SplatListed listed = {uint32_t(Lanes<float>::bits(s.depth)), uint32_t(&s - p.splats)};
        s.first_slot = slot;
        splat_each_tile(p, s, part.tiles[i], [&](int tile) {
            const uint32_t place = part.counts[tile]++;
            p.listed[place] = listed;
            if (p.back) p.places[slot++] = place;
        });
    }
}

// Asks for a Gaussian's centre and harmonics before they are needed.
NS_HD void splat_prefetch(const SplatArrays& a, size_t i) {
    __builtin_prefetch(a.centres + 3 * i);
    for (int j = 0; j < 3 * a.count; j += 16) __builtin_prefetch(a.harmonics + 3 * size_t(a.count) * i + j);
}

static void splat_backward_some(const SplatPicture& p, const SplatArrays& a, const SplatSums* sums, const Splat* const* which,
                                int some, const SplatGradients& to) {
    SplatLoader loader;
    for (int i = 0; i < kWidth; ++i) loader.index[i] = which[ns_min(i, some - 1)]->index;
    SplatFlat<vf> f;
    splat_project(p.camera, loader.given(a), f);
    vf v[6];
    for (int i = 0; i < kWidth; ++i) {
        const SplatSums& s = sums[ns_min(i, some - 1)];
        v[0][i] = s.s, v[1][i] = s.se, v[2][i] = s.see, v[3][i] = s.sey, v[4][i] = s.sy, v[5][i] = s.syy;
    }
    const SplatFlatGradient<vf> d =
        splat_sums_gradient(f.half_a, f.lean, f.half_c, f.opacity, v[0], v[1], v[2], v[3], v[4], v[5]);
    SplatGradient<vf> g;
    splat_project_backward(p.camera, f, d, g);
    const Vec3 eye = splat_camera_centre(p.camera);
    for (int i = 0; i < some; ++i) {
        const size_t n = loader.index[i];
        float* centre = to.centres + 3 * n;
        centre[0] = g.centre.x[i], centre[1] = g.centre.y[i], centre[2] = g.centre.z[i];
        float* scale = to.log_scales + 3 * n;
        scale[0] = g.log_scale.x[i], scale[1] = g.log_scale.y[i], scale[2] = g.log_scale.z[i];
        for (int j = 0; j < 4; ++j) to.turns[4 * n + j] = g.turn[j][i];
        to.opacities[n] = g.logit[i];
        const size_t h = 3 * size_t(a.count) * n;
        splat_color_backward(a.count, eye, a.centres + 3 * n, a.harmonics + h, which[i]->color, sums[i].color,
                             to.harmonics + h, centre);
        to.pixels[n] = sums[i].pixels, to.weight[n] = sums[i].weight;
        to.pull[n] = sqrtf(sums[i].pull_x * sums[i].pull_x + sums[i].pull_y * sums[i].pull_y);
    }
}

static void splat_project_backward_some(const SplatPicture& p, const SplatArrays& a, const Splat* splats, int n,
                                        const SplatGradients& to) {
    SplatSums sums[kWidth];
    const Splat* which[kWidth];
    int some = 0;
    for (int i = 0; i < n; ++i) {
        which[some] = splats + i;
        if (splat_add_up(p.sums, p.touched, p.places, splats[i], sums[some])) ++some;
        if (some == kWidth || (i + 1 == n && some > 0)) splat_backward_some(p, a, sums, which, some, to), some = 0;
    }
}

// One rate for numbers [first, last) of a Gaussian; gradients that are no numbers count as 0.
static void splat_adam_part(const AdamStep& step, const float* g, float* p, float* m, float* v, int first, int last) {
    int j = first;
    for (; j + kWidth <= last; j += kWidth) {
        vf d = load(g + j), pj = load(p + j), mj = load(m + j), vj = load(v + j);
        d = d * 0.0f == vf{} ? d : vf{};
        adam(step, d, pj, mj, vj);
        store(p + j, pj), store(m + j, mj), store(v + j, vj);
    }
    for (; j < last; ++j) adam(step, g[j] * 0.0f == 0.0f ? g[j] : 0.0f, p[j], m[j], v[j]);
}

static void splat_adam(const SplatAdam& a, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
        if (a.pixels[i] <= 0) continue;
        const int64_t at = i * a.width;
        float *p = a.parameters + at, *m = a.moments + at, *v = m + a.n * a.width;
        AdamStep step = a.first;
        step.rate *= splat_size(a, i);
        splat_adam_part(step, a.gradients + at, p, m, v, 0, a.constant);
        splat_adam_part(a.rest, a.gradients + at, p, m, v, a.constant, a.width);
    }
}

NS_END
