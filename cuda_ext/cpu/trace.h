// Traces a tile of rays through the field, in rounds of a few samples per ray. Each round evaluates densities, drops
// samples of negligible weight, and ends rays that have become opaque. Only the samples that survive get a colour and,
// in training, a gradient. In a scene that has formed, a ray needs about two evaluations instead of hundreds.
#pragma once
#include "../include/composite.h"
#include "../include/march.h"
#include "beam.h"
#include "networks.h"

NS_BEGIN

static inline void start_ray(const Space& space, const float* o, const float* d, float jitter, RayState& r) {
    r.o = {o[0], o[1], o[2]};
    r.d = {d[0], d[1], d[2]};
    r.jitter = jitter;
    r.transmittance = 1.0f;
    r.steps = ray_steps(space, r.o, r.d, jitter, r.law, r.t_end, r.step);
    r.offset = 0;
    r.group_from = r.group_end = r.step;
    r.groups = 0;
    r.met_from = -1;
    r.head = r.tail = -1;
    r.active = r.steps > r.step;
    r.dropped = false;
}

// Starts n rays. In an unbounded scene all have the same steps, which are then found once.
static inline void start_rays(const Space& space, const float* origins, const float* directions, const float* jitter,
                              int n, RayState* rays) {
    const bool same = space.unbounded && !space.cropped;
    for (int r = 0; r < n; ++r) {
        const float *o = origins + 3 * r, *d = directions + 3 * r;
        if (!same || r == 0) {
            start_ray(space, o, d, jitter[r], rays[r]);
            continue;
        }
        rays[r] = rays[0];
        rays[r].o = {o[0], o[1], o[2]}, rays[r].d = {d[0], d[1], d[2]};
        rays[r].jitter = jitter[r];
    }
}

// Finds out which of the next groups of steps may hold a sample, as many groups as a vector has lanes.
static inline void find_groups(const Field& f, const Space& space, RayState& r) {
    r.group_from = r.step;
    r.group_end = r.step + kWidth * kWidth;
    r.groups = uint32_t((uint64_t(1) << kWidth) - 1);
    if (!f.coarse) return;
    vi cell;
    const vf first = iota(0.0f) * float(kWidth) + float(r.step);
    const uint32_t within = lane_bits(steps_within_reach(space, r.o, r.d, r.law, first, r.jitter, kWidth, cell));
    r.groups &= gather_bits(f.coarse, cell, within) | ~within;
}

// Moves along the ray to its next samples in occupied cells, at most `want` of them. Stores them from index `at` on,
// and returns their number. Writes up to kWidth more.
static inline int next_samples(const Field& f, const Space& space, RayState& r, int want, int at, Scratch& s) {
    int found = 0;
    while (found < want && r.step < r.steps) {
        if (r.step >= r.group_end) find_groups(f, space, r);
        const uint32_t groups = r.groups >> ((r.step - r.group_from) / kWidth);
        if (!groups) {
            r.step = r.group_end;
            continue;
        }
        const int skipped = __builtin_ctz(groups), base = r.step - (r.step - r.group_from) % kWidth + skipped * kWidth;
        if (skipped) r.step = base;
        const vf tt = step_distance(r.law, iota(float(base) + r.jitter));
        vf px = tt * r.d.x + r.o.x, py = tt * r.d.y + r.o.y, pz = tt * r.d.z + r.o.z;
        const vf reach = reach_of(space, px, py, pz);
        to_unit(space, px, py, pz);
        const vi cells = occupancy_cell(px, py, pz, space.occupancy_resolution);
        if (base != r.met_from) {
            const int lanes = r.steps - base < kWidth ? r.steps - base : kWidth;
            if (lanes <= 0) break;
            const uint32_t there = lane_bits(tt < r.t_end) & uint32_t((uint64_t(1) << lanes) - 1);
            r.met = gather_bits(f.occupancy, cells, there);
            r.met_from = base;
        }
        uint32_t hits = r.met >> (r.step - base) << (r.step - base), rest = hits;
        for (int i = found; i < want && rest; ++i) rest &= rest - 1;
        hits ^= rest;
        r.step = rest ? base + __builtin_ctz(rest) : base + kWidth;
        if (!hits) continue;
        const int to = at + found;
        compress(s.cx + to, px, hits);
        compress(s.cy + to, py, hits);
        compress(s.cz + to, pz, hits);
        compress(s.ct + to, tt, hits);
        compress(s.clength + to, ns_max(vf{} + space.step, tt * space.cone), hits);
        compress(s.cx_scene + to, reference_length(f.space, reach), hits);
        compress((float*)s.ccell + to, (vf)cells, hits);
        found += __builtin_popcount(hits);
    }
    return found;
}

// What tracing is for: how many samples of a ray a round evaluates, at most kRoundSamples, which changes no result; and
// whether the survivors' encodings are kept.
struct Tracing {
    int first_round, later_rounds;
    bool encodings;
};
constexpr Tracing kForTraining = {4, kRoundSamples, true}, kForPictures = {3, 3, false};

// Traces `n` rays (at most kTileRays). Leaves the surviving samples in `s`, as one linked list per ray, and returns
// their number. Rays that did not fit in the tile's memory are marked as dropped. pairs: as density_forward takes them.
static inline int trace(const Field& f, const March& march, const Space& space, RayState* rays, int n,
                        const Tracing& how, Scratch& s, float* occupancy_values, Counters& counters,
                        const uint32_t* pairs = nullptr) {
    const int e = f.net.encoding, h = f.net.hidden;
    int survivors = 0, want = how.first_round;
    for (;;) {
        int candidates = 0;
        for (int r = 0; r < n; ++r) {
            RayState& ray = rays[r];
            if (!ray.active) continue;
            ray.first = candidates;
            ray.count = next_samples(f, space, ray, want, candidates, s);
            if (ray.count == 0) ray.active = false;
            candidates += ray.count;
        }
        if (candidates == 0) break;
        counters.candidates += candidates;
        for (int c = 0; occupancy_values && c < candidates; ++c) __builtin_prefetch(occupancy_values + s.ccell[c], 1);
        density_forward<Lie::kOnRays>(f, s.cx, s.cy, s.cz, candidates, s.cencoding, s.chidden, s.calpha, pairs);
        for (int r = 0; r < n; ++r) {
            RayState& ray = rays[r];
            if (!ray.active) continue;
            for (int c = ray.first; c < ray.first + ray.count; ++c) {
                const float density = s.calpha[c];
                if (occupancy_values) {
                    const float thickness = density * s.cx_scene[c];
                    float* cell = occupancy_values + s.ccell[c];
                    if (thickness > *cell) *cell = thickness;
                }
                const float alpha = step_alpha(density, s.clength[c]);
                const float weight = ray.transmittance * alpha;
                if (weight > march.min_weight) {
                    if (survivors == kSurvivors) {
                        ray.dropped = true;
                        ray.active = false;
                        break;
                    }
                    const int to = survivors++;
                    s.sx[to] = s.cx[c];
                    s.sy[to] = s.cy[c];
                    s.sz[to] = s.cz[c];
                    s.st[to] = s.ct[c];
                    s.slength[to] = s.clength[c];
                    s.sdensity[to] = density;
                    s.sweight[to] = weight;
                    s.stransmittance[to] = ray.transmittance;
                    s.sray[to] = r;
                    s.snext[to] = -1;
                    (ray.tail < 0 ? ray.head : s.snext[ray.tail]) = to;
                    ray.tail = to;
                    for (int k = 0; how.encodings && k < e; k += kWidth)
                        store(s.sencoding + size_t(to) * e + k, load(s.cencoding + size_t(c) * e + k));
                    for (int k = 0; k < h; k += kWidth)
                        store(s.shidden + size_t(to) * h + k, load(s.chidden + size_t(c) * h + k));
                }
                ray.transmittance *= 1.0f - alpha;
                if (ray.transmittance < march.stop_transmittance) {
                    ray.active = false;
                    break;
                }
            }
        }
        want = how.later_rounds;
    }
    return survivors;
}

// Renders rays [first, last) into rgb (n, 3), depth (n) and accumulation (n), at the rays' own indices.
static inline void trace_rays(const Field& f, const March& march, const Rays& rays, Scratch& s, int first,
                              int last, float* rgb, float* depth, float* accumulation, Counters& counters) {
    const Space space = coarser(f.space, march.coarseness);
    RayState tile[kTileRays];
    for (int base = first; base < last;) {
        int n = last - base < kTileRays ? last - base : kTileRays;
        int survivors;
        for (;;) {  // a tile that overflows is traced again with half of its rays
            start_rays(space, rays.origins + 3 * base, rays.directions + 3 * base, rays.jitter + base, n, tile);
            for (int r = 0; r < n; ++r)
                direction_basis(f.net, rays.directions + 3 * (base + r), s.basis + r * kShSlots);
            survivors = trace(f, march, space, tile, n, kForPictures, s, nullptr, counters);
            bool dropped = false;
            for (int r = 0; r < n; ++r) dropped |= tile[r].dropped;
            if (!dropped || n == 1) break;
            n = (n + 1) / 2;
        }
        color_forward(f, s, survivors);
        for (int r = 0; r < n; ++r) {
            const int i = base + r;
            float c[3] = {0, 0, 0}, d = 0, a = 0;
            for (int k = tile[r].head; k >= 0; k = s.snext[k]) {
                const float w = s.sweight[k];
                for (int ch = 0; ch < 3; ++ch) c[ch] += w * s.scolor[k * 4 + ch];
                d += w * s.st[k];
                a += w;
            }
            for (int ch = 0; ch < 3; ++ch)
                rgb[3 * i + ch] = c[ch] + tile[r].transmittance * rays.backgrounds[3 * i + ch];
            depth[i] = a > 0.0f ? d / a : 0.0f;
            accumulation[i] = 1.0f - tile[r].transmittance;
        }
        counters.survivors += survivors;
        counters.rays += n;
        base += n;
    }
}

NS_END
