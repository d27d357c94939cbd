// Stage 1 of a training step: draw the rays, and follow each to its first sample in occupied space.
// Only step.cu includes this.
#pragma once
#include "../include/photos.h"
#include "samples.h"
#include "trace.h"

NS_BEGIN

namespace {

// How many rays this step has: the given ones, or as many as should yield the target number of samples.
NS_D int rays_of(const TrainInput& in) { return in.given.n > 0 ? in.given.n : in.numbers->n_rays; }

NS_D float jitter_of(const TrainInput& in, int ray) {
    return in.given.n > 0 ? in.given.jitter[ray] : drawn_jitter(in.seed, in.numbers->rays_drawn + uint64_t(ray));
}

// Makes ray i of the step, through a random pixel, or takes a given one. Stores what later stages need to know of it.
NS_D void make_ray(const TrainInput& in, const Space& space, int i, LaneRay& ray) {
    Vec3 o, d;
    float background[3], target[3], x = 0, y = 0;
    int photo = -1;
    if (in.given.n > 0) {
        const DeviceRays& r = in.given;
        o = {r.origins[3 * i], r.origins[3 * i + 1], r.origins[3 * i + 2]};
        d = {r.directions[3 * i], r.directions[3 * i + 1], r.directions[3 * i + 2]};
        for (int c = 0; c < 3; ++c) background[c] = r.backgrounds[3 * i + c], target[c] = r.targets[3 * i + c];
        if (r.photos) photo = r.photos[i];
    } else {
        const uint64_t drawn = in.numbers->rays_drawn + uint64_t(i);
        const uint8_t* texel = drawn_ray(in.photos, in.seed, drawn, photo, x, y, o, d);
        for (int c = 0; c < 3; ++c) drawn_color(in.photos, in.seed, drawn, texel, c, background[c], target[c]);
    }
    in.rays.directions[3 * i] = d.x, in.rays.directions[3 * i + 1] = d.y, in.rays.directions[3 * i + 2] = d.z;
    for (int c = 0; c < 3; ++c) in.rays.backgrounds[3 * i + c] = background[c], in.rays.targets[3 * i + c] = target[c];
    in.rays.photos[i] = photo;
    in.rays.pixels[2 * i] = x, in.rays.pixels[2 * i + 1] = y;
    start(space, i, o, d, jitter_of(in, i), ray);
}

// One thread per ray. In some captures most rays never meet anything. They are sorted out here, because in the next
// stage a whole warp would wait for one ray's march through empty space before it could run the networks.
__global__ void __launch_bounds__(128) rays_kernel(TrainInput in) {
    const Field& f = in.state.field;
    const Space space = coarser(f.space, in.numbers->options.coarseness);
    const int n = rays_of(in), all = int(gridDim.x * blockDim.x);
    for (int base = int(blockIdx.x * blockDim.x); base < n; base += all) {
        const int i = base + int(threadIdx.x);
        bool meets = false;
        LaneRay ray = {};
        if (i < n) {
            LaneSample sample;
            make_ray(in, space, i, ray);
            meets = next_sample(f, space, ray, sample);
            if (!meets) in.rays.last[i] = -1, in.rays.transmittance[i] = 1.0f, in.rays.dropped[i] = 0;
        }
        const uint32_t k = take_indices(&in.numbers->meeting, meets);
        if (meets) in.rays.meeting[k] = i, in.rays.first_step[k] = ray.step - 1;
    }
}

}  // namespace

NS_END
