// Rays through the field, a ray a lane. A warp's lanes each find their next sample in an occupied cell, then the
// warp puts the 32 points through the networks together; a lane whose ray is over takes the next one. Rays end
// when they are opaque, so a formed scene costs a few evaluations a ray.
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

constexpr int kSkip = 16;  // steps that one look at the coarse grid may skip

NS_HD void start(const Space& space, int index, Vec3 o, Vec3 d, float jitter, LaneRay& r) {
    r.o = o;
    r.d = d;
    r.jitter = jitter;
    r.transmittance = 1.0f;
    r.index = index;
    r.steps = ray_steps(space, o, d, jitter, r.law, r.t_end, r.step);
}

// Moves to the ray's next sample in an occupied cell; false when there is none.
NS_HD bool next_sample(const Field& f, const Space& space, LaneRay& r, LaneSample& s) {
    const bool ask = f.coarse != nullptr;
    while (r.step < r.steps) {
        if (ask && steps_are_empty(f, space, r.o, r.d, r.law, r.jitter, r.step, kSkip)) {
            r.step += kSkip;
            continue;
        }
        // The stretch holds something: look at each of its steps before asking again.
        const int end = ns_min(r.step + kSkip, r.steps);
        while (r.step < end) {
            const float t = step_distance(r.law, float(r.step) + r.jitter);
            ++r.step;
            float x = r.o.x + t * r.d.x, y = r.o.y + t * r.d.y, z = r.o.z + t * r.d.z;
            const float m = ns_max(ns_max(ns_abs(x), ns_abs(y)), ns_abs(z));
            to_unit(space.unbounded, x, y, z);
            const int cell = occupancy_cell(x, y, z, space.occupancy_resolution);
            if (!(t < r.t_end) || !occupied(f.occupancy, cell)) continue;
            s.x = x, s.y = y, s.z = z, s.t = t, s.cell = cell;
            s.length = ns_max(space.step, space.cone * t);
            s.reference_length = ns_max(f.space.step, f.space.cone * m);
            return true;
        }
    }
    return false;
}

// The loop of one warp. `source` hands out rays, `sink` takes what becomes of them:
//   source.next(want, ray): gives a lane that wants one its next ray; false for a lane when there are no more.
//     All lanes call it.
//   sink.sample(ready, survives, ray, sample, density, weight): all lanes, after each evaluation.
//   sink.end(ray): a lane, when its ray is over.
template <class S, class Source, class Sink>
NS_D void trace_warp(const Field& f, const March& march, const Space& space, const WarpNetwork& w, Source& source,
                     Sink& sink) {
    LaneRay ray = {};
    ray.index = -1;
    LaneSample sample = {0.5f, 0.5f, 0.5f, 1.0f, 0.0f, 0.0f, 0};
    bool more = true;
    uint16_t* row = w.first + lane_index() * first_ld(f.net);
    for (;;) {
        bool ready = false;
        // Many rays meet nothing: lanes get a few tries before the warp goes on without them.
        for (int attempt = 0; attempt < 4; ++attempt) {
            const bool want = more && ray.index < 0;
            if (__ballot_sync(kAllLanes, want) != 0) more = source.next(want, ray) || (more && !want);
            if (ray.index >= 0 && !ready) {
                ready = next_sample(f, space, ray, sample);
                if (!ready) {
                    sink.end(ray);
                    ray.index = -1;
                }
            }
            if (__ballot_sync(kAllLanes, !ready && more) == 0) break;
        }
        if (__ballot_sync(kAllLanes, ready) == 0) {
            if (__ballot_sync(kAllLanes, more) == 0) return;
            continue;
        }
        encode_row(f, sample.x, sample.y, sample.z, row);
        const float raw = warp_density<S>(f.net, w);
        const float density = ready ? density_activation(raw) : 0.0f;
        const float alpha = step_alpha(density, sample.length);
        const float weight = ready ? ray.transmittance * alpha : 0.0f;
        sink.sample(ready, ready && weight > march.min_weight, ray, sample, density, weight);
        if (ready) {
            ray.transmittance *= 1.0f - alpha;
            if (ray.transmittance < march.stop_transmittance) {
                sink.end(ray);
                ray.index = -1;
            }
        }
    }
}

NS_END
