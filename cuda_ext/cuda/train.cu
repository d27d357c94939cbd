// The training step on the device: rays → trace → colour → loss and gradient per ray → networks and table → Adam, and
// every so often the occupancy grid. Recorded as a graph; no number comes back to the host inside the loop.
#include "../include/exposure.h"
#include "../include/occupancy.h"
#include "../include/photos.h"
#include "../include/refine.h"
#include "launch.h"
#include "samples.h"
#include "trace.h"

#include <chrono>

NS_BEGIN

namespace {

// How many rays a step has: the given ones, or as many as its samples want.
NS_D int rays_of(const TrainInput& in) { return in.given.n > 0 ? in.given.n : in.numbers->n_rays; }

NS_D float jitter_of(const TrainInput& in, int ray) {
    return in.given.n > 0 ? in.given.jitter[ray] : drawn_jitter(in.seed, in.numbers->rays_drawn + uint64_t(ray));
}

// A ray of a random pixel (or a given one); what the walk back needs to know of it is kept.
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

NS_D March march_of(const TrainOptions& o) { return {o.min_weight, o.stop_transmittance, o.coarseness}; }

// A thread a ray: drawn, and followed to where it first meets something. Most of some captures' rays never do, and no
// warp that puts samples through the networks should wait for one of its lanes to find that out.
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

// The rays that meet something, from there on.
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

// Keeps the samples that weigh something, as a list per ray from its last to its first. All lanes of a group know its
// ray's last one.
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
            ray.transmittance = 0.0f;  // which ends it
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

// How far away what a ray sees is, where that is known; else 0.
NS_D float known_end(const TrainInput& in, int ray, int photo) {
    if (in.given.n > 0) return in.given.known ? in.given.known[ray] : 0.0f;
    return in.photos.depths ? known_depth(in.photos, photo, in.rays.pixels[2 * ray], in.rays.pixels[2 * ray + 1]) : 0.0f;
}

// A ray's samples from its last to its first, as many at a time as a group has lanes. All lanes of the warp ask together.
constexpr int kChainLanes = 4;
struct Chain {
    const int* previous;
    int next;  // the sample that comes next; -1: none

    // This lane's one of the next samples, the first lane's the last along the ray; -1: none. Samples that a warp kept
    // together lie one after the other, so lanes look where the chain should lead before they know that it does.
    NS_D int take(const Group& group) {
        const int k = next >= group.place ? next - group.place : -1;
        const int before = k >= 0 ? previous[k] : -1;
        const unsigned breaks = group.votes(k < 0 || before != k - 1);
        const int n = breaks ? __ffs(int(breaks)) : group.size;
        next = group.from(n - 1, before);
        return group.place < n ? k : -1;
    }
};

// What the group's lanes before this one hold in all, and `total` so far; `total` then has all of them.
NS_D float running(const Group& group, float mine, float& total) {
    float before = total;
#pragma unroll 1  // nvcc spills else
    for (int k = 0; k < group.size; ++k) {
        const float value = group.from(k, mine);
        if (k < group.place) before += value;
        total += value;
    }
    return before;
}

// The loss of each ray, and in each sample's place the gradients of its raw colour and raw density.
__global__ void __launch_bounds__(128) ray_backward_kernel(TrainInput in) {
    const TrainOptions& o = in.numbers->options;
    const int n = rays_of(in), groups = int(gridDim.x * blockDim.x) / kChainLanes;
    const Samples& s = in.samples;
    const bool exposes = o.exposure_rate > 0 || in.given.n > 0;  // who gives rays also wants these gradients
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
        float g[3] = {0, 0, 0}, behind = 0, known = 0;  // g: by Σ w rgb
        bool sky = false;
        if (counts) {
            const float transmittance = in.rays.transmittance[i];
            const int photo = in.rays.photos[i];
            for (int a = 0; a < 3; ++a) {
                const float background = in.rays.backgrounds[3 * i + a];
                const float exposure = photo >= 0 ? in.state.exposures[3 * photo + a] : 0.0f;
                const float shown = exposed(c[a], exposure);
                const float error = shown + transmittance * background - in.rays.targets[3 * i + a];
                const float d = huber_gradient(error, o.huber_delta) * kGradientScale;
                behind += transmittance * background * d;
                g[a] = exposed(d, exposure);
                if (!group.leads()) continue;
                squared += error * error;
                if (photo >= 0 && exposes)
                    atomicAdd(in.exposure_gradient + 3 * photo + a,
                              exposure_gradient(d, shown, exposure, o.exposure_pull * kGradientScale));
            }
            sky = o.sky_pull > 0 && in.rays.directions[3 * i + 2] > 0 &&
                  (in.given.n > 0 || is_plain(in.photos, photo, in.rays.pixels[2 * i], in.rays.pixels[2 * i + 1]));
            // Not where cameras' gradients are asked for: they follow colours alone.
            known = o.depth_pull > 0 && !in.d_rays ? known_end(in, i, photo) : 0.0f;
            if (known > 0) behind += transmittance * o.depth_pull * kGradientScale * o.depth_most;
        }
        float w_behind = 0, wm_behind = 0;
        for (Chain chain = {s.previous, counts ? last : -1}; __any_sync(kAllLanes, chain.next >= 0);) {
            const int k = chain.take(group);
            float4 rgb = make_float4(0, 0, 0, 0), state = rgb;
            float t = 1, m = 0, q = 0;
            if (k >= 0) {
                rgb = s.color[k], state = s.state[k], t = s.place[k].w;
                q = rgb.x * g[0] + rgb.y * g[1] + rgb.z * g[2];
                if (sky) q += o.sky_pull * kGradientScale * sky_gradient(t, o.sky_distance);
                if (known > 0)
                    q += o.depth_pull * kGradientScale *
                         depth_gradient(t + 0.5f * state.x, known, o.depth_slack, o.depth_most);
            }
            const float length = state.x, density = state.y, w = state.z;
            if (o.distortion > 0) {
                if (k >= 0) m = logf(t + 0.5f * length);
                const float w_before = w_total - running(group, w, w_behind) - w;
                const float wm_before = wm_total - running(group, w * m, wm_behind) - w * m;
                if (k >= 0)
                    q += o.distortion * kGradientScale *
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

// --- cameras -----------------------------------------------------------------------------------------
template <int F>
NS_D void add_position_gradient(const HashGrid& grid, const uint16_t* table, int level, const float4& at, const float* d,
                                Vec3& to) {
    uint32_t row[8];
    float weight[8];
    const float resolution = float(grid.resolution[level]);
    const Cell<float> cell = locate(at.x, at.y, at.z, resolution);
    if (grid.hashed[level])
        corners(cell, true, grid.size[level], 0u, row, weight);
    else
        corners(cell, false, 0u, uint32_t(grid.resolution[level] + 2), row, weight);
    const uint16_t* rows = table + size_t(grid.offset[level]) * F;
    float v[8];  // each corner's features, times their gradients
#pragma unroll
    for (int k = 0; k < 8; ++k) {
        float f[F];
        load_table_row<F>(rows + size_t(row[k]) * F, f);
        v[k] = 0;
#pragma unroll
        for (int i = 0; i < F; ++i) v[k] += f[i] * d[level * F + i];
    }
    float dx, dy, dz;
    interpolation_gradient(v, cell.fx, cell.fy, cell.fz, dx, dy, dz);
    to.x += resolution * dx, to.y += resolution * dy, to.z += resolution * dz;
}

// Samples' gradients → their rays'. A thread a sample.
__global__ void __launch_bounds__(128) ray_gradient_kernel(TrainInput in) {
    const Field& f = in.state.field;
    const Samples& s = in.samples;
    const uint32_t n = s.n();
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        const float4 at = s.place[i];
        const float* d = in.d_encoding + size_t(i) * f.net.encoding;
        Vec3 g = {0, 0, 0};
        for (int level = 0; level < f.grid.levels; ++level) switch (f.grid.features) {
            case 2: add_position_gradient<2>(f.grid, f.table, level, at, d, g); break;
            case 4: add_position_gradient<4>(f.grid, f.table, level, at, d, g); break;
            default: add_position_gradient<8>(f.grid, f.table, level, at, d, g);
        }
        g = to_unit_gradient(f.space.unbounded, {at.x, at.y, at.z}, g);
        float* to = in.d_rays + 6 * size_t(s.ray[i]);
        atomicAdd(to, g.x), atomicAdd(to + 1, g.y), atomicAdd(to + 2, g.z);
        atomicAdd(to + 3, at.w * g.x), atomicAdd(to + 4, at.w * g.y), atomicAdd(to + 5, at.w * g.z);
    }
}

NS_D float gradient_unscale(const StepNumbers& s) { return 1.0f / (kGradientScale * float(s.n_rays)); }

// Adam on the rows that got any gradient; it is cleared, the halves that are read are renewed.
template <int F>
__global__ void __launch_bounds__(256) table_kernel(TrainInput in, int rows) {
    const int row = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (row >= rows) return;
    float* gradient = in.table_gradient + size_t(row) * F;
    float g[F];
    bool any = false;
    load_floats<F>(gradient, g);
#pragma unroll
    for (int i = 0; i < F; ++i) any |= g[i] != 0.0f;
    if (!any) return;
    const TrainOptions& o = in.numbers->options;
    const AdamStep step = {o.table_rate, o.beta1, o.beta2, o.epsilon, o.table_pull};
    const float unscale = gradient_unscale(*in.numbers);
    float *p = in.state.table + size_t(row) * F, *both = in.state.table_moments + size_t(row) * 2 * F;
    float parameter[F], moments[2 * F];
    load_floats<F>(p, parameter);
    load_floats<2 * F>(both, moments);
#pragma unroll
    for (int i = 0; i < F; ++i) adam(step, g[i] * unscale, parameter[i], moments[i], moments[F + i]);
#pragma unroll
    for (int i = 0; i < F; ++i) g[i] = 0.0f;
    store_floats<F>(p, parameter);
    store_floats<2 * F>(both, moments);
    store_floats<F>(gradient, g);
    store_halves<F>(in.state.half_table + size_t(row) * F, parameter);
}

__global__ void weight_kernel(TrainInput in) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    const Network& net = in.state.field.net;
    if (i >= net.size) return;
    const TrainOptions& o = in.numbers->options;
    const AdamStep step = {o.weight_rate, o.beta1, o.beta2, o.epsilon};
    float p = in.state.weights[i], m = in.state.weight_moments[i], v = in.state.weight_moments[net.size + i];
    adam(step, in.weight_gradient[i] * gradient_unscale(*in.numbers), p, m, v);
    in.weight_gradient[i] = 0.0f;
    in.state.weights[i] = p, in.state.weight_moments[i] = m, in.state.weight_moments[net.size + i] = v;
    int l = 0;
    while (l + 1 < net.layers && i >= net.offset[l + 1]) ++l;
    const int within = i - net.offset[l], t = net.offset[l] + within % net.out[l] * net.in[l] + within / net.out[l];
    in.state.weights_t[t] = p;
    in.half_weights[i] = in.half_weights_t[t] = to_half_bits(p);
}

// Rays' gradients → added to their photos' cameras, and cleared. A thread a ray.
__global__ void __launch_bounds__(128) camera_gradient_kernel(TrainInput in) {
    const int n = in.numbers->n_rays;
    const float unscale = gradient_unscale(*in.numbers);
    for (int i = int(blockIdx.x * blockDim.x + threadIdx.x); i < n; i += int(gridDim.x * blockDim.x)) {
        float* ray = in.d_rays + 6 * size_t(i);
        float d[6], g[kCameraGradient];
        bool any = false;
        for (int k = 0; k < 6; ++k) d[k] = ray[k] * unscale, any |= ray[k] != 0.0f, ray[k] = 0.0f;
        if (!any) continue;
        const int photo = in.rays.photos[i];
        camera_gradient(in.photos.cameras[photo], in.rays.pixels[2 * i], in.rays.pixels[2 * i + 1], d, g);
        float* to = in.state.camera_gradients + size_t(kCameraGradient) * photo;
        for (int k = 0; k < kCameraGradient; ++k) atomicAdd(to + k, g[k]);
    }
}

// One warp: each photo's exposure follows its rays' gradients, then their mean over photos is 0 again.
__global__ void exposure_kernel(TrainInput in) {
    const TrainOptions& o = in.numbers->options;
    if (!(o.exposure_rate > 0)) return;
    const int n = in.photos.n;
    const AdamStep step = {o.exposure_rate, o.beta1, o.beta2, o.epsilon};
    const float unscale = gradient_unscale(*in.numbers);
    float sum[3] = {0, 0, 0};
    for (int photo = lane_index(); photo < n; photo += kWarp) {
        float* gradient = in.exposure_gradient + 3 * photo;
        float* exposure = in.state.exposures + 3 * photo;
        const float g[3] = {gradient[0] * unscale, gradient[1] * unscale, gradient[2] * unscale};
        update_exposure(step, g, exposure, in.state.exposure_moments + 6 * photo);
        for (int c = 0; c < 3; ++c) sum[c] += exposure[c], gradient[c] = 0;
    }
    for (int c = 0; c < 3; ++c) sum[c] = warp_sum(sum[c]) / float(n);
    for (int photo = lane_index(); photo < n; photo += kWarp)
        for (int c = 0; c < 3; ++c) in.state.exposures[3 * photo + c] -= sum[c];
}

// One thread: the step's sums are added up, the next step's number of rays follows from them.
__global__ void control_kernel(TrainInput in) {
    if (blockIdx.x + threadIdx.x > 0) return;
    StepNumbers& s = *in.numbers;
    const int n = rays_of(in);
    const uint32_t kept = ns_min(s.samples, in.samples.capacity);
    s.total_rays += n, s.total_candidates += s.candidates, s.total_samples += kept, s.total_dropped += s.dropped;
    s.total_squared_error += s.squared_error;
    if (in.given.n == 0) {
        s.rays_drawn += uint64_t(n);
        // Counted with what was dropped: what did not fit is what the next step must make room for.
        const float ratio = ns_max(float(s.samples) / float(n), 0.05f);
        s.survivors_per_ray = s.survivors_per_ray > 0 ? 0.8f * s.survivors_per_ray + 0.2f * ratio : ratio;
        s.n_rays = rays_for(s.options.target_samples, s.survivors_per_ray);
    }
    s.meeting = s.next_meeting = s.samples = s.dropped = 0;
    s.candidates = 0;
    s.squared_error = 0;
}

// Weights that are no numbers make the error none, which is how those who look at it learn of them: activations
// and sigmoids let none through.
__global__ void finite_kernel(TrainInput in) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= in.state.field.net.size) return;
    const float off = in.state.weights[i] - in.state.weights[i];
    if (off != 0.0f) in.numbers->total_squared_error = off;
}

// --- occupancy ---------------------------------------------------------------------------------------
// Cells that were thought empty are probed in turn, or nothing could ever appear in them.
template <class S>
__global__ void __launch_bounds__(128) probe_kernel(TrainInput in) {
    NS_SHARED(shared);
    const Field& f = in.state.field;
    const Space& space = f.space;
    Carver carver = {shared, 0};
    const WarpNetwork w = carve_network(carver, f.net, int(blockDim.x) / kWarp, warp_index(), false);
    load_weights(f, w, false);
    __syncthreads();
    const uint64_t r = uint64_t(space.occupancy_resolution), cells = r * r * r;
    const uint32_t n = uint32_t(in.numbers->options.occupancy_cells);
    for (uint32_t base = blockIdx.x * blockDim.x; base < n; base += gridDim.x * blockDim.x) {
        const uint64_t drawn = in.numbers->cells_probed + base + threadIdx.x;
        const uint64_t cell = permute(drawn % cells, cells, in.seed + uint32_t(drawn / cells));
        const uint32_t id = uint32_t(drawn);
        const float x = (float(cell % r) + random_unit(in.seed, id, 11)) / float(r);
        const float y = (float(cell / r % r) + random_unit(in.seed, id, 12)) / float(r);
        const float z = (float(cell / r / r) + random_unit(in.seed, id, 13)) / float(r);
        encode_row(f, x, y, z, w.first + lane_index() * first_ld(f.net));
        const float density = density_activation(warp_density<S>(f.net, w));
        if (base + threadIdx.x < n) {
            const Vec3 p = from_unit(space.unbounded, {x, y, z});
            max_positive(in.state.occupancy_values + cell, density * reference_step(space, p.x, p.y, p.z));
        }
    }
}

// Values decay, bits follow; a lane a cell, a warp a word.
__global__ void __launch_bounds__(256) decay_kernel(TrainInput in, int cells) {
    const TrainOptions& o = in.numbers->options;
    const float threshold = occupancy_threshold(o.occupancy_threshold, in.numbers->occupancy_mean);
    float sum = 0;
    unsigned long long occupied = 0;
    for (int cell = int(blockIdx.x * blockDim.x + threadIdx.x); cell < cells; cell += int(gridDim.x * blockDim.x)) {
        const float value = occupancy_decay(in.state.occupancy_values[cell], o.occupancy_decay);
        in.state.occupancy_values[cell] = value;
        sum += value;
        unsigned bits = __ballot_sync(kAllLanes, value > threshold);
        if (in.state.allowed) bits &= in.state.allowed[cell / 32];
        if (lane_index() == 0) {
            in.state.occupancy[cell / 32] = bits;
            occupied += __popc(bits);
        }
    }
    sum = warp_sum(sum);
    if (lane_index() == 0) {
        atomicAdd(&in.numbers->occupancy_sum, double(sum));
        atomicAdd(&in.numbers->occupied_cells, occupied);
    }
}

__global__ void occupancy_control_kernel(TrainInput in, int cells, int probed) {
    if (blockIdx.x + threadIdx.x > 0) return;
    StepNumbers& s = *in.numbers;
    s.occupancy_mean = float(s.occupancy_sum / double(cells));
    s.occupied_fraction = double(s.occupied_cells) / double(cells);
    s.occupancy_sum = 0;
    s.occupied_cells = 0;
    s.cells_probed += uint64_t(probed);
}

// A thread a coarse cell: whether anything in it is occupied; then how far away such a cell is, an axis at a time, for
// min max(|dx|, |dy|, |dz|) is min_dz max(|dz|, min_dy max(|dy|, min_dx |dx|)).
__global__ void room_kernel(Field f, uint8_t* room) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    const int r = f.space.occupancy_resolution, fine = r / kCoarse;
    const int x0 = i % kCoarse * fine, y0 = i / kCoarse % kCoarse * fine, z0 = i / (kCoarse * kCoarse) * fine;
    bool found = false;
    for (int z = z0; z < z0 + fine && !found; ++z)
        for (int y = y0; y < y0 + fine && !found; ++y)
            for (int x = x0; x < x0 + fine; ++x) found |= occupied(f.occupancy, x + (y + z * r) * r);
    room[i] = found ? 0 : kRoom;
}
__global__ void spread_kernel(const uint8_t* from, uint8_t* to, int apart) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x), along = i / apart % kCoarse;
    int least = kRoom;
    for (int d = -kRoom; d <= kRoom; ++d)
        if (along + d >= 0 && along + d < kCoarse)
            least = ns_min(least, ns_max(d < 0 ? -d : d, int(from[i + d * apart])));
    to[i] = uint8_t(least);
}

}  // namespace

NS_END

namespace nerfscene {

namespace gpu {
void make_room(const Field& f, uint8_t* aside, uint8_t* room, Stream stream) {
    constexpr int blocks = kCoarse * kCoarse * kCoarse / 128;
    launch(cuda::room_kernel, blocks, 128, 0, stream, f, aside);
    uint8_t *from = aside, *to = room;
    for (int apart = 1; apart <= kCoarse * kCoarse; apart *= kCoarse) {
        launch(cuda::spread_kernel, blocks, 128, 0, stream, static_cast<const uint8_t*>(from), to, apart);
        std::swap(from, to);
    }
}
}  // namespace gpu

struct Trainer::Work {
    gpu::Stream stream = gpu::new_stream();
    TrainState state;
    cuda::TrainInput input = {};
    gpu::Buffer<CameraDesc> cameras;
    gpu::Buffer<uint64_t> first_pixel;
    gpu::Buffer<float> table_gradient, weight_gradient, directions, targets, backgrounds, transmittance;
    gpu::Buffer<uint16_t> half_weights, half_weights_t, encoding;
    gpu::Buffer<float4> place, sample_state, color;
    gpu::Buffer<int> previous, ray, last, ray_photos, meeting, first_step;
    gpu::Buffer<float> exposure_gradient, ray_pixels, d_rays, d_encoding;
    gpu::Buffer<uint8_t> dropped, aside;
    gpu::Buffer<cuda::StepNumbers> numbers;
    gpu::Graph step_graph, camera_step_graph, occupancy_graph;
    int probed = 0;
    uint64_t cells_probed = 0;

    ~Work() { gpu::delete_stream(stream); }
    void make_room(int target_samples);
    void make_room_for_cameras();
    void launch_step(const cuda::TrainInput& in, bool update);
    void launch_occupancy();
    void bring_arrays();
};

namespace {
using namespace gpu;
double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
size_t rows_of(const HashGrid& g) { return size_t(g.offset[g.levels - 1]) + g.size[g.levels - 1]; }
}  // namespace

Trainer::Trainer(TrainState state, Photos photos, uint32_t seed) : work_(new Work) {
    Work& w = *work_;
    w.state = state;
    const Network& net = state.field.net;
    w.cameras.resize(photos.n), w.first_pixel.resize(photos.n + 1);
    copy(w.cameras.data(), photos.cameras, sizeof(CameraDesc) * photos.n, w.stream);
    copy(w.first_pixel.data(), photos.first_pixel, sizeof(uint64_t) * (photos.n + 1), w.stream);
    photos.cameras = w.cameras.data(), photos.first_pixel = w.first_pixel.data();
    const size_t rows = rows_of(state.field.grid);
    w.table_gradient.resize(rows * state.field.grid.features), w.weight_gradient.resize(net.size);
    zero(w.table_gradient.data(), sizeof(float) * w.table_gradient.size(), w.stream);
    zero(w.weight_gradient.data(), sizeof(float) * net.size, w.stream);
    const size_t n = cuda::kMaxRays;
    w.directions.resize(3 * n), w.targets.resize(3 * n), w.backgrounds.resize(3 * n), w.transmittance.resize(n);
    w.ray_photos.resize(n), w.ray_pixels.resize(2 * n), w.exposure_gradient.resize(3 * photos.n);
    zero(w.exposure_gradient.data(), sizeof(float) * w.exposure_gradient.size(), w.stream);
    w.last.resize(n), w.dropped.resize(n), w.meeting.resize(n), w.first_step.resize(n);
    w.aside.resize(kCoarseCells);
    w.half_weights.resize(net.size), w.half_weights_t.resize(net.size);
    w.numbers.resize(1);
    zero(w.numbers.data(), sizeof(cuda::StepNumbers), w.stream);
    cuda::TrainInput& in = w.input;
    in.state = state, in.photos = photos, in.seed = seed, in.numbers = w.numbers.data();
    in.state.field.room = state.room;
    in.rays = {w.directions.data(), w.targets.data(), w.backgrounds.data(), w.ray_photos.data(),
               w.ray_pixels.data(), w.transmittance.data(), w.last.data(), w.dropped.data(), w.meeting.data(),
               w.first_step.data()};
    in.exposure_gradient = w.exposure_gradient.data();
    in.table_gradient = w.table_gradient.data(), in.weight_gradient = w.weight_gradient.data();
    in.half_weights = w.half_weights.data(), in.half_weights_t = w.half_weights_t.data();
    synchronize(w.stream);
}

Trainer::~Trainer() {
    try {
        synchronize(work_->stream);
    } catch (const Error&) {
    }
}

void Trainer::use_cameras(const CameraDesc* cameras) {
    copy(work_->cameras.data(), cameras, sizeof(CameraDesc) * work_->input.photos.n, work_->stream);
    synchronize(work_->stream);
}

int Trainer::n_photos() const { return work_->input.photos.n; }
size_t Trainer::table_entries() const { return work_->table_gradient.size(); }

void Trainer::Work::make_room(int target_samples) {
    const size_t capacity = (size_t(target_samples) * 2 + 1023) / 1024 * 1024;
    if (place.size() == capacity) return;
    synchronize(stream);
    step_graph.reset(), camera_step_graph.reset();
    if (d_encoding.size() > 0) d_encoding.resize(capacity * state.field.net.encoding);
    place.resize(capacity), sample_state.resize(capacity), color.resize(capacity);
    previous.resize(capacity), ray.resize(capacity), encoding.resize(capacity * state.field.net.encoding);
    input.samples = {place.data(), sample_state.data(), color.data(), previous.data(), ray.data(), encoding.data(),
                     uint32_t(capacity), &numbers.data()->samples};
}

// What the cameras' gradients need; not there before they are asked for.
void Trainer::Work::make_room_for_cameras() {
    const size_t wanted = size_t(input.samples.capacity) * state.field.net.encoding;
    if (d_encoding.size() != wanted) d_encoding.resize(wanted);
    if (d_rays.size() > 0) return;
    d_rays.resize(6 * size_t(cuda::kMaxRays));
    zero(d_rays.data(), sizeof(float) * d_rays.size(), stream);
}

void Trainer::Work::launch_step(const cuda::TrainInput& in, bool update) {
    const Field& f = in.state.field;
    const Network& net = f.net;
    const int64_t expected = int64_t(in.samples.capacity) / 2;
    launch(cuda::rays_kernel, cuda::resident_blocks(cuda::rays_kernel, cuda::kMaxRays, 128, 128, 0), 128, 0, stream, in);
    cuda::with_sizes(net, [&](auto sizes) {
        const auto kernel = cuda::trace_kernel<decltype(sizes)>;
        const cuda::LaunchShape shape = cuda::network_launch(kernel, net, false, cuda::kMaxRays);
        launch(kernel, shape.blocks, shape.threads, shape.shared, stream, in);
    });
    color_forward(f, in.samples, in.rays.directions, expected, stream);
    launch(cuda::ray_backward_kernel,
           cuda::resident_blocks(cuda::ray_backward_kernel, int64_t(cuda::kMaxRays) * cuda::kChainLanes, 128, 128, 0), 128, 0,
           stream, in);
    network_backward({f, in.samples, in.rays.directions, in.half_weights, in.half_weights_t, in.weight_gradient,
                      in.table_gradient, in.d_rays ? in.d_encoding : nullptr}, expected, stream);
    if (in.d_rays) launch(cuda::ray_gradient_kernel, current_device().multiprocessors * 8, 128, 0, stream, in);
    if (update) {
        const int rows = int(rows_of(f.grid));
        switch (f.grid.features) {
            case 2: launch(cuda::table_kernel<2>, blocks_for(rows, 256), 256, 0, stream, in, rows); break;
            case 4: launch(cuda::table_kernel<4>, blocks_for(rows, 256), 256, 0, stream, in, rows); break;
            default: launch(cuda::table_kernel<8>, blocks_for(rows, 256), 256, 0, stream, in, rows);
        }
        launch(cuda::weight_kernel, blocks_for(net.size, 128), 128, 0, stream, in);
        launch(cuda::exposure_kernel, 1, 32, 0, stream, in);
        if (in.d_rays) launch(cuda::camera_gradient_kernel, current_device().multiprocessors * 8, 128, 0, stream, in);
    }
    launch(cuda::control_kernel, 1, 32, 0, stream, in);
}

void Trainer::Work::launch_occupancy() {
    const Field& f = input.state.field;
    const int r = f.space.occupancy_resolution, cells = r * r * r;
    cuda::with_sizes(f.net, [&](auto sizes) {
        const auto kernel = cuda::probe_kernel<decltype(sizes)>;
        const cuda::LaunchShape shape = cuda::network_launch(kernel, f.net, false, probed);
        launch(kernel, shape.blocks, shape.threads, shape.shared, stream, input);
    });
    launch(cuda::decay_kernel, int(cuda::ns_min<int64_t>(cells / 256, current_device().multiprocessors * 8)), 256, 0,
           stream, input, cells);
    launch(cuda::occupancy_control_kernel, 1, 32, 0, stream, input, cells, probed);
    gpu::make_room(f, aside.data(), input.state.room, stream);
}

// What is trained is the device's while steps run; the host looks at it now and then.
void Trainer::Work::bring_arrays() {
    const size_t entries = table_gradient.size(), weights = state.field.net.size;
    const size_t r = state.field.space.occupancy_resolution, cells = r * r * r;
    bring_here(state.table, sizeof(float) * entries, stream);
    bring_here(state.half_table, sizeof(uint16_t) * entries, stream);
    bring_here(state.table_moments, 2 * sizeof(float) * entries, stream);
    bring_here(state.weights, sizeof(float) * weights, stream);
    bring_here(state.weights_t, sizeof(float) * weights, stream);
    bring_here(state.weight_moments, 2 * sizeof(float) * weights, stream);
    bring_here(state.occupancy_values, sizeof(float) * cells, stream);
    bring_here(state.occupancy, cells / 8, stream);
}

TrainReport Trainer::run(const TrainOptions& o, int64_t steps, double seconds) {
    constexpr int kAhead = 16;  // steps handed to the device between looks at the clock
    Work& w = *work_;
    const double start = now();
    w.make_room(o.target_samples);
    if (w.probed != o.occupancy_cells) {
        w.probed = o.occupancy_cells;
        w.occupancy_graph.reset();
    }
    if (w.step_graph.empty()) w.step_graph.record(w.stream, [&w] { w.launch_step(w.input, true); });
    const bool cameras = w.state.camera_gradients && o.camera_every > 0;
    if (cameras) {
        w.make_room_for_cameras();
        cuda::TrainInput in = w.input;
        in.d_rays = w.d_rays.data(), in.d_encoding = w.d_encoding.data();
        if (w.camera_step_graph.empty()) w.camera_step_graph.record(w.stream, [&w, in] { w.launch_step(in, true); });
    }
    const bool probes = o.occupancy_every > 0 && w.probed > 0;
    if (probes && w.occupancy_graph.empty())
        w.occupancy_graph.record(w.stream, [&w] { w.launch_occupancy(); });

    cuda::StepNumbers s = {};
    s.options = o;
    s.rays_drawn = rays_drawn, s.cells_probed = w.cells_probed;
    s.survivors_per_ray = float(survivors_per_ray), s.occupancy_mean = occupancy_mean;
    s.n_rays = cuda::rays_for(o.target_samples, s.survivors_per_ray);
    copy(w.numbers.data(), &s, sizeof(s), w.stream);
    w.bring_arrays();
    // Python may have changed these since the last run.
    halve_weights(w.input.state.field, w.half_weights.data(), w.half_weights_t.data(), w.stream);
    gpu::make_room(w.input.state.field, w.aside.data(), w.input.state.room, w.stream);
    synchronize(w.stream);

    TrainReport report = {};
    while (report.steps < steps && now() - start < seconds) {
        for (int i = 0; i < kAhead && report.steps < steps; ++i) {
            (cameras && step % o.camera_every == 0 ? w.camera_step_graph : w.step_graph).launch(w.stream);
            ++report.steps;
            ++step;
            if (probes && step % o.occupancy_every == 0) w.occupancy_graph.launch(w.stream);
        }
        synchronize(w.stream);
    }
    launch(cuda::finite_kernel, blocks_for(w.input.state.field.net.size, 128), 128, 0, w.stream, w.input);
    copy(&s, w.numbers.data(), sizeof(s), w.stream);
    synchronize(w.stream);
    rays_drawn = s.rays_drawn, w.cells_probed = s.cells_probed;
    survivors_per_ray = s.survivors_per_ray, occupancy_mean = s.occupancy_mean;
    report.rays = int64_t(s.total_rays), report.candidates = int64_t(s.total_candidates);
    report.survivors = int64_t(s.total_samples), report.dropped = int64_t(s.total_dropped);
    report.squared_error = s.total_squared_error, report.occupied_fraction = s.occupied_fraction;
    report.seconds_trace = now() - start;  // the device's phases overlap: all of it is told as one
    return report;
}

TrainReport Trainer::gradients(const TrainOptions& o, DeviceRays rays, float* d_table, float* d_weights,
                               float* d_exposures) {
    Work& w = *work_;
    if (rays.n > cuda::kMaxRays) throw Error("more rays than a step takes");
    w.make_room(o.target_samples);
    cuda::StepNumbers s = {};
    s.options = o;
    s.n_rays = rays.n;
    copy(w.numbers.data(), &s, sizeof(s), w.stream);
    halve_weights(w.input.state.field, w.half_weights.data(), w.half_weights_t.data(), w.stream);
    gpu::make_room(w.input.state.field, w.aside.data(), w.input.state.room, w.stream);
    cuda::TrainInput in = w.input;
    in.given = rays;
    if (rays.d_rays) {
        w.make_room_for_cameras();
        in.d_rays = rays.d_rays, in.d_encoding = w.d_encoding.data();
        zero(rays.d_rays, sizeof(float) * 6 * rays.n, w.stream);
    }
    // Straight into the caller's arrays, then divided by what the gradients were multiplied with.
    in.table_gradient = d_table, in.weight_gradient = d_weights;
    if (d_exposures) {
        in.exposure_gradient = d_exposures;
        zero(d_exposures, sizeof(float) * 3 * in.photos.n, w.stream);
    }
    zero(d_table, sizeof(float) * w.table_gradient.size(), w.stream);
    zero(d_weights, sizeof(float) * w.weight_gradient.size(), w.stream);
    w.launch_step(in, false);
    const float unscale = 1.0f / (cuda::kGradientScale * float(rays.n > 0 ? rays.n : 1));
    multiply(d_table, unscale, int64_t(w.table_gradient.size()), w.stream);
    multiply(d_weights, unscale, int64_t(w.weight_gradient.size()), w.stream);
    if (rays.d_rays) multiply(rays.d_rays, unscale, 6 * int64_t(rays.n), w.stream);
    if (d_exposures) multiply(d_exposures, unscale, 3 * int64_t(in.photos.n), w.stream);
    copy(&s, w.numbers.data(), sizeof(s), w.stream);
    synchronize(w.stream);
    TrainReport report = {};
    report.rays = int64_t(s.total_rays), report.candidates = int64_t(s.total_candidates);
    report.survivors = int64_t(s.total_samples), report.dropped = int64_t(s.total_dropped);
    report.squared_error = s.total_squared_error;
    return report;
}

}  // namespace nerfscene
