// Stage 2 of a training step: trace the rays that meet something, and keep the samples that have weight.
// Only step.cu includes this.
#pragma once
#include "rays.h"

NS_BEGIN

namespace {

NS_D March march_of(const TrainOptions& o) { return {o.min_weight, o.stop_transmittance, o.coarseness}; }

// Hands out the rays that meet something, each starting at its first sample.
struct TrainSource {
    const TrainInput& in;
    const Space& space;
    uint32_t n;

    NS_D TrainSource(const TrainInput& input, const Space& s) : in(input), space(s), n(input.numbers->meeting) {}
    NS_D bool next(const Group& group, bool want, LaneRay& ray) {
        const uint32_t k = take_for_group(&in.numbers->next_meeting, group, want);
        if (!want || k >= n) return false;
        begin(in.rays.meeting[k], ray);
        ray.step = in.rays.first_step[k];
        return true;
    }
    NS_D void begin(int i, LaneRay& ray) {
        const float* d = in.rays.directions + 3 * i;
        Vec3 origin;
        if (in.given.n > 0) {
            const float* o = in.given.origins + 3 * i;
            origin = {o[0], o[1], o[2]};
        } else {
            const float* pose = in.photos.cameras[in.rays.photos[i]].pose;
            origin = {pose[3], pose[7], pose[11]};
        }
        start(space, i, origin, {d[0], d[1], d[2]}, jitter_of(in, i), ray);
    }
};

// Stores the samples that have weight: one linked list per ray, from the ray's last sample to its first. Every lane of
// a group knows the last sample stored for the group's ray.
struct SampleSink {
    static constexpr bool kWidens = true;
    const TrainInput& in;
    const uint16_t* row;  // this lane's encoding
    int last = -1;
    bool dropped = false;
    unsigned candidates = 0;

    NS_D SampleSink(const TrainInput& input, const uint16_t* r) : in(input), row(r) {}
    NS_D void sample(const Group& group, bool ready, bool survives, LaneRay& ray, const LaneSample& s, float density,
                     float weight, float transmittance) {
        if (ready) {
            ++candidates;
            if (in.given.n == 0) max_positive(in.state.occupancy_values + s.cell, density * s.reference_length);
        }
        const uint32_t i = take_indices(&in.numbers->samples, survives);
        const bool fits = survives && i < in.samples.capacity;
        const unsigned kept = group.votes(fits), lost = group.votes(survives && !fits);
        const unsigned earlier = kept & group.earlier();
        const int before = int(group.from(earlier ? highest_bit(earlier) : group.place, i));
        const int latest = int(group.from(kept ? highest_bit(kept) : group.place, i));
        if (fits) {
            in.samples.place[i] = make_float4(s.x, s.y, s.z, s.t);
            in.samples.state[i] = make_float4(s.length, density, weight, transmittance);
            in.samples.previous[i] = earlier ? before : last;
            in.samples.ray[i] = ray.index;
            const int e = in.state.field.net.encoding;
            for (int k = 0; k < e; k += 8)
                *reinterpret_cast<uint4*>(in.samples.encoding + size_t(i) * e + k) = *reinterpret_cast<const uint4*>(row + k);
        }
        if (kept) last = latest;
        if (lost) {
            dropped = true;
            ray.transmittance = 0.0f;  // ends the ray
        }
    }
    NS_D void end(const Group& group, bool ends, const LaneRay& ray) {
        if (!ends) return;
        if (group.leads()) {
            in.rays.last[ray.index] = last;
            in.rays.transmittance[ray.index] = ray.transmittance;
            in.rays.dropped[ray.index] = dropped;
            if (dropped) atomicAdd(&in.numbers->dropped, 1u);
        }
        last = -1;
        dropped = false;
    }
    NS_D void move(int from) {
        last = __shfl_sync(kAllLanes, last, from);
        dropped = __shfl_sync(kAllLanes, int(dropped), from) != 0;
    }
};

template <class S>
__global__ void __launch_bounds__(128, 5) trace_kernel(TrainInput in) {
    NS_SHARED(shared);
    const Field& f = in.state.field;
    Carver carver = {shared, 0};
    const WarpNetwork w = carve_network(carver, f.net, int(blockDim.x) / kWarp, warp_index(), false);
    load_weights(f, w, false);
    __syncthreads();
    const March march = march_of(in.numbers->options);
    const Space space = coarser(f.space, march.coarseness);
    TrainSource source(in, space);
    SampleSink sink(in, w.first + lane_index() * first_ld(f.net));
    trace_warp<S>(f, march, space, w, source, sink);
    const float candidates = warp_sum(float(sink.candidates));
    if (lane_index() == 0) atomicAdd(&in.numbers->candidates, static_cast<unsigned long long>(candidates));
}

}  // namespace

NS_END
