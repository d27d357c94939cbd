// All entry points. This file is compiled once per instruction set: NS_ISA names the namespace, and the compiler flags
// select the vector width. Nothing here may instantiate a template of the standard library: the linker keeps only one
// copy of such a function, and that might be one that this machine cannot run.
#include "../include/occupancy.h"
#include "finer.h"
#include "matching.h"
#include "picture.h"
#include "sift.h"
#include "train.h"

NS_BEGIN

static void scatter(const HashGrid& g, int level, uint32_t first, uint32_t last, const float* x, const float* y,
                    const float* z, int n, const float* d_out, long ld, RowGradients& to, uint32_t* slots,
                    uint32_t since) {
    NS_BY_FEATURES(g.features, (scatter_gradient<N>(g, level, first, last, x, y, z, n, d_out, ld, to, slots, since)))
}

static void rows_update(const AdamStep& step, int features, RowGradients& of, float* state, uint16_t* half_table) {
    NS_BY_FEATURES(features, (update_rows<N>(step, of, state, half_table)))
}
static void rows_pack(int features, const float* table, const float* moments, size_t n, float* state) {
    NS_BY_FEATURES(features, (pack_rows<N>(table, moments, n, state)))
}
static void rows_unpack(int features, const float* state, size_t n, float* table, float* moments) {
    NS_BY_FEATURES(features, (unpack_rows<N>(state, n, table, moments)))
}

// Adam on all weights; n is a multiple of 16. `moments` has all m, then all v.
static void update_weights(const AdamStep& step, int n, const float* gradient, float* weights, float* moments) {
    for (int i = 0; i < n; i += kWidth) {
        vf p = load(weights + i), m = load(moments + i), v = load(moments + n + i);
        adam(step, load(gradient + i), p, m, v);
        store(weights + i, p);
        store(moments + i, m);
        store(moments + n + i, v);
    }
}

// For cells [first, last), which are multiples of 32: decays the values, then sets the bit of each cell whose value is
// above the threshold and that `allowed` (may be null) permits. Adds the values' sum to `sum` and the number of set
// bits to `occupied_cells`.
static void decay_occupancy(float* values, const uint32_t* allowed, uint32_t* bits, int64_t first, int64_t last,
                            float decay, float threshold, double* sum, int64_t* occupied_cells) {
    double total = 0;
    int64_t count = 0;
    for (int64_t word = first / 32; word < last / 32; ++word) {
        float* v = values + word * 32;
        uint32_t set = 0;
        vf partial = {};
        for (int i = 0; i < 32; i += kWidth) {
            const vf x = occupancy_decay(load(v + i), decay);
            store(v + i, x);
            partial += x;
        }
        for (int i = 0; i < 32; ++i) set |= uint32_t(v[i] > threshold) << i;
        if (allowed) set &= allowed[word];
        bits[word] = set;
        count += __builtin_popcount(set);
        total += horizontal_sum(partial);
    }
    *sum += total;
    *occupied_cells += count;
}

// Renders a tile's rays side by side. Returns false if they have no beam.
static bool render_beam(const RenderJob& job, const Pairs& pairs, Scratch& s, const Rays& rays, float* rgb,
                        float* depth, float* accumulation) {
    const Space space = coarser(job.field.space, job.march.coarseness);
    RayState tile[kTileRays];
    LiveSteps live;
    bool any = false;
    for (int r = 0; r < rays.n; ++r) {
        start_ray(space, rays.origins + 3 * r, rays.directions + 3 * r, kBeamJitter, tile[r]);
        any |= tile[r].active;
    }
    if (!any) {
        for (int i = 0; i < 3 * rays.n; ++i) rgb[i] = rays.backgrounds[i];
        for (int r = 0; r < rays.n; ++r) depth[r] = accumulation[r] = 0.0f;
        return true;
    }
    if (!start_beam(space, tile, rays.n, s, live)) return false;
    for (int r = 0; r < rays.n; ++r) {
        join_beam(space, tile[r], live);
        direction_basis(job.field.net, rays.directions + 3 * r, s.basis + r * kShSlots);
    }
    bound_beam(tile, rays.n, live);
    trace_tile(job, space, pairs, tile, rays.n, s, live, rays.backgrounds, rgb, depth, accumulation);
    return true;
}

static void render_tiles(const RenderJob& job, Scratch& s, int first, int last) {
    const int height = job.row1 - job.row0, width = job.col1 - job.col0;
    const int across = (width + job.tile_width - 1) / job.tile_width;
    float origins[3 * kTileRays], directions[3 * kTileRays], jitter[kTileRays], backgrounds[3 * kTileRays];
    float rgb[3 * kTileRays], depth[kTileRays], accumulation[kTileRays];
    int pixel[kTileRays];  // in the outputs
    const Network& net = job.field.net;
    alignas(64) uint32_t hidden[kMaxWidth * kMaxWidth / 2], colour[kMaxWidth * kMaxWidth / 2];
    Pairs pairs = {nullptr, nullptr};
    if (job.bfloat && job.march.shared_steps > 0.0f && has_bfloat()) {
        pair_weights(net.encoding, net.hidden, job.field.weights + net.offset[0], hidden);
        pair_weights(net.hidden, net.outputs, job.field.weights + net.offset[1], colour);
        pairs = {hidden, colour};
    }
    for (int tile = first; tile < last; ++tile) {
        const int top = tile / across * job.tile_height, left = tile % across * job.tile_width;
        const int bottom = ns_min(top + job.tile_height, height), right = ns_min(left + job.tile_width, width);
        int n = 0;
        for (int row = top; row < bottom; ++row)
            for (int col = left; col < right; ++col, ++n) {
                Vec3 o, d;
                pixel_ray(job.camera, float(job.col0 + col) + 0.5f, float(job.row0 + row) + 0.5f, o, d);
                origins[3 * n] = o.x, origins[3 * n + 1] = o.y, origins[3 * n + 2] = o.z;
                directions[3 * n] = d.x, directions[3 * n + 1] = d.y, directions[3 * n + 2] = d.z;
                jitter[n] = kBeamJitter;
                for (int c = 0; c < 3; ++c) backgrounds[3 * n + c] = job.background[c];
                pixel[n] = row * width + col;
            }
        const Rays rays = {origins, directions, jitter, nullptr, backgrounds, nullptr, nullptr, n, nullptr, nullptr};
        Counters ignored = {};
        if (!job.beams || !render_beam(job, pairs, s, rays, rgb, depth, accumulation))
            trace_rays(job.field, job.march, rays, s, 0, n, rgb, depth, accumulation, ignored);
        for (int i = 0; i < n; ++i) {
            for (int c = 0; c < 3; ++c) job.rgb[3 * size_t(pixel[i]) + c] = rgb[3 * i + c];
            job.depth[pixel[i]] = depth[i];
            job.accumulation[pixel[i]] = accumulation[i];
        }
    }
}

static void density_entry(const Field& f, Scratch& s, const float* x, const float* y, const float* z, int n,
                          float* out) {
    for (int i = 0; i < n; i += kBlock) {
        const int m = n - i < kBlock ? n - i : kBlock;
        density_forward(f, x + i, y + i, z + i, m, s.cencoding, s.chidden, out + i);
    }
}

// Evaluates up to kTileRays points with a direction each: every point counts as a ray, with its own entry in s.basis.
static void field_block(const Field& f, Scratch& s, const float* x, const float* y, const float* z,
                        const float* directions, int m) {
    density_forward(f, x, y, z, m, s.sencoding, s.shidden, s.sdensity);
    for (int k = 0; k < m; ++k) {
        direction_basis(f.net, directions + 3 * k, s.basis + k * kShSlots);
        s.sray[k] = k;
    }
    color_forward(f, s, m);
}
static void field_entry(const Field& f, Scratch& s, const float* x, const float* y, const float* z,
                        const float* directions, int n, float* density, float* rgb) {
    for (int i = 0; i < n; i += kTileRays) {
        const int m = n - i < kTileRays ? n - i : kTileRays;
        field_block(f, s, x + i, y + i, z + i, directions + 3 * i, m);
        for (int k = 0; k < m; ++k) {
            density[i + k] = s.sdensity[k];
            for (int c = 0; c < 3; ++c) rgb[3 * (i + k) + c] = s.scolor[k * 4 + c];
        }
    }
}
// Gradients of densities and colours → s.g_encoding (n, encoding) and s.weight_gradient (added to).
static void field_backward(const Field& f, Scratch& s, const float* x, const float* y, const float* z,
                           const float* directions, int n, const float* d_density, const float* d_rgb) {
    for (int i = 0; i < n; i += kTileRays) {
        const int m = n - i < kTileRays ? n - i : kTileRays;
        field_block(f, s, x + i, y + i, z + i, directions + 3 * i, m);
        float raw[kTileRays];
        for (int k = 0; k < m; ++k) {
            raw[k] = d_density[i + k] * density_activation_gradient(s.sdensity[k]);
            for (int j = 0; j < 16; ++j) s.d_color[k * 16 + j] = 0;
            for (int c = 0; c < 3; ++c)
                s.d_color[k * 16 + c] = d_rgb[3 * (i + k) + c] * color_gradient(s.scolor[k * 4 + c]);
        }
        network_backward(f, s, 0, m, raw, s.g_encoding + size_t(i) * f.net.encoding);
    }
}

// One ray's samples in occupied cells: distances, lengths and unit-cube points (capacity, 3). Returns their number.
static int march_ray(const Field& f, const March& march, const float* origin, const float* direction, float jitter,
                     int capacity, float* t, float* length, float* points) {
    constexpr int room = kRoundSamples + kWidth;
    float x[room], y[room], z[room], ct[room], cl[room], cs[room];
    int32_t cell[room];
    Scratch s = {};
    s.cx = x, s.cy = y, s.cz = z, s.ct = ct, s.clength = cl, s.cx_scene = cs, s.ccell = cell;
    const Space space = coarser(f.space, march.coarseness);
    RayState ray;
    start_ray(space, origin, direction, jitter, ray);
    int n = 0;
    while (n < capacity) {
        const int want = capacity - n < kRoundSamples ? capacity - n : kRoundSamples;
        const int found = next_samples(f, space, ray, want, 0, s);
        if (found == 0) break;
        for (int i = 0; i < found; ++i, ++n) {
            t[n] = ct[i];
            length[n] = cl[i];
            points[3 * n] = x[i], points[3 * n + 1] = y[i], points[3 * n + 2] = z[i];
        }
    }
    return n;
}

static bool live_steps(const Field& f, Scratch& s, const float* origin, const float* directions, int n, int capacity,
                       uint8_t* live, int32_t* offset) {
    RayState rays[kTileRays];
    LiveSteps steps;
    for (int r = 0; r < n; ++r) start_ray(f.space, origin, directions + 3 * r, kBeamJitter, rays[r]);
    for (int i = 0; i < capacity; ++i) live[i] = 0;
    if (!start_beam(f.space, rays, n, s, steps)) return false;
    for (int r = 0; r < n; ++r) {
        join_beam(f.space, rays[r], steps);
        offset[r] = rays[r].offset;
    }
    bound_beam(rays, n, steps);
    while (find_live(f, f.space, steps)) {
        for (int i = 0; i < steps.count; ++i)
            if (steps.step[i] < float(capacity)) live[int(steps.step[i])] = 1;
        steps.count = 0;
    }
    return true;
}

static void to_half(const float* from, uint16_t* to, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) store_half_row<8>(to + i, load_row<8>(from + i));
    for (; i < n; ++i) to[i] = float_to_half(from[i]);
}

static void pixel_rays(const CameraDesc& c, const float* pixels, int n, float* origins, float* directions) {
    for (int i = 0; i < n; ++i) {
        Vec3 o, d;
        pixel_ray(c, pixels[2 * i], pixels[2 * i + 1], o, d);
        origins[3 * i] = o.x, origins[3 * i + 1] = o.y, origins[3 * i + 2] = o.z;
        directions[3 * i] = d.x, directions[3 * i + 1] = d.y, directions[3 * i + 2] = d.z;
    }
}

#define NS_STRING2(x) #x
#define NS_STRING(x) NS_STRING2(x)
extern const SplatKernels splat_kernels;
extern const Kernels kernels;
const Kernels kernels = {
    NS_STRING(NS_ISA), kWidth,    make_rays,       train_rays,  trace_rays,    scatter,
    rows_update,       rows_pack, rows_unpack,     update_weights, pair_weights, decay_occupancy,
    render_tiles,      encode,    density_entry,   field_entry, field_backward, march_ray,
    live_steps,        finer_layer, nearest,     smooth,         subtract,     extrema,
    directions,        describe,  has_bfloat,    to_half,        pixel_rays,   &splat_kernels,
};

NS_END
