// The first phase of a training step, for some of its rays: tracing, comparison with the photos, backward pass.
#pragma once
#include "../include/exposure.h"
#include "../include/photos.h"
#include "../include/refine.h"
#include "trace.h"

NS_BEGIN

// Fetches what a step reads around a pixel: its neighbours, if its ray may see the sky, and its known depth.
static inline void prefetch_around(const TrainStep& step, const uint8_t* texel, int photo, const float* pixel, Vec3 d) {
    __builtin_prefetch(texel);
    const CameraDesc& camera = step.photos.cameras[photo];
    const int row = int(pixel[1]);
    const int64_t away = int64_t(kPlainReach) * camera.width * step.photos.channels;
    if (step.sky_pull > 0 && d.z > 0) {
        if (row >= kPlainReach) __builtin_prefetch(texel - away);
        if (row + kPlainReach < camera.height) __builtin_prefetch(texel + away);
    }
    if (step.photos.depths) __builtin_prefetch(known_depth(step.photos, photo, pixel[0], pixel[1]));
    if (step.photo_cells)
        __builtin_prefetch(step.photo_cells + kCellNumbers * photo_cell(step.photos, photo, pixel[0], pixel[1]));
}

// Draws rays [first, last) of a step (at most kTileRays). All pixels are chosen and prefetched before the first one is
// read, and then read one right after the other: they can be anywhere in memory, and this way the reads overlap.
static void make_rays(const TrainStep& step, int first, int last) {
    const uint8_t* texels[kTileRays];
    uint64_t at[kTileRays];
    for (int i = first; i < last; ++i) {
        at[i - first] = drawn_pixel(step.photos, step.seed, step.first_ray + uint64_t(i));
        if (step.photos.chosen) __builtin_prefetch(step.photos.chosen + at[i - first]);
    }
    for (int i = first; i < last; ++i) {
        const uint64_t drawn = step.first_ray + uint64_t(i);
        Vec3 o, d;
        int photo;
        float* pixel = step.rays.pixels + 2 * i;
        texels[i - first] = ray_of_pixel(step.photos, at[i - first], photo, pixel[0], pixel[1], o, d);
        step.rays.photos[i] = photo;
        prefetch_around(step, texels[i - first], photo, pixel, d);
        float* to = step.rays.origins + 3 * i;
        to[0] = o.x, to[1] = o.y, to[2] = o.z;
        to = step.rays.directions + 3 * i;
        to[0] = d.x, to[1] = d.y, to[2] = d.z;
        step.rays.jitter[i] = drawn_jitter(step.seed, drawn);
    }
    uint8_t colors[kTileRays][4] = {};
    for (int i = first; i < last; ++i)
        for (int c = 0; c < step.photos.channels; ++c) colors[i - first][c] = texels[i - first][c];
    for (int i = first; i < last; ++i)
        for (int c = 0; c < 3; ++c)
            drawn_color(step.photos, step.seed, step.first_ray + uint64_t(i), colors[i - first], c,
                        step.rays.backgrounds[3 * i + c], step.rays.targets[3 * i + c]);
}

// The distance to what a ray sees, or 0 if it is unknown. `pixel` is null for rays that were given, not drawn.
static inline float known_end(const TrainStep& step, int index, int photo, const float* pixel) {
    if (!pixel) return step.rays.known ? step.rays.known[index] : 0.0f;
    return step.photos.depths ? *known_depth(step.photos, photo, pixel[0], pixel[1]) : 0.0f;
}

// Whether a ray's pixel lies in a part of its photo that is left out of the loss. Given rays never do.
static inline bool left_out_of_loss(const TrainStep& step, int index, const float* pixel) {
    if (!pixel || !step.photo_cells) return false;
    const int64_t cell = photo_cell(step.photos, step.rays.photos[index], pixel[0], pixel[1]);
    return step.photo_cells[kCellNumbers * cell + kCellNumbers - 1] > 0;
}

// The logarithms that the losses take, of all survivors at once.
static inline void find_logs(Scratch& s, int survivors) {
    for (int i = 0; i < survivors; i += kWidth) {
        const int m = survivors - i < kWidth ? survivors - i : kWidth;
        vf t = load(s.st + i), length = load(s.slength + i);
        if (m < kWidth) {
            const vi there = lanes_mask((1u << m) - 1u);
            t = there ? t : splat(1.0f), length = there ? length : vf{};
        }
        store(s.slog_t + i, ns_log(t));
        store(s.slog_middle + i, ns_log(t + 0.5f * length));
        store(s.slog_width + i, ns_log(1.0f + length / t));
    }
}

// Adds the loss of one traced ray to the totals. Replaces its samples' colours (`scolor`, in rows of 4) and densities
// (`sdensity`) with the gradients of the raw colours and raw densities.
static inline void ray_backward(const TrainStep& step, const RayState& ray, int index, Scratch& s) {
    float c[3] = {0, 0, 0};
    float w_total = 0, wm_total = 0;
    int chain[kSurvivors < 2048 ? kSurvivors : 2048];
    int n = 0;
    for (int k = ray.head; k >= 0 && n < int(sizeof(chain) / sizeof(chain[0])); k = s.snext[k]) {
        chain[n++] = k;
        const float w = s.sweight[k];
        for (int ch = 0; ch < 3; ++ch) c[ch] += w * s.scolor[k * 4 + ch];
        if (step.distortion > 0) {
            w_total += w;
            wm_total += w * s.slog_middle[k];
        }
    }
    const float* pixel = step.rays.pixels ? step.rays.pixels + 2 * index : nullptr;  // null: given, not drawn
    const bool left_out = left_out_of_loss(step, index, pixel);
    const float loss_scale = left_out ? 0.0f : step.loss_scale;
    float g[3], behind = 0;  // g: with respect to Σ w rgb
    const float* background = step.rays.backgrounds + 3 * index;
    const int photo = step.rays.photos ? step.rays.photos[index] : -1;
    for (int ch = 0; ch < 3; ++ch) {
        const float exposure = photo >= 0 ? step.exposures[3 * photo + ch] : 0.0f;
        const float gain = photo >= 0 ? step.gains[3 * photo + ch] : 1.0f;
        const float shown = c[ch] * gain;
        const float error = shown + ray.transmittance * background[ch] - step.rays.targets[3 * index + ch];
        if (step.rays.errors) step.rays.errors[3 * index + ch] = error;
        if (!left_out) s.counters.squared_error += double(error) * error;
        const float d = huber_gradient(error, step.huber_delta) * loss_scale;
        behind += ray.transmittance * background[ch] * d;
        g[ch] = d * gain;
        if (photo >= 0)
            step.rays.d_exposures[3 * index + ch] =
                exposure_gradient(d, shown, exposure, step.exposure_pull * loss_scale);
    }
    const bool sky = step.sky_pull > 0 && ray.d.z > 0 && (!pixel || is_plain(step.photos, photo, pixel[0], pixel[1]));
    const float log_sky = sky ? logf(step.sky_distance) : 0.0f;
    // Known depths were computed from the cameras' initial poses and would hold the cameras there. So steps that refine
    // the cameras use colours alone.
    const float known = step.depth_pull > 0 && !step.rays.d_rays ? known_end(step, index, photo, pixel) : 0.0f;
    const float depth_scale = step.depth_pull * loss_scale;
    const float log_known = known > 0 ? logf(known) : 0.0f;
    if (known > 0) behind += ray.transmittance * depth_scale * step.depth_most;
    float w_before = w_total, wm_before = wm_total;
    for (int i = n - 1; i >= 0; --i) {
        const int k = chain[i];
        const float w = s.sweight[k];
        float* rgb = s.scolor + k * 4;
        float q = rgb[0] * g[0] + rgb[1] * g[1] + rgb[2] * g[2];
        if (step.distortion > 0) {
            const float m = s.slog_middle[k];
            w_before -= w;
            wm_before -= w * m;
            q += step.distortion * loss_scale *
                 distortion_gradient(w, m, s.slog_width[k], w_before, wm_before, w_total, wm_total);
        }
        if (sky) q += step.sky_pull * loss_scale * sky_gradient_by_logs(s.slog_t[k], log_sky);
        if (known > 0)
            q += depth_scale * depth_gradient_by_log(s.slog_middle[k] - log_known, step.depth_slack, step.depth_most);
        const float d = density_gradient(s.slength[k], s.stransmittance[k], w, q, behind);
        const float scale = near_gradient_scale(s.st[k], step.full_gradient_distance);
        s.sdensity[k] = scale * d * density_activation_gradient(s.sdensity[k]);
        for (int ch = 0; ch < 3; ++ch) rgb[ch] = scale * w * g[ch] * color_gradient(rgb[ch]);
    }
    // If `chain` was too short, the remaining samples still hold colours where gradients are expected. Zero those.
    for (int k = n ? s.snext[chain[n - 1]] : -1; k >= 0; k = s.snext[k]) {
        s.sdensity[k] = 0;
        for (int ch = 0; ch < 4; ++ch) s.scolor[k * 4 + ch] = 0;
    }
}

// Gradients of the encodings of samples [i, i + m) → gradients of their rays, which are added to d_rays.
static inline void ray_gradients(const TrainStep& step, int first, Scratch& s, int i, int m, const float* d_encoding) {
    const HashGrid& g = step.field.grid;
    const long e = step.field.net.encoding;
    float *d_x = s.d_place, *d_y = d_x + kBlock, *d_z = d_y + kBlock;
    NS_BY_FEATURES(g.features, (position_gradients<N>(g, step.field.table, s.sx + i, s.sy + i, s.sz + i, m, d_encoding, e,
                                                      d_x, d_y, d_z)))
    for (int k = 0; k < m; ++k) {
        const Vec3 d = to_unit_gradient(step.field.space, {s.sx[i + k], s.sy[i + k], s.sz[i + k]},
                                        {d_x[k], d_y[k], d_z[k]});
        float* to = step.rays.d_rays + 6 * (first + s.sray[i + k]);
        const float t = s.st[i + k];
        to[0] += d.x, to[1] += d.y, to[2] += d.z;
        to[3] += t * d.x, to[4] += t * d.y, to[5] += t * d.z;
    }
}

// How much a sample's gradient matters: the sum over its raw density and raw colour.
static inline float gradient_size(const Scratch& s, int k) {
    const float* rgb = s.scolor + k * 4;
    return ns_abs(s.sdensity[k]) + ns_abs(rgb[0]) + ns_abs(rgb[1]) + ns_abs(rgb[2]);
}
// Moves a sample's numbers that the way back through the networks reads from place `from` to an earlier one.
static inline void move_sample(const Network& net, Scratch& s, int from, int to) {
    const auto move = [&](float* rows, int size) {
        std::memcpy(rows + size_t(to) * size, rows + size_t(from) * size, sizeof(float) * size);
    };
    s.sx[to] = s.sx[from], s.sy[to] = s.sy[from], s.sz[to] = s.sz[from], s.st[to] = s.st[from];
    s.sray[to] = s.sray[from];
    move(s.sencoding, net.encoding);
    move(s.shidden, net.hidden);
    if (net.color_layers) move(s.scolor_in, 32);
    for (int layer = 0; layer < net.color_layers; ++layer) move(s.scolor_hidden[layer], net.color_hidden);
}
// Keeps those of n samples that are worth their way back: most have gradients far below the others'. A sample whose
// gradient is smaller than step.thinning times the mean is kept with a probability in proportion, and its gradient grows
// by as much as others are dropped, so that the mean gradient stays what it is. Returns how many are kept.
static inline int thin_out(const TrainStep& step, Scratch& s, int first, int n) {
    float sum = 0;
    for (int k = 0; k < n; ++k) sum += gradient_size(s, k);
    const float worth = step.thinning * sum / float(n > 0 ? n : 1);
    int kept = 0;
    for (int k = 0; k < n; ++k) {
        const float share = gradient_size(s, k) / worth;
        if (!(share >= 1.0f || random_unit(step.seed, uint32_t(step.first_ray) + uint32_t(first), 16 + k) < share)) continue;
        const float grown = share >= 1.0f ? 1.0f : 1.0f / share;
        const int to = kept++;
        s.sdensity[to] = s.sdensity[k] * grown;
        for (int c = 0; c < 3; ++c) s.scolor[to * 4 + c] = s.scolor[k * 4 + c] * grown;
        if (to != k) move_sample(step.field.net, s, k, to);
    }
    return kept;
}

static void train_rays(const TrainStep& step, Scratch& s, int first, int last) {
    const Field& f = step.field;
    const Space space = coarser(f.space, step.march.coarseness);
    const int e = f.net.encoding;
    RayState tile[kTileRays];
    const int n = last - first;
    start_rays(space, step.rays.origins + 3 * first, step.rays.directions + 3 * first, step.rays.jitter + first, n, tile);
    for (int r = 0; r < n; ++r) {
        const int i = first + r;
        direction_basis(f.net, step.rays.directions + 3 * i, s.basis + r * kShSlots);
        if (step.rays.d_exposures)  // stays zero for dropped rays
            for (int c = 0; c < 3; ++c) step.rays.d_exposures[3 * i + c] = 0;
        if (step.rays.errors) step.rays.errors[3 * i] = kNoError;
        if (step.rays.d_rays)
            for (int c = 0; c < 6; ++c) step.rays.d_rays[6 * i + c] = 0;
    }
    int survivors = trace(f, step.march, space, tile, n, kForTraining, s, step.occupancy_values, s.counters,
                          step.pairs);
    s.counters.rays += n;
    if (s.g_count + survivors > s.g_capacity) {  // no room for these samples: drop the rays
        s.counters.dropped += n;
        return;
    }
    color_forward(f, s, survivors, nullptr, step.pairs);
    if (step.distortion > 0 || step.sky_pull > 0 || step.depth_pull > 0) find_logs(s, survivors);
    for (int r = 0; r < n; ++r) {
        if (tile[r].dropped) {
            s.counters.dropped += 1;
            for (int k = tile[r].head; k >= 0; k = s.snext[k]) {
                s.sdensity[k] = 0;
                for (int ch = 0; ch < 4; ++ch) s.scolor[k * 4 + ch] = 0;
            }
        } else {
            ray_backward(step, tile[r], first + r, s);
        }
    }
    s.counters.met += survivors;
    if (step.thinning > 0) survivors = thin_out(step, s, first, survivors);
    for (int i = 0; i < survivors; i += kBlock) {
        const int m = survivors - i < kBlock ? survivors - i : kBlock;
        for (int k = 0; k < m; ++k) {
            float* d = s.d_color + k * 16;
            for (int j = 0; j < 16; j += kWidth) store(d + j, vf{});
            for (int ch = 0; ch < 3; ++ch) d[ch] = s.scolor[(i + k) * 4 + ch];
        }
        float* d_encoding = s.g_encoding + size_t(s.g_count + i) * e;
        network_backward(f, s, i, m, s.sdensity + i, d_encoding, step.pairs_t);
        if (step.rays.d_rays) ray_gradients(step, first, s, i, m, d_encoding);
    }
    std::memcpy(s.gx + s.g_count, s.sx, sizeof(float) * survivors);
    std::memcpy(s.gy + s.g_count, s.sy, sizeof(float) * survivors);
    std::memcpy(s.gz + s.g_count, s.sz, sizeof(float) * survivors);
    s.g_count += survivors;
    s.counters.survivors += survivors;
}

NS_END
