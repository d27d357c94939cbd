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

static int splat_project_some(const SplatCamera& k, const SplatArrays& a, int first, int last, SplatCandidate* out) {
    int n = 0;
    for (int at = first; at < last; at += kWidth) {
        SplatLoader loader;
        const int some = ns_min(last - at, kWidth);
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
        const float left = float(k.left), top = float(k.top);
        const vi inside = (f.x + reach_x > splat(left)) & (f.x - reach_x < splat(left + float(k.columns))) &
                          (f.y + reach_y > splat(top)) & (f.y - reach_y < splat(top + float(k.rows))) &
                          (splat_drawable(k, g, f) > splat(0.0f));
        for (uint32_t lanes = lane_bits(inside) & ((1u << some) - 1u); lanes; lanes &= lanes - 1) {
            const int i = __builtin_ctz(lanes);
            out[n++] = {f.x[i], f.y[i], f.half_a[i], f.lean[i], f.half_c[i], f.opacity[i], f.depth[i],
                        reach_x[i], reach_y[i], limit[i], loader.index[i]};
        }
    }
    return n;
}

// Asks for a Gaussian's centre and harmonics before they are needed.
NS_HD void splat_prefetch(const SplatArrays& a, size_t i) {
    __builtin_prefetch(a.centres + 3 * i);
    for (int j = 0; j < 3 * a.count; j += 16) __builtin_prefetch(a.harmonics + 3 * size_t(a.count) * i + j);
}

static void splat_finish(const SplatCamera& k, const SplatArrays& a, const SplatCandidate* candidates, const uint32_t* order,
                         int first, int last, Splat* out) {
    const Vec3 eye = splat_camera_centre(k);
    for (int i = first; i < last; ++i) {
        // In the order of depths, what is read lies anywhere in memory.
        if (i + 16 < last) __builtin_prefetch(candidates + order[i + 16]);
        if (i + 8 < last) splat_prefetch(a, candidates[order[i + 8]].index);
        out[i] = splat_finished(a, eye, candidates[order[i]]);
    }
}

static void splat_backward_some(const SplatPicture& p, const SplatArrays& a, const SplatSums* sums, const uint32_t* which,
                                int some, const SplatGradients& to) {
    SplatLoader loader;
    for (int i = 0; i < kWidth; ++i) loader.index[i] = p.splats[which[ns_min(i, some - 1)]].index;
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
        splat_color_backward(a.count, eye, a.centres + 3 * n, a.harmonics + h, p.splats[which[i]].color, sums[i].color,
                             to.harmonics + h, centre);
        to.pixels[n] = sums[i].pixels, to.weight[n] = sums[i].weight;
        to.pull[n] = sqrtf(sums[i].pull_x * sums[i].pull_x + sums[i].pull_y * sums[i].pull_y);
    }
}

static void splat_project_backward_some(const SplatPicture& p, const SplatArrays& a, int first, int last,
                                        const SplatGradients& to) {
    SplatSums sums[kWidth];
    uint32_t which[kWidth];
    int n = 0;
    for (int i = first; i < last; ++i) {
        if (i + kWidth < last) {
            const size_t later = p.splats[i + kWidth].index;
            splat_prefetch(a, later);
            __builtin_prefetch(a.log_scales + 3 * later), __builtin_prefetch(a.turns + 4 * later);
            __builtin_prefetch(a.opacities + later), __builtin_prefetch(to.pixels + later, 1);
            __builtin_prefetch(to.centres + 3 * later, 1), __builtin_prefetch(to.log_scales + 3 * later, 1);
            __builtin_prefetch(to.turns + 4 * later, 1), __builtin_prefetch(to.opacities + later, 1);
            __builtin_prefetch(to.pull + later, 1), __builtin_prefetch(to.weight + later, 1);
            for (int j = 0; j < 3 * a.count; j += 16)
                __builtin_prefetch(to.harmonics + 3 * size_t(a.count) * later + j, 1);
        }
        which[n] = uint32_t(i);
        if (splat_add_up(p.sums, p.touched, p.splats[i], sums[n])) ++n;
        if (n == kWidth || (i + 1 == last && n > 0)) splat_backward_some(p, a, sums, which, n, to), n = 0;
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
        splat_adam_part(a.first, a.gradients + at, p, m, v, 0, a.constant);
        splat_adam_part(a.rest, a.gradients + at, p, m, v, a.constant, a.width);
    }
}

NS_END
