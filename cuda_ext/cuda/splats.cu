// Pictures of Gaussians on a GPU: as on the CPU (cpu/splatter.cpp), with a block per tile and a thread per pixel. The sums of
// a Gaussian in a tile are added up in shared memory.
#include "splats.h"

#include <cstring>
#include <vector>

#include "../include/adam.h"
#include "../include/splat.h"
#include "sorting.h"

NS_BEGIN

namespace {

constexpr int kPixels = kSplatTile * kSplatTile;
constexpr int kBatch = 32;        // Gaussians that a block has in shared memory
constexpr int kSumFloats = 16;    // SplatSums, of which 13 are used
constexpr uint32_t kNowhere = 0xffffffffu;

NS_D int index_of_thread() { return int(blockIdx.x * blockDim.x + threadIdx.x); }

NS_D SplatGiven<float> given_splat(const SplatArrays& a, size_t i) {
    SplatGiven<float> g;
    g.centre = {a.centres[3 * i], a.centres[3 * i + 1], a.centres[3 * i + 2]};
    g.log_scale = {a.log_scales[3 * i], a.log_scales[3 * i + 1], a.log_scales[3 * i + 2]};
    for (int j = 0; j < 4; ++j) g.turn[j] = a.turns[4 * i + j];
    g.logit = a.opacities[i];
    return g;
}

__global__ void project_kernel(SplatCamera k, SplatArrays a, SplatCandidate* out, uint32_t* keys, uint32_t* values,
                               uint32_t* drawn) {
    const int i = index_of_thread();
    if (i >= a.n) return;
    const SplatGiven<float> g = given_splat(a, size_t(i));
    SplatFlat<float> f;
    splat_project(k, g, f);
    const float limit = logf(ns_max(f.opacity / kLeastAlpha, 1.0f));
    const float reach_x = sqrtf(2.0f * limit * f.variance_x), reach_y = sqrtf(2.0f * limit * f.variance_y);
    const bool in = splat_drawable(k, g, f) > 0.0f && f.x + reach_x > float(k.left) && f.x - reach_x < float(k.left + k.columns) &&
                    f.y + reach_y > float(k.top) && f.y - reach_y < float(k.top + k.rows);
    out[i] = {f.x, f.y, f.half_a, f.lean, f.half_c, f.opacity, f.depth, reach_x, reach_y, limit, uint32_t(i)};
    keys[i] = in ? uint32_t(Lanes<float>::bits(f.depth)) : kNowhere, values[i] = uint32_t(i);
    if (in) atomicAdd(drawn, 1u);
}

__global__ void finish_kernel(SplatCamera k, SplatArrays a, const SplatCandidate* candidates, const uint32_t* order, int n,
                              int across, int down, Splat* out, uint32_t* slots) {
    const int i = index_of_thread();
    if (i >= n) return;
    Splat s = splat_finished(a, splat_camera_centre(k), candidates[order[i]]);
    int top, bottom, left, right;
    if (splat_tile_rows(s, k, down, top, bottom))
        for (int row = top; row <= bottom; ++row)
            if (splat_tiles(s, k, across, row, left, right)) s.slots += uint32_t(right - left + 1);
    out[i] = s, slots[i] = s.slots;
}

// Lists each Gaussian's tiles in its slots. Should rounding find one less than when they were counted, a slot is nowhere.
__global__ void list_kernel(SplatCamera k, Splat* splats, const uint32_t* first, int n, int across, int down, uint32_t* tiles,
                            uint32_t* slots, uint32_t* of) {
    const int i = index_of_thread();
    if (i >= n) return;
    Splat s = splats[i];
    splats[i].first_slot = first[i];
    uint32_t at = first[i];
    const uint32_t past = at + s.slots;
    int top, bottom, left, right;
    if (splat_tile_rows(s, k, down, top, bottom))
        for (int row = top; row <= bottom; ++row)
            if (splat_tiles(s, k, across, row, left, right))
                for (int column = left; column <= right && at < past; ++column, ++at)
                    tiles[at] = uint32_t(row * across + column), slots[at] = at, of[at] = uint32_t(i);
    for (; at < past; ++at) tiles[at] = uint32_t(across * down), slots[at] = at, of[at] = uint32_t(i);
}

__global__ void entries_kernel(const uint32_t* slots, const uint32_t* of, uint32_t n, SplatEntry* entries) {
    const uint32_t i = uint32_t(index_of_thread());
    if (i < n) entries[i] = {of[slots[i]], slots[i]};
}

// first[t]: how many of the sorted tiles are before t.
__global__ void first_entry_kernel(const uint32_t* tiles, uint32_t n, int count, uint32_t* first) {
    const int t = index_of_thread();
    if (t > count) return;
    uint32_t low = 0, high = n;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (tiles[middle] < uint32_t(t)) low = middle + 1;
        else high = middle;
    }
    first[t] = low;
}

struct TilePicture {
    SplatCamera camera;
    float background[3];
    int across;
    const Splat* splats;
    const SplatEntry* entries;
    const uint32_t* first_entry;
    float *rgb, *alpha, *depth, *transmittance;  // the last: (tiles, kPixels), as the next
    int *last, *deepest;
    const float *d_rgb, *d_alpha;
    SplatSums* sums;
    uint8_t* touched;
    float* d_background;
};

// The pixel of a thread, in the window.
struct PixelPlace {
    int row, column;
    float x, y;
    bool inside;
};
NS_D PixelPlace pixel_place(const TilePicture& p) {
    const int tile = int(blockIdx.x), i = int(threadIdx.x);
    PixelPlace at;
    at.row = tile / p.across * kSplatTile + i / kSplatTile, at.column = tile % p.across * kSplatTile + i % kSplatTile;
    at.x = float(p.camera.left + at.column) + 0.5f, at.y = float(p.camera.top + at.row) + 0.5f;
    at.inside = at.row < p.camera.rows && at.column < p.camera.columns;
    return at;
}
// Minus the exponent of a Gaussian at a pixel, and what the gradients need of it.
NS_D float power_at(const Splat& s, const PixelPlace& at, float& e, float& dy) {
    dy = at.y - s.y, e = at.x - s.x + s.lean * dy;
    return e * e * s.half_a + s.half_c * dy * dy;
}

__global__ void __launch_bounds__(kPixels) draw_kernel(TilePicture p) {
    NS_SHARED(raw);
    Splat* batch = reinterpret_cast<Splat*>(raw);
    int* shared = reinterpret_cast<int*>(batch + kBatch);  // pixels that are done, and the deepest entry
    const uint32_t begin = p.first_entry[blockIdx.x], end = p.first_entry[blockIdx.x + 1];
    const PixelPlace at = pixel_place(p);
    float color[3] = {}, far = 0.0f, left = 1.0f;
    bool done = !at.inside;
    int last = 0;
    if (threadIdx.x == 0) shared[0] = shared[1] = 0;
    __syncthreads();
    if (done) atomicAdd(shared, 1);
    for (uint32_t base = begin; base < end; base += kBatch) {
        __syncthreads();
        if (shared[0] == kPixels) break;
        const uint32_t some = ns_min(uint32_t(kBatch), end - base);
        if (threadIdx.x < some) batch[threadIdx.x] = p.splats[p.entries[base + threadIdx.x].splat];
        __syncthreads();
        for (uint32_t k = 0; k < some && !done; ++k) {
            const Splat& s = batch[k];
            float e, dy;
            const float power = power_at(s, at, e, dy);
            if (!(power <= s.limit)) continue;
            const float alpha = ns_min(ns_exp(-power) * s.opacity, kMostAlpha), after = left - left * alpha;
            if (!(after > kLeastTransmittance)) {
                done = true;
                atomicAdd(shared, 1);
                break;
            }
            const float weight = left * alpha;
            for (int c = 0; c < 3; ++c) color[c] += weight * s.color[c];
            far += weight * s.depth, left = after, last = int(base - begin + k) + 1;
        }
    }
    const size_t mine = size_t(blockIdx.x) * kPixels + threadIdx.x;
    p.transmittance[mine] = left, p.last[mine] = last;
    atomicMax(shared + 1, last);
    __syncthreads();
    if (threadIdx.x == 0) p.deepest[blockIdx.x] = shared[1];
    if (!at.inside) return;
    const size_t to = size_t(at.row) * p.camera.columns + at.column;
    for (int c = 0; c < 3; ++c) p.rgb[3 * to + c] = color[c] + left * p.background[c];
    if (p.alpha) p.alpha[to] = 1.0f - left;
    if (p.depth) p.depth[to] = last > 0 ? far / (1.0f - left) : 0.0f;
}

// Adds a pixel's share of a Gaussian's sums to those of its block; only warps in which one has a share do anything.
NS_D void add_shares(float* sums, bool use, const float* mine, float weight) {
    if (!__any_sync(kAllLanes, use)) return;
    for (int j = 0; j < 12; ++j) {
        const float sum = warp_sum(use ? mine[j] : 0.0f);
        if (lane_index() == 0) atomicAdd(sums + j, sum);
    }
    if (use) max_positive(sums + 12, weight);
}

__global__ void __launch_bounds__(kPixels) draw_backward_kernel(TilePicture p) {
    NS_SHARED(raw);
    Splat* batch = reinterpret_cast<Splat*>(raw);
    float* sums = reinterpret_cast<float*>(batch + kBatch);
    const uint32_t begin = p.first_entry[blockIdx.x];
    const PixelPlace at = pixel_place(p);
    const size_t mine = size_t(blockIdx.x) * kPixels + threadIdx.x;
    const size_t from = at.inside ? size_t(at.row) * p.camera.columns + at.column : 0;
    float d[3], left = p.transmittance[mine], behind = 0.0f;
    for (int c = 0; c < 3; ++c) {
        d[c] = at.inside ? p.d_rgb[3 * from + c] : 0.0f, behind += d[c] * p.background[c];
        const float share = warp_sum(left * d[c]);
        if (lane_index() == 0) atomicAdd(p.d_background + c, share);
    }
    const float d_alpha = at.inside && p.d_alpha ? p.d_alpha[from] : 0.0f;
    const int last = p.last[mine];
    for (int past = p.deepest[blockIdx.x]; past > 0; past -= kBatch) {
        const int first = ns_max(0, past - kBatch), some = past - first;
        __syncthreads();
        if (int(threadIdx.x) < some) batch[threadIdx.x] = p.splats[p.entries[begin + first + threadIdx.x].splat];
        for (int j = int(threadIdx.x); j < kBatch * kSumFloats; j += kPixels) sums[j] = 0.0f;
        __syncthreads();
        for (int k = some - 1; k >= 0; --k) {
            const Splat& s = batch[k];
            float e, dy;
            const float power = power_at(s, at, e, dy);
            const bool use = power <= s.limit && first + k < last;
            float share[12] = {}, weight = 0.0f;
            if (use) {
                const float raw_alpha = ns_exp(-power) * s.opacity, alpha = ns_min(raw_alpha, kMostAlpha);
                const float gain = d[0] * s.color[0] + d[1] * s.color[1] + d[2] * s.color[2] + d_alpha - behind;
                left = left / (1.0f - alpha), weight = alpha * left, behind += alpha * gain;
                const float slope = raw_alpha < kMostAlpha ? -weight * gain : 0.0f, se = slope * e, x = -2.0f * s.half_a * se;
                share[0] = slope, share[1] = se, share[2] = se * e, share[3] = se * dy, share[4] = slope * dy;
                share[5] = slope * dy * dy, share[6] = weight * d[0], share[7] = weight * d[1], share[8] = weight * d[2];
                share[9] = ns_abs(x), share[10] = ns_abs(x * s.lean - slope * (2.0f * s.half_c * dy)), share[11] = 1.0f;
            }
            add_shares(sums + k * kSumFloats, use, share, weight);
        }
        __syncthreads();
        if (int(threadIdx.x) < some && sums[threadIdx.x * kSumFloats + 11] > 0.0f) {
            const float* v = sums + threadIdx.x * kSumFloats;
            const uint32_t slot = p.entries[begin + first + threadIdx.x].slot;
            p.sums[slot] = {v[0], v[1], v[2], v[3], v[4], v[5], {v[6], v[7], v[8]}, v[9], v[10], v[12], int(v[11])};
            p.touched[slot] = 1;
        }
    }
}

__global__ void project_backward_kernel(SplatCamera k, SplatArrays a, const Splat* splats, int n, const SplatSums* sums,
                                        const uint8_t* touched, SplatGradients to) {
    const int rank = index_of_thread();
    if (rank >= n) return;
    const Splat& s = splats[rank];
    SplatSums sum;
    if (!splat_add_up(sums, touched, nullptr, s, sum)) return;
    const size_t i = s.index, h = 3 * size_t(a.count) * i;
    SplatFlat<float> f;
    splat_project(k, given_splat(a, i), f);
    SplatGradient<float> g;
    splat_project_backward(k, f, splat_sums_gradient(f.half_a, f.lean, f.half_c, f.opacity, sum.s, sum.se, sum.see, sum.sey,
                                                     sum.sy, sum.syy), g);
    float* centre = to.centres + 3 * i;
    float* scale = to.log_scales + 3 * i;
    centre[0] = g.centre.x, centre[1] = g.centre.y, centre[2] = g.centre.z;
    scale[0] = g.log_scale.x, scale[1] = g.log_scale.y, scale[2] = g.log_scale.z;
    for (int j = 0; j < 4; ++j) to.turns[4 * i + j] = g.turn[j];
    to.opacities[i] = g.logit;
    splat_color_backward(a.count, splat_camera_centre(k), a.centres + 3 * i, a.harmonics + h, s.color, sum.color,
                         to.harmonics + h, centre);
    to.pixels[i] = sum.pixels, to.weight[i] = sum.weight;
    to.pull[i] = sqrtf(sum.pull_x * sum.pull_x + sum.pull_y * sum.pull_y);
}

__global__ void splat_adam_kernel(SplatAdam a) {
    const int64_t at = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, size = a.n * a.width;
    if (at >= size || a.pixels[at / a.width] <= 0) return;
    const float g = a.gradients[at];
    AdamStep step = at % a.width < a.constant ? a.first : a.rest;
    step.rate *= splat_size(a, at / a.width);
    adam(step, g * 0.0f == 0.0f ? g : 0.0f, a.parameters[at], a.moments[at], a.moments[size + at]);
}

}  // namespace

NS_END

namespace nerfscene {

using gpu::blocks_for;
using gpu::launch;

struct GpuSplatter::Work {
    gpu::Sorting by_depth, by_tile;
    gpu::Grown<SplatCandidate> candidates;
    gpu::Grown<Splat> splats;
    gpu::Grown<uint32_t> counter, slots, of, first_entry;
    gpu::Grown<SplatEntry> entries;
    gpu::Grown<SplatSums> sums;
    gpu::Grown<uint8_t> touched;
    gpu::Grown<float> transmittance;
    gpu::Grown<int> last, deepest;
    cuda::TilePicture picture{};
    uint32_t n_slots = 0;
    int tiles = 0;
};

GpuSplatter::GpuSplatter() : work_(new Work) {}
GpuSplatter::~GpuSplatter() = default;

namespace {
uint32_t read_number(const uint32_t* from) {
    uint32_t number = 0;
    gpu::copy(&number, from, sizeof(number), nullptr);
    gpu::synchronize(nullptr);
    return number;
}
constexpr size_t kDrawShared = cuda::kBatch * sizeof(Splat) + 2 * sizeof(int);
constexpr size_t kBackwardShared = cuda::kBatch * (sizeof(Splat) + cuda::kSumFloats * sizeof(float));
}  // namespace

void GpuSplatter::draw(const SplatCamera& k, const SplatArrays& a, const float* background, float* rgb, float* alpha,
                       float* depth) {
    Work& w = *work_;
    drawn_ = -1, given_ = a.n, camera_ = k;
    const int across = (k.columns + kSplatTile - 1) / kSplatTile, down = (k.rows + kSplatTile - 1) / kSplatTile;
    w.tiles = across * down;
    uint32_t *counter = w.counter.with(1), *keys = w.by_depth.keys.with(size_t(a.n)), *values = w.by_depth.values.with(size_t(a.n));
    SplatCandidate* candidates = w.candidates.with(size_t(a.n));
    gpu::zero(counter, sizeof(uint32_t), nullptr);
    if (a.n > 0)
        launch(cuda::project_kernel, blocks_for(a.n, 128), 128, 0, nullptr, k, a, candidates, keys, values, counter);
    const int n = int(read_number(counter));
    w.by_depth.sort(uint32_t(a.n), 32);
    Splat* splats = w.splats.with(size_t(n));
    uint32_t* slots = w.slots.with(size_t(n));
    w.n_slots = 0;
    if (n > 0) {
        launch(cuda::finish_kernel, blocks_for(n, 128), 128, 0, nullptr, k, a, static_cast<const SplatCandidate*>(candidates),
               static_cast<const uint32_t*>(values), n, across, down, splats, slots);
        gpu::sum_before(slots, n, counter);
        w.n_slots = read_number(counter);
    }
    const uint32_t m = w.n_slots;
    if (m >> 30) throw gpu::Error("so many large Gaussians can't be drawn at this size");
    uint32_t *tiles = w.by_tile.keys.with(m), *places = w.by_tile.values.with(m), *of = w.of.with(m);
    uint32_t* first = w.first_entry.with(size_t(w.tiles) + 1);
    SplatEntry* entries = w.entries.with(m);
    if (n > 0)
        launch(cuda::list_kernel, blocks_for(n, 128), 128, 0, nullptr, k, splats, static_cast<const uint32_t*>(slots), n, across,
               down, tiles, places, of);
    int bits = 1;
    while (w.tiles >> bits) ++bits;
    w.by_tile.sort(m, bits);
    if (m > 0)
        launch(cuda::entries_kernel, blocks_for(m, 128), 128, 0, nullptr, static_cast<const uint32_t*>(places),
               static_cast<const uint32_t*>(of), m, entries);
    launch(cuda::first_entry_kernel, blocks_for(w.tiles + 1, 128), 128, 0, nullptr, static_cast<const uint32_t*>(tiles), m,
           w.tiles, first);
    cuda::TilePicture& p = w.picture;
    p = {};
    p.camera = k, p.across = across, p.splats = splats, p.entries = entries, p.first_entry = first;
    std::memcpy(p.background, background, sizeof(p.background));
    p.rgb = rgb, p.alpha = alpha, p.depth = depth;
    const size_t pixels = size_t(w.tiles) * cuda::kPixels;
    p.transmittance = w.transmittance.with(pixels), p.last = w.last.with(pixels), p.deepest = w.deepest.with(size_t(w.tiles));
    if (w.tiles > 0) launch(cuda::draw_kernel, w.tiles, cuda::kPixels, kDrawShared, nullptr, p);
    gpu::synchronize(nullptr);
    drawn_ = n;
}

void GpuSplatter::backward(const SplatArrays& a, const float* d_rgb, const float* d_alpha, const SplatGradients& to) {
    Work& w = *work_;
    cuda::TilePicture p = w.picture;
    p.rgb = p.alpha = p.depth = nullptr;  // the caller may have released them
    p.d_rgb = d_rgb, p.d_alpha = d_alpha, p.d_background = to.background;
    p.sums = w.sums.with(w.n_slots), p.touched = w.touched.with(w.n_slots);
    gpu::zero(p.touched, w.n_slots, nullptr);
    const size_t n = size_t(a.n);
    const auto clear = [](void* of, size_t bytes) { gpu::zero(of, bytes, nullptr); };
    clear(to.centres, 12 * n), clear(to.log_scales, 12 * n), clear(to.turns, 16 * n), clear(to.opacities, 4 * n);
    clear(to.harmonics, 12 * n * size_t(a.count)), clear(to.background, 12), clear(to.pixels, 4 * n);
    clear(to.pull, 4 * n), clear(to.weight, 4 * n);
    if (w.tiles > 0) launch(cuda::draw_backward_kernel, w.tiles, cuda::kPixels, kBackwardShared, nullptr, p);
    if (drawn_ > 0)
        launch(cuda::project_backward_kernel, blocks_for(drawn_, 128), 128, 0, nullptr, camera_, a, p.splats, drawn_,
               static_cast<const SplatSums*>(p.sums), static_cast<const uint8_t*>(p.touched), to);
    gpu::synchronize(nullptr);
}

namespace gpu {
void improve_splats(const SplatAdam* adam, int arrays) {
    for (int i = 0; i < arrays; ++i)
        if (adam[i].n * adam[i].width > 0)
            launch(cuda::splat_adam_kernel, blocks_for(adam[i].n * adam[i].width, 128), 128, 0, nullptr, adam[i]);
    synchronize(nullptr);
}
}  // namespace gpu

}  // namespace nerfscene
