// Stage 4 of a training step: the loss of each ray, and its gradients with respect to the ray's samples.
// Only step.cu includes this.
#pragma once
#include "../include/exposure.h"
#include "rays.h"

NS_BEGIN

namespace {

// The distance to what this ray sees, or 0 if it is unknown.
NS_D float known_end(const TrainInput& in, int ray, int photo) {
    if (in.given.n > 0) return in.given.known ? in.given.known[ray] : 0.0f;
    return in.photos.depths ? *known_depth(in.photos, photo, in.rays.pixels[2 * ray], in.rays.pixels[2 * ray + 1]) : 0.0f;
}

// The numbers of the cell of a photo that this ray's pixel lies in; null for given rays, or if there are no cells.
NS_D float* cell_of(const TrainInput& in, int ray, int photo) {
    if (in.given.n > 0 || !in.state.photo_cells) return nullptr;
    return in.state.photo_cells +
           kCellNumbers * photo_cell(in.photos, photo, in.rays.pixels[2 * ray], in.rays.pixels[2 * ray + 1]);
}

// Visits a ray's samples from its last to its first, as many at a time as a group has lanes. All lanes of the warp must
// take part in each call.
constexpr int kChainLanes = 4;
struct Chain {
    const int* previous;
    int next;  // the next sample to visit; -1: there are no more

    // Returns this lane's one of the next samples, or -1 if it has none. The group's first lane gets the one that is
    // farthest along the ray. Samples that a warp stored together are usually neighbours in memory. So each lane
    // guesses where its sample is and reads that one's link. The links then show how many of the guesses were right.
    NS_D int take(const Group& group) {
        const int k = next >= group.place ? next - group.place : -1;
        const int before = k >= 0 ? previous[k] : -1;
        const unsigned breaks = group.votes(k < 0 || before != k - 1);
        const int n = breaks ? __ffs(int(breaks)) : group.size;
        next = group.from(n - 1, before);
        return group.place < n ? k : -1;
    }
};

// A running sum over the group's lanes: returns `total` plus the sum of `mine` over the lanes before this one, and adds
// the sum over all of the group's lanes to `total`.
NS_D float running(const Group& group, float mine, float& total) {
    float before = total;
#pragma unroll 1  // if this is unrolled, nvcc spills registers
    for (int k = 0; k < group.size; ++k) {
        const float value = group.from(k, mine);
        if (k < group.place) before += value;
        total += value;
    }
    return before;
}

// Adds up the loss. Replaces each sample's colour with the gradients of its raw colour and raw density. kChainLanes
// lanes share a ray. This is one long function because splitting it changes the machine code that nvcc generates.
__global__ void __launch_bounds__(128) ray_backward_kernel(TrainInput in) {
    const TrainOptions& o = in.numbers->options;
    const int n = rays_of(in), groups = int(gridDim.x * blockDim.x) / kChainLanes;
    const Samples& s = in.samples;
    const bool exposes = o.exposure_rate > 0 || in.given.n > 0;  // given rays (in tests) always get exposure gradients
    const Group group(kChainLanes);
    float squared = 0;
    for (int base = int(blockIdx.x * blockDim.x + threadIdx.x) / kWarp * (kWarp / kChainLanes); base < n; base += groups) {
        const int i = base + lane_index() / kChainLanes;
        const bool here = i < n, dropped = here && in.rays.dropped[i];
        const int last = here ? in.rays.last[i] : -1;
        float c[3] = {0, 0, 0}, w_total = 0, wm_total = 0;
        for (Chain chain = {s.previous, last}; __any_sync(kAllLanes, chain.next >= 0);) {
            const int k = chain.take(group);
            if (k < 0) continue;
            if (dropped) {
                s.color[k] = make_float4(0, 0, 0, 0);
                continue;
            }
            const float4 rgb = s.color[k], state = s.state[k];
            c[0] += state.z * rgb.x, c[1] += state.z * rgb.y, c[2] += state.z * rgb.z;
            if (o.distortion > 0) {
                w_total += state.z;
                wm_total += state.z * logf(s.place[k].w + 0.5f * state.x);
            }
        }
        for (int a = 0; a < 3; ++a) c[a] = group.sum(c[a]);
        if (o.distortion > 0) w_total = group.sum(w_total), wm_total = group.sum(wm_total);
        const bool counts = here && !dropped;
        float g[3] = {0, 0, 0}, behind = 0, known = 0;  // g: with respect to Σ w rgb
        float loss_scale = kGradientScale;
        bool sky = false;
        if (counts) {
            const float transmittance = in.rays.transmittance[i];
            const int photo = in.rays.photos[i];
            float* const cell = cell_of(in, i, photo);
            const bool left_out = cell && cell[kCellNumbers - 1] > 0;
            const bool adds = cell && o.errors_every > 0 && i % o.errors_every == 0;
            if (left_out) loss_scale = 0;
            if (adds && group.leads()) atomicAdd(cell + 3, 1.0f);
            for (int a = 0; a < 3; ++a) {
                const float background = in.rays.backgrounds[3 * i + a];
                const float exposure = photo >= 0 ? in.state.exposures[3 * photo + a] : 0.0f;
                const float shown = exposed(c[a], exposure);
                const float error = shown + transmittance * background - in.rays.targets[3 * i + a];
                const float d = huber_gradient(error, o.huber_delta) * loss_scale;
                behind += transmittance * background * d;
                g[a] = exposed(d, exposure);
                if (!group.leads()) continue;
                if (adds) atomicAdd(cell + a, error);
                if (!left_out) squared += error * error;
                if (photo >= 0 && exposes)
                    atomicAdd(in.exposure_gradient + 3 * photo + a,
                              exposure_gradient(d, shown, exposure, o.exposure_pull * loss_scale));
            }
            sky = o.sky_pull > 0 && in.rays.directions[3 * i + 2] > 0 &&
                  (in.given.n > 0 || is_plain(in.photos, photo, in.rays.pixels[2 * i], in.rays.pixels[2 * i + 1]));
            // Not in steps that collect the cameras' gradients: cameras are refined by colours alone (see cpu/train.h).
            known = o.depth_pull > 0 && !in.d_rays ? known_end(in, i, photo) : 0.0f;
            if (known > 0) behind += transmittance * o.depth_pull * loss_scale * o.depth_most;
        }
        float w_behind = 0, wm_behind = 0;
        for (Chain chain = {s.previous, counts ? last : -1}; __any_sync(kAllLanes, chain.next >= 0);) {
            const int k = chain.take(group);
            float4 rgb = make_float4(0, 0, 0, 0), state = rgb;
            float t = 1, m = 0, q = 0;
            if (k >= 0) {
                rgb = s.color[k], state = s.state[k], t = s.place[k].w;
                q = rgb.x * g[0] + rgb.y * g[1] + rgb.z * g[2];
                if (sky) q += o.sky_pull * loss_scale * sky_gradient(t, o.sky_distance);
                if (known > 0)
                    q += o.depth_pull * loss_scale *
                         depth_gradient(t + 0.5f * state.x, known, o.depth_slack, o.depth_most);
            }
            const float length = state.x, density = state.y, w = state.z;
            if (o.distortion > 0) {
                if (k >= 0) m = logf(t + 0.5f * length);
                const float w_before = w_total - running(group, w, w_behind) - w;
                const float wm_before = wm_total - running(group, w * m, wm_behind) - w * m;
                if (k >= 0)
                    q += o.distortion * loss_scale *
                         distortion_gradient(w, m, logf(1.0f + length / t), w_before, wm_before, w_total, wm_total);
            }
            float behind_this = running(group, w * q, behind);
            if (k < 0) continue;
            const float d = density_gradient(length, state.w, w, q, behind_this);
            const float scale = near_gradient_scale(t, o.full_gradient_distance);
            s.color[k] = make_float4(scale * w * g[0] * color_gradient(rgb.x), scale * w * g[1] * color_gradient(rgb.y),
                                     scale * w * g[2] * color_gradient(rgb.z),
                                     scale * d * density_activation_gradient(density));
        }
    }
    squared = warp_sum(squared);
    if (lane_index() == 0) atomicAdd(&in.numbers->squared_error, double(squared));
}

}  // namespace

NS_END
