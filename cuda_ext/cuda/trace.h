// Traces rays through the field. Eight lanes of a warp share a ray: they test eight steps at once and find the ray's
// next eight samples in occupied cells. Then the warp runs the networks on its 32 samples together. A ray ends when it
// is opaque, so in a scene that has formed it needs few evaluations. Lanes hold samples, not rays: with one ray per
// lane, a whole step would wait for its longest ray. When no rays are left to start, the rays still under way may take
// over the idle lanes.
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
    int index;  // the ray's number; -1: none
};
struct LaneSample {
    float x, y, z, t, length;  // unit cube; distances in scene units
    float reference_length;    // the occupancy grid stores density × this
    int cell;
};

constexpr int kGroup = 8;  // lanes that share a ray while there are enough rays
constexpr int kLooks = 6;  // the most steps a lane tests before its warp evaluates the samples found so far

NS_HD void start(const Space& space, int index, Vec3 o, Vec3 d, float jitter, LaneRay& r) {
    r.o = o;
    r.d = d;
    r.jitter = jitter;
    r.transmittance = 1.0f;
    r.index = index;
    r.steps = ray_steps(space, o, d, jitter, r.law, r.t_end, r.step);
}

// Computes the position and cell of the sample at a step, whether or not the cell is occupied, and `m`, the
// point's reach_of. Returns whether the ray has such a step.
NS_HD bool sample_at(const Space& space, const LaneRay& r, int step, LaneSample& s, float& m) {
    s.t = step_distance(r.law, float(step) + r.jitter);
    s.x = r.o.x + s.t * r.d.x, s.y = r.o.y + s.t * r.d.y, s.z = r.o.z + s.t * r.d.z;
    m = reach_of(space, s.x, s.y, s.z);
    to_unit(space, s.x, s.y, s.z);
    s.cell = occupancy_cell(s.x, s.y, s.z, space.occupancy_resolution);
    return step < r.steps && s.t < r.t_end;
}
// Sets the lengths of a sample.
NS_HD void measure(const Field& f, const Space& space, float m, LaneSample& s) {
    s.length = ns_max(space.step, space.cone * s.t);
    s.reference_length = reference_length(f.space, m);
}

// Moves to the ray's next sample in an occupied cell; returns false if there is none. For one lane by itself.
NS_HD bool next_sample(const Field& f, const Space& space, LaneRay& r, LaneSample& s) {
    const Vec3 inverse = inverse_of(r.d);
    float m;
    while (sample_at(space, r, r.step, s, m)) {
        const int empty = empty_steps(f, space, inverse, s.t, m, s.x, s.y, s.z, s.cell);
        r.step += ns_max(empty, 1);
        if (empty > 0) continue;
        measure(f, space, m, s);
        return true;
    }
    return false;
}

// The same for a group of lanes that share a ray: finds the ray's next samples, one per lane, in the order of the
// lanes. Returns whether this lane has one. All lanes of the warp must call it. `slots`: kWarp ints in shared memory.
NS_D bool next_samples(const Field& f, const Space& space, const Group& group, LaneRay& r, LaneSample& s, int* slots) {
    const Vec3 inverse = inverse_of(r.d);
    int have = 0;
    for (int look = 0; look < kLooks; ++look) {
        const bool looking = r.index >= 0 && have < group.size && r.step < r.steps;
        if (!__any_sync(kAllLanes, looking)) break;
        const int step = r.step + group.place;
        int empty = 0;
        bool hit = false;
        LaneSample here;
        float m;
        if (looking && sample_at(space, r, step, here, m)) {
            empty = empty_steps(f, space, inverse, here.t, m, here.x, here.y, here.z, here.cell);
            hit = empty == 0;
        }
        const unsigned hits = group.votes(hit);
        const int slot = have + __popc(hits & group.earlier());
        if (hit && slot < group.size) slots[group.first + slot] = step;
        const unsigned surplus = group.votes(hit && slot == group.size);
        const int beyond = group.from(group.size - 1, empty);  // how many of the following steps are empty too
        if (looking) {
            have = ns_min(have + __popc(hits), group.size);
            r.step += surplus ? __ffs(int(surplus)) - 1 : group.size - 1 + ns_max(beyond, 1);
        }
    }
    __syncwarp();
    const bool ready = group.place < have;
    if (ready) {
        float m;
        sample_at(space, r, slots[group.first + group.place], s, m);
        measure(f, space, m, s);
    }
    __syncwarp();
    return ready;
}

// Like take_indices, with one index for each group.
NS_D uint32_t take_for_group(uint32_t* counter, const Group& group, bool want) {
    return group.from(0, take_indices(counter, want && group.leads()));
}

// If at most half of the groups have a ray, doubles the groups' width and gives the rays to the first groups.
template <class Source, class Sink>
NS_D void widen(Group& group, LaneRay& ray, Source& source, Sink& sink) {
    unsigned leaders = __ballot_sync(kAllLanes, group.leads() && ray.index >= 0);
    if (group.size == kWarp || __popc(leaders) > kWarp / group.size / 2) return;
    const Group wider(2 * group.size);
    for (int k = wider.first; k > 0; k -= wider.size) leaders &= leaders - 1;  // skips the rays of earlier groups
    const int from = leaders ? __ffs(int(leaders)) - 1 : 0;
    const int index = __shfl_sync(kAllLanes, ray.index, from), step = __shfl_sync(kAllLanes, ray.step, from);
    const float transmittance = __shfl_sync(kAllLanes, ray.transmittance, from);
    ray.index = -1;
    if (leaders) {
        source.begin(index, ray);
        ray.step = step, ray.transmittance = transmittance;
    }
    sink.move(from);
    group = wider;
}

// The loop of one warp. `source` hands out rays, and `sink` receives the results. All lanes call each of these:
//   source.next(group, want, ray): gives each group that wants a ray the next one; returns false if there are no more.
//   sink.sample(group, ready, survives, ray, sample, density, weight, transmittance): called after each evaluation;
//     `transmittance` is the ray's transmittance in front of the sample.
//   sink.end(group, ends, ray): called when rays end.
//   source.begin(index, ray) and sink.move(from), only if Sink::kWidens: this lane takes over the ray with this index
//     from lane `from`.
template <class S, class Source, class Sink>
NS_D void trace_warp(const Field& f, const March& march, const Space& space, const WarpNetwork& w, Source& source,
                     Sink& sink) {
    LaneRay ray = {};
    ray.index = -1;
    LaneSample sample = {0.5f, 0.5f, 0.5f, 1.0f, 0.0f, 0.0f, 0};
    bool more = true;  // the same in all lanes
    Group group(kGroup);
    const int lane = lane_index();
    uint16_t* row = w.first + lane * first_ld(f.net);
    for (;;) {
        const bool want = more && ray.index < 0;
        if (__any_sync(kAllLanes, want)) {
            const bool got = source.next(group, want, ray);
            more = !__any_sync(kAllLanes, want && !got);
        }
        if (!more) {
            if (!__any_sync(kAllLanes, ray.index >= 0)) return;
            if constexpr (Sink::kWidens) widen(group, ray, source, sink);
        }
        const bool ready = next_samples(f, space, group, ray, sample, w.slots);
        bool over = false;
        if (__any_sync(kAllLanes, ready)) {
            encode_row(f, sample.x, sample.y, sample.z, row);
            const float raw = warp_density<S>(f.net, w);
            const float density = ready ? density_activation(raw) : 0.0f;
            const float alpha = step_alpha(density, sample.length);
            float before = 0, transmittance = ray.transmittance;
            bool counts = false;
            for (int k = 0; k < group.size; ++k) {  // in the CPU's order of multiplication
                const float a = group.from(k, alpha);
                if (k == group.place) before = transmittance, counts = ready && !over;
                if (!over) transmittance *= 1.0f - a;
                over = transmittance < march.stop_transmittance;
            }
            const float weight = counts ? before * alpha : 0.0f;
            ray.transmittance = transmittance;
            sink.sample(group, counts, counts && weight > march.min_weight, ray, sample, density, weight, before);
            over = ray.transmittance < march.stop_transmittance;
        }
        const bool ends = ray.index >= 0 && (over || ray.step >= ray.steps);
        if (__any_sync(kAllLanes, ends)) {
            sink.end(group, ends, ray);
            if (ends) ray.index = -1;
        }
    }
}

NS_END
