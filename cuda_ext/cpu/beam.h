// The steps at which a tile's rays may meet something, found once for all of them.
//
// In an unbounded scene all rays take the same steps. In a bounded one each ray's begin where it enters the box; as they
// are equally long, ray r's step k lies in the interval k + r.offset of the beam, which is one step long.
#pragma once
#include "../include/beam.h"
#include "driver.h"
#include "simd.h"

NS_BEGIN

struct RayState {
    Vec3 o, d;
    StepLaw law;
    float t_end, jitter, transmittance;
    int step, steps;      // the next step to test, and how many there are
    int group_from, group_end;  // what is known of the steps between: they are groups of kWidth, and a bit of `groups`
    uint32_t groups;            // is set if one may hold a sample
    int met_from;               // the steps of one group, and those in occupied cells among them
    uint32_t met;
    int offset;           // with a beam: its interval at step 0
    int first, count;     // its samples in this round
    int head, tail;       // its surviving samples: a linked list in order of distance
    bool active, dropped;
};

constexpr float kBeamJitter = 0.5f;  // pictures are sampled in the middle of each step

struct LiveSteps {
    Beam beam;
    StepLaw law;      // in a bounded scene: the beam's intervals
    bool shared;      // whether all rays take the steps of `law`
    int next, end;    // intervals before `next` have been judged; from `end` on no ray has any
    int at;           // the next to use, for whoever uses them in turn
    int count;        // those that may hold something: their indices, and if shared, the distances of their samples
    float *step, *t;
};

// Prepares the live steps of n rays, which have been started. Returns false if there can't be any: in a
// bounded scene whose steps grow.
static inline bool start_beam(const Space& space, RayState* rays, int n, Scratch& s, LiveSteps& live) {
    live.shared = space.unbounded;
    if (!live.shared && space.cone > 0.0f) return false;
    live.beam = no_beam();
    live.step = s.live_step, live.t = s.live_t;
    live.count = live.next = live.end = 0;
    bool any = false;
    for (int r = 0; r < n; ++r) {
        if (!rays[r].active) continue;
        add_ray(live.beam, rays[r].o, rays[r].d);
        if (!any || rays[r].law.first < live.law.first) live.law = rays[r].law;
        any = true;
    }
    return any;
}
// Places a started ray in its beam.
static inline void join_beam(const Space& space, RayState& r, LiveSteps& live) {
    r.offset = live.shared || !r.active ? 0 : int((r.law.first - live.law.first) / space.step + r.jitter);
}
// Sets which intervals the beam consists of, once all rays have joined.
static inline void bound_beam(const RayState* rays, int n, LiveSteps& live) {
    bool any = false;
    for (int r = 0; r < n; ++r) {
        if (!rays[r].active) continue;
        const int first = rays[r].step + rays[r].offset, end = rays[r].steps + rays[r].offset;
        live.next = any && live.next < first ? live.next : first;
        live.end = live.end > end ? live.end : end;
        any = true;
    }
}

// The lanes, as bits, of the intervals next … next + kWidth - 1 that may hold something. `t` returns their distances.
static inline uint32_t judge(const Field& f, const Space& space, const LiveSteps& live, vf& t) {
    vf t_near, t_far;
    if (live.shared) {
        t = t_near = t_far = step_distance(live.law, iota(float(live.next) + kBeamJitter));
    } else {
        t = iota(float(live.next)) * space.step + live.law.first;
        const vf slack = t * 2e-6f + 0.02f * space.step;
        t_near = ns_max(t - slack, vf{});
        t_far = t + slack + space.step;
    }
    const UnitBox<vf> box = beam_box(live.beam, space, t_near, t_far);
    const int left = live.end - live.next;
    uint32_t lanes = left < kWidth ? (1u << left) - 1u : uint32_t((uint64_t(1) << kWidth) - 1u);
    if (f.coarse) {
        vf half = vf{}, middle[3];
        for (int a = 0; a < 3; ++a) {
            half = ns_max(half, (box.high[a] - box.low[a]) * 0.5f);
            middle[a] = (box.high[a] + box.low[a]) * 0.5f;
        }
        const vi cell = occupancy_cell(middle[0], middle[1], middle[2], kCoarse);
        const float reach = float(kCoarseReach) / float(kCoarse) - 2.0f * kBeamSlack / float(space.occupancy_resolution);
        const uint32_t small = lane_bits(half <= reach) & lanes;
        lanes = gather_bits(f.coarse, cell, small) | (lanes & ~small);
    }
    if (!lanes) return 0;
    const uint32_t* cells = f.halved ? f.halved : f.occupancy;
    const int side = f.halved ? space.occupancy_resolution / 2 : space.occupancy_resolution;
    alignas(64) int32_t first[3][kWidth], last[3][kWidth];
    for (int a = 0; a < 3; ++a) {
        vi low, high;
        box_cells(box.low[a], box.high[a], side, low, high);
        store((uint32_t*)first[a], (vu)low);
        store((uint32_t*)last[a], (vu)high);
    }
    uint32_t found = 0;
    for (; lanes; lanes &= lanes - 1) {
        const int i = __builtin_ctz(lanes);
        const int from[3] = {first[0][i], first[1][i], first[2][i]}, to[3] = {last[0][i], last[1][i], last[2][i]};
        found |= uint32_t(any_occupied(cells, side, from, to)) << i;
    }
    return found;
}
// Finds the next live intervals. Returns false at the end, and when there is no room for more.
static inline bool find_live(const Field& f, const Space& space, LiveSteps& live) {
    while (live.next < live.end && live.count + kWidth <= kLiveSteps) {
        alignas(64) float t[kWidth];
        vf at;
        uint32_t lanes = judge(f, space, live, at);
        const bool any = lanes != 0;
        if (any) store(t, at);
        for (; lanes; lanes &= lanes - 1) {
            const int i = __builtin_ctz(lanes);
            live.step[live.count] = float(live.next + i);
            live.t[live.count++] = t[i];
        }
        live.next = live.next + kWidth < live.end ? live.next + kWidth : live.end;
        if (any) return true;
    }
    return false;
}

NS_END
