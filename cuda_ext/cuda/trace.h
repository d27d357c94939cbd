// Rays through the field. Eight lanes of a warp share a ray: they look at eight steps at once, take the ray's next eight
// samples in occupied cells, and the warp puts its 32 points through the networks together. Rays end when they are
// opaque, so a formed scene costs a few evaluations a ray; a sample a lane rather than a ray a lane, for a step is over
// only when its longest ray is.
#pragma once
#include "../include/camera.h"
#include "../include/composite.h"
#include "../include/march.h"
#include "networks.h"

NS_BEGIN

struct LaneRay {
    Vec3 o, d;
    StepLaw law;
    float t_end, jitter, transmittance;
    int step, steps;
    int index;  // which ray this is; -1: none
};
struct LaneSample {
    float x, y, z, t, length;  // unit cube; distances in scene units
    float reference_length;    // by which the occupancy grid judges density
    int cell;
};

constexpr int kGroup = 8;  // lanes that share a ray
constexpr int kLooks = 6;  // at eight steps each, before a warp goes on with the samples it has

NS_HD void start(const Space& space, int index, Vec3 o, Vec3 d, float jitter, LaneRay& r) {
    r.o = o;
    r.d = d;
    r.jitter = jitter;
    r.transmittance = 1.0f;
    r.index = index;
    r.steps = ray_steps(space, o, d, jitter, r.law, r.t_end, r.step);
}

// The sample at a step, but for its place in time: no matter whether its cell is occupied. Returns whether the ray is
// still there; `m` is its point's largest coordinate in the scene.
NS_HD bool sample_at(const Space& space, const LaneRay& r, int step, LaneSample& s, float& m) {
    s.t = step_distance(r.law, float(step) + r.jitter);
    s.x = r.o.x + s.t * r.d.x, s.y = r.o.y + s.t * r.d.y, s.z = r.o.z + s.t * r.d.z;
    m = ns_max(ns_max(ns_abs(s.x), ns_abs(s.y)), ns_abs(s.z));
    to_unit(space.unbounded, s.x, s.y, s.z);
    s.cell = occupancy_cell(s.x, s.y, s.z, space.occupancy_resolution);
    return step < r.steps && s.t < r.t_end;
}
NS_HD void measure(const Field& f, const Space& space, float m, LaneSample& s) {
    s.length = ns_max(space.step, space.cone * s.t);
    s.reference_length = ns_max(f.space.step, f.space.cone * m);
}

// Moves to the ray's next sample in an occupied cell; false when there is none. By one lane alone.
NS_HD bool next_sample(const Field& f, const Space& space, LaneRay& r, LaneSample& s) {
    const Vec3 inverse = inverse_of(r.d);
    float m;
    while (sample_at(space, r, r.step, s, m)) {
        const int empty = f.room ? empty_steps(f, space, inverse, s.t, m, s.x, s.y, s.z) : 0;
        r.step += ns_max(empty, 1);
        if (empty > 0 || !occupied(f.occupancy, s.cell)) continue;
        measure(f, space, m, s);
        return true;
    }
    return false;
}

// The same by the lanes of each group for its ray: up to kGroup samples, the first for its first lane. All lanes of the
// warp call it; returns whether this lane has one. `slots` are kWarp ints in shared memory.
NS_D bool next_samples(const Field& f, const Space& space, LaneRay& r, LaneSample& s, int* slots) {
    const int lane = lane_index(), place = lane % kGroup, group = lane - place;
    const Vec3 inverse = inverse_of(r.d);
    int have = 0;
    for (int look = 0; look < kLooks; ++look) {
        const bool looking = r.index >= 0 && have < kGroup && r.step < r.steps;
        if (__ballot_sync(kAllLanes, looking) == 0) break;
        const int step = r.step + place;
        int empty = 0;
        bool hit = false;
        LaneSample here;
        float m;
        if (looking && sample_at(space, r, step, here, m)) {
            if (f.room) empty = empty_steps(f, space, inverse, here.t, m, here.x, here.y, here.z);
            hit = empty == 0 && occupied(f.occupancy, here.cell);
        }
        const unsigned hits = __ballot_sync(kAllLanes, hit) >> group & ((1u << kGroup) - 1u);
        const int slot = have + __popc(hits & ((1u << place) - 1u));
        if (hit && slot < kGroup) slots[group + slot] = step;
        const unsigned surplus = __ballot_sync(kAllLanes, hit && slot == kGroup) >> group & ((1u << kGroup) - 1u);
        const int beyond = __shfl_sync(kAllLanes, empty, group + kGroup - 1);  // behind the last of these steps
        if (looking) {
            have = ns_min(have + __popc(hits), kGroup);
            r.step += surplus ? __ffs(int(surplus)) - 1 : kGroup - 1 + ns_max(beyond, 1);
        }
    }
    __syncwarp();
    const bool ready = place < have;
    if (ready) {
        float m;
        sample_at(space, r, slots[lane], s, m);
        measure(f, space, m, s);
    }
    __syncwarp();
    return ready;
}

// As take_indices, one for each group.
NS_D uint32_t take_for_group(uint32_t* counter, bool want) {
    const int first = lane_index() / kGroup * kGroup;
    return __shfl_sync(kAllLanes, take_indices(counter, want && lane_index() == first), first);
}

// The loop of one warp. `source` hands out rays, `sink` takes what becomes of them; all lanes call both:
//   source.next(want, ray): gives a group that wants one its next ray; false for a group when there are no more.
//   sink.sample(ready, survives, ray, sample, density, weight, transmittance): after each evaluation; the last is that
//     before the sample.
//   sink.end(ends, ray): when rays are over.
template <class S, class Source, class Sink>
NS_D void trace_warp(const Field& f, const March& march, const Space& space, const WarpNetwork& w, Source& source,
                     Sink& sink) {
    LaneRay ray = {};
    ray.index = -1;
    LaneSample sample = {0.5f, 0.5f, 0.5f, 1.0f, 0.0f, 0.0f, 0};
    bool more = true;
    const int lane = lane_index(), group = lane / kGroup * kGroup;
    uint16_t* row = w.first + lane * first_ld(f.net);
    for (;;) {
        const bool want = more && ray.index < 0;
        if (__ballot_sync(kAllLanes, want) != 0) more = source.next(want, ray) || (more && !want);
        if (__ballot_sync(kAllLanes, more || ray.index >= 0) == 0) return;
        const bool ready = next_samples(f, space, ray, sample, w.slots);
        bool over = false;
        if (__ballot_sync(kAllLanes, ready) != 0) {
            encode_row(f, sample.x, sample.y, sample.z, row);
            const float raw = warp_density<S>(f.net, w);
            const float density = ready ? density_activation(raw) : 0.0f;
            const float alpha = step_alpha(density, sample.length);
            float before = 0, transmittance = ray.transmittance;
            bool counts = false;
            for (int k = 0; k < kGroup; ++k) {  // one after the other, as any other driver multiplies them
                const float a = __shfl_sync(kAllLanes, alpha, group + k);
                if (group + k == lane) before = transmittance, counts = ready && !over;
                if (!over) transmittance *= 1.0f - a;
                over = transmittance < march.stop_transmittance;
            }
            const float weight = counts ? before * alpha : 0.0f;
            ray.transmittance = transmittance;
            sink.sample(counts, counts && weight > march.min_weight, ray, sample, density, weight, before);
            over = ray.transmittance < march.stop_transmittance;
        }
        const bool ends = ray.index >= 0 && (over || ray.step >= ray.steps);
        if (__ballot_sync(kAllLanes, ends) != 0) {
            sink.end(ends, ray);
            if (ends) ray.index = -1;
        }
    }
}

NS_END
