#include "trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "../include/exposure.h"
#include "../include/hashgrid.h"
#include "../include/march.h"
#include "../include/occupancy.h"
#include "../include/photos.h"
#include "../include/refine.h"
#include "dispatch.h"

namespace nerfscene {

namespace {
constexpr int kSampleCapacity = 1 << 17;  // most trained samples that a worker can pass to the next phase
constexpr int kMaxRays = 1 << 17;

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
// The first row of a part of a level. Parts begin at multiples of 64 rows, so that hardly any two threads write to one
// cache line.
uint32_t part_start(uint32_t size, int part, int parts) {
    if (part == parts) return size;
    return uint32_t(uint64_t((size + 63) / 64) * part / parts * 64);
}
}  // namespace

Trainer::Trainer(const Kernels& kernels, TrainState state, Photos photos, uint32_t seed, int threads)
    : k_(kernels), s_(state), photos_(photos), seed_(seed), pool_(threads) {
    const size_t floats = scratch_floats(s_.field.net, kSampleCapacity);
    for (int i = 0; i < pool_.size(); ++i) {
        blocks_.emplace_back(new float[floats + 16]);
        float* aligned = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(blocks_.back().get()) + 63) / 64 * 64);
        scratch_.emplace_back();
        scratch_layout(scratch_.back(), s_.field.net, kSampleCapacity, aligned);
    }
    origins_.resize(3 * kMaxRays), directions_.resize(3 * kMaxRays), jitter_.resize(kMaxRays);
    targets_.resize(3 * kMaxRays), backgrounds_.resize(3 * kMaxRays);
    ray_photos_.resize(kMaxRays), d_exposures_.resize(3 * kMaxRays), exposure_gradient_.resize(3 * photos_.n);
    gains_.resize(3 * photos_.n);
    rays_ = {origins_.data(), directions_.data(), jitter_.data(), targets_.data(), backgrounds_.data(),
             ray_photos_.data(), d_exposures_.data(), 0, nullptr, nullptr, nullptr, nullptr};
    pixels_.resize(2 * kMaxRays);
    rays_.pixels = pixels_.data();
    if (s_.photo_cells) errors_.resize(3 * size_t(kMaxRays));
    if (s_.camera_gradients) {
        d_rays_.resize(6 * size_t(kMaxRays));
        camera_gradients_.resize(size_t(pool_.size()) * photos_.n * kCameraGradient);
    }
    const HashGrid& g = s_.field.grid;
    const size_t rows = generic::table_rows(g);
    state_ = LargeArray<float>(2 * rows * g.features);
    slots_ = LargeArray<uint32_t>(rows);
    row_gradients_.resize(pool_.size());
    if (k_.has_bfloat()) pairs_.resize(s_.field.net.size / 2), pairs_t_.resize(s_.field.net.size / 2);
    refresh();
}

void Trainer::refresh() {
    const int features = s_.field.grid.features;
    share_rows([&](size_t first, size_t n) {
        const size_t at = first * features;
        k_.pack_rows(features, s_.table + at, s_.table_moments + 2 * at, n, state_.data() + 2 * at);
    });
    refresh_weights();
}

void Trainer::share_rows(const std::function<void(size_t first, size_t n)>& task) {
    constexpr size_t kRows = 1 << 14;
    const size_t rows = slots_.size();
    pool_.run(int((rows + kRows - 1) / kRows),
              [&](int, int i) { task(i * kRows, std::min(kRows, rows - i * kRows)); });
}

void Trainer::write_back() {
    const int features = s_.field.grid.features;
    share_rows([&](size_t first, size_t n) {
        const size_t at = first * features;
        k_.unpack_rows(features, state_.data() + 2 * at, n, s_.table + at, s_.table_moments + 2 * at);
    });
}

void Trainer::refresh_weights() {
    const Network& net = s_.field.net;
    for (int l = 0; l < net.layers; ++l) {
        const float* w = s_.weights + net.offset[l];
        float* t = s_.weights_t + net.offset[l];
        for (int i = 0; i < net.in[l]; ++i)
            for (int o = 0; o < net.out[l]; ++o) t[o * net.in[l] + i] = w[i * net.out[l] + o];
        if (pairs_.empty()) continue;
        k_.pair_weights(net.in[l], net.out[l], w, pairs_.data() + net.offset[l] / 2);
        k_.pair_weights(net.out[l], net.in[l], t, pairs_t_.data() + net.offset[l] / 2);
    }
}

TrainStep Trainer::make_step(const TrainOptions& o, double rays_in_loss) const {
    TrainStep step;
    step.field = s_.field;
    step.march = {o.min_weight, o.stop_transmittance, o.coarseness};
    step.rays = rays_;
    step.photos = photos_;
    step.occupancy_values = s_.occupancy_values;
    step.seed = seed_;
    step.first_ray = rays_drawn;
    step.huber_delta = o.huber_delta;
    step.distortion = o.distortion;
    step.full_gradient_distance = o.full_gradient_distance;
    step.exposures = s_.exposures, step.gains = gains_.data();
    step.exposure_pull = o.exposure_pull, step.thinning = o.thinning;
    step.sky_pull = o.sky_pull, step.sky_distance = o.sky_distance;
    step.depth_pull = o.depth_pull, step.depth_slack = o.depth_slack, step.depth_most = o.depth_most;
    step.photo_cells = s_.photo_cells;
    step.loss_scale = float(1.0 / rays_in_loss);
    const bool bfloat = o.bfloat16 && !pairs_.empty();
    step.pairs = bfloat ? pairs_.data() : nullptr, step.pairs_t = bfloat ? pairs_t_.data() : nullptr;
    return step;
}

int Trainer::tile_rays(int n_rays) const {
    // In fog, hundreds of samples per ray survive. Limit the rays so that a tile's memory holds all of their samples.
    const double expected = survivors_per_ray > 0 ? survivors_per_ray : 512;
    const double most = std::clamp(kSurvivors / (2.5 * expected), 4.0, double(kTileRays));
    // Several tiles for each thread, so that all threads end at about the same time; but not very small ones.
    constexpr int kTilesPerThread = 8, kLeastRays = 16;
    return std::min(int(most), std::max(n_rays / (kTilesPerThread * pool_.size()), kLeastRays));
}

void Trainer::trace(const TrainOptions& options, int n_rays, bool draw, double rays_in_loss) {
    rays_.n = n_rays;
    for (int i = 0; i < 3 * photos_.n; ++i) gains_[i] = generic::exposed(1.0f, s_.exposures[i]);
    const TrainStep step = make_step(options, rays_in_loss);
    const int tile = tile_rays(n_rays), tiles = (n_rays + tile - 1) / tile;
    for (Scratch& s : scratch_) {
        s.g_count = 0;
        s.counters = {};
        std::memset(s.weight_gradient, 0, sizeof(float) * s_.field.net.size);
    }
    pool_.run(tiles, [&](int worker, int i) {
        const int first = i * tile, last = std::min(first + tile, n_rays);
        if (draw) k_.make_rays(step, first, last);
        k_.train_rays(step, scratch_[worker], first, last);
    });
}

// Makes the slots of earlier steps those of no row. To be called before a step's first scatter_level.
void Trainer::next_slots() {
    if (since_ > UINT32_MAX / 2) {
        std::fill_n(slots_.data(), slots_.size(), 0u);
        since_ = 1;
    }
    since_ += uint32_t(row_visits_);
    row_visits_ = 0;
    for (const Scratch& s : scratch_) row_visits_ += 8 * size_t(s.g_count);
}

RowGradients& Trainer::scatter_level(int worker, int level, int part, int parts) {
    const HashGrid& g = s_.field.grid;
    const uint32_t size = g.size[level], first = part_start(size, part, parts), last = part_start(size, part + 1, parts);
    RowGradients& to = row_gradients_[worker].with_room(std::min(row_visits_, size_t(last - first)), g.features);
    for (const Scratch& s : scratch_)
        k_.scatter(g, level, first, last, s.gx, s.gy, s.gz, s.g_count, s.g_encoding, s_.field.net.encoding, to,
                   slots_.data() + g.offset[level], since_);
    return to;
}

void Trainer::update_exposures(const TrainOptions& o, int n_rays) {
    if (o.exposure_rate <= 0) return;
    std::fill(exposure_gradient_.begin(), exposure_gradient_.end(), 0.0f);
    for (int i = 0; i < n_rays; ++i)
        for (int c = 0; c < 3; ++c) exposure_gradient_[3 * ray_photos_[i] + c] += d_exposures_[3 * i + c];
    const AdamStep adam = {o.exposure_rate, o.beta1, o.beta2, o.epsilon};
    double mean[3] = {0, 0, 0};
    for (int photo = 0; photo < photos_.n; ++photo) {
        float* exposure = s_.exposures + 3 * photo;
        generic::update_exposure(adam, exposure_gradient_.data() + 3 * photo, exposure, s_.exposure_moments + 6 * photo);
        for (int c = 0; c < 3; ++c) mean[c] += exposure[c] / double(photos_.n);
    }
    for (int photo = 0; photo < photos_.n; ++photo)
        for (int c = 0; c < 3; ++c) s_.exposures[3 * photo + c] -= float(mean[c]);
}

void Trainer::add_camera_gradients(int n_rays) {
    constexpr int kRays = 512;
    const size_t size = size_t(photos_.n) * kCameraGradient;
    std::fill(camera_gradients_.begin(), camera_gradients_.end(), 0.0f);
    pool_.run((n_rays + kRays - 1) / kRays, [&](int worker, int task) {
        float* sums = camera_gradients_.data() + worker * size;
        for (int i = task * kRays; i < std::min((task + 1) * kRays, n_rays); ++i) {
            float g[kCameraGradient];
            generic::camera_gradient(photos_.cameras[ray_photos_[i]], pixels_[2 * i], pixels_[2 * i + 1], &d_rays_[6 * i], g);
            for (int k = 0; k < kCameraGradient; ++k) sums[ray_photos_[i] * kCameraGradient + k] += g[k];
        }
    });
    for (int worker = 0; worker < pool_.size(); ++worker)
        for (size_t k = 0; k < size; ++k) s_.camera_gradients[k] += camera_gradients_[worker * size + k];
}

void Trainer::add_errors(int n_rays, int every) {
    for (int i = 0; i < n_rays; i += every) {
        const float* error = errors_.data() + 3 * i;
        if (error[0] == kNoError) continue;
        const int64_t cell = generic::photo_cell(photos_, ray_photos_[i], pixels_[2 * i], pixels_[2 * i + 1]);
        float* to = s_.photo_cells + kCellNumbers * cell;
        for (int c = 0; c < 3; ++c) to[c] += error[c];
        to[3] += 1.0f;
    }
}

void Trainer::update_occupancy(const TrainOptions& o, TrainReport& report) {
    const Space& space = s_.field.space;
    const uint64_t r = uint64_t(space.occupancy_resolution), cells = r * r * r;
    // Cells that count as empty are probed too; otherwise nothing could ever appear in them. Those that are not allowed
    // are passed over.
    const int block = 8 * kBlock, blocks = (o.occupancy_cells + block - 1) / block;
    const uint64_t base = cells_probed_;
    pool_.run(blocks, [&](int worker, int i) {
        float x[kBlock + 16] = {}, y[kBlock + 16] = {}, z[kBlock + 16] = {}, density[kBlock + 16];
        uint64_t cell[kBlock];
        const int most = std::min(block, o.occupancy_cells - i * block);
        for (int j = 0, n = 0; j < most; ++j) {
            const uint64_t drawn = base + uint64_t(i) * block + j;
            generic::Vec3 u;
            cell[n] = generic::probed_cell(r, cells, seed_, drawn, u);
            x[n] = u.x, y[n] = u.y, z[n] = u.z;
            n += !s_.allowed || (s_.allowed[cell[n] / 32] >> (cell[n] % 32) & 1);
            if (n < kBlock && j + 1 < most) continue;
            if (n) k_.density(s_.field, scratch_[worker], x, y, z, n, density);
            for (int k = 0; k < n; ++k) {
                const generic::Vec3 p = generic::from_unit(space, {x[k], y[k], z[k]});
                float& value = s_.occupancy_values[cell[k]];
                value = std::max(value, density[k] * generic::reference_step(space, p.x, p.y, p.z));
            }
            n = 0;
        }
    });
    cells_probed_ += uint64_t(o.occupancy_cells);

    const int parts = pool_.size() * 4;
    std::vector<double> sums(parts, 0.0);
    std::vector<int64_t> counts(parts, 0);
    double sum = 0;
    int64_t occupied = 0;
    const float threshold = generic::occupancy_threshold(o.occupancy_threshold, occupancy_mean);
    pool_.run(parts, [&](int, int i) {
        const int64_t words = int64_t(cells / 32), first = words * i / parts * 32, last = words * (i + 1) / parts * 32;
        k_.decay_occupancy(s_.occupancy_values, s_.allowed, s_.occupancy, first, last, o.occupancy_decay, threshold,
                           &sums[i], &counts[i]);
    });
    for (int i = 0; i < parts; ++i) sum += sums[i], occupied += counts[i];
    occupancy_mean = float(sum / double(cells));
    make_coarse(space, s_.occupancy, s_.coarse);
    report.occupied_fraction = double(occupied) / double(cells);
}

TrainReport Trainer::run(const TrainOptions& o, int64_t steps, double seconds) {
    TrainReport report = {};
    const double start = now();
    const AdamStep table_adam = {o.table_rate, o.beta1, o.beta2, o.epsilon, o.table_pull};
    const AdamStep weight_adam = {o.weight_rate, o.beta1, o.beta2, o.epsilon};
    const HashGrid& g = s_.field.grid;
    const int parts = (pool_.size() + g.levels - 1) / g.levels;
    for (int64_t i = 0; i < steps && now() - start < seconds; ++i) {
        const double t0 = now();
        const double expected = survivors_per_ray > 0 ? survivors_per_ray : 64;
        const int n_rays = int(std::clamp(o.target_samples / expected, 64.0, double(kMaxRays)));
        const bool cameras = s_.camera_gradients && o.camera_every > 0 && step % o.camera_every == 0;
        rays_.d_rays = cameras ? d_rays_.data() : nullptr;
        const bool errors = s_.photo_cells && o.errors_every > 0;
        rays_.errors = errors ? errors_.data() : nullptr;
        trace(o, n_rays, true, n_rays);
        if (cameras) add_camera_gradients(n_rays);
        if (errors) add_errors(n_rays, o.errors_every);
        rays_drawn += n_rays;
        update_exposures(o, n_rays);
        const double t1 = now();
        next_slots();
        pool_.run(g.levels * parts + 1, [&](int worker, int task) {
            if (task < g.levels * parts) {
                const int level = g.levels - 1 - task / parts;
                const size_t at = size_t(g.offset[level]) * g.features;
                RowGradients& rows = scatter_level(worker, level, task % parts, parts);
                AdamStep adam = table_adam;
                adam.pull = generic::level_pull(g, level, o.table_pull, o.pull_growth);
                k_.update_rows(adam, g.features, rows, state_.data() + 2 * at, s_.half_table + at);
                return;
            }
            float* total = scratch_[0].weight_gradient;
            const int n = s_.field.net.size;
            for (size_t w = 1; w < scratch_.size(); ++w)
                for (int j = 0; j < n; ++j) total[j] += scratch_[w].weight_gradient[j];
            k_.update_weights(weight_adam, n, total, s_.weights, s_.weight_moments);
            refresh_weights();
        });
        const double t2 = now();
        ++step;
        if (o.occupancy_every > 0 && step % o.occupancy_every == 0) update_occupancy(o, report);
        const double t3 = now();
        Counters c = {};
        for (const Scratch& s : scratch_) {
            c.squared_error += s.counters.squared_error;
            c.candidates += s.counters.candidates, c.met += s.counters.met, c.survivors += s.counters.survivors;
            c.rays += s.counters.rays, c.dropped += s.counters.dropped;
        }
        if (c.rays > 0) {
            const double ratio = std::max(double(c.met) / double(c.rays), 0.05);
            survivors_per_ray = survivors_per_ray > 0 ? 0.8 * survivors_per_ray + 0.2 * ratio : ratio;
        }
        report.steps += 1;
        report.rays += c.rays, report.candidates += c.candidates, report.survivors += c.survivors;
        report.dropped += c.dropped, report.squared_error += c.squared_error;
        report.seconds_trace += t1 - t0, report.seconds_table += t2 - t1, report.seconds_occupancy += t3 - t2;
    }
    return report;
}

TrainReport Trainer::gradients(const TrainOptions& o, Rays rays, float* d_table, float* d_weights,
                               float* d_exposures) {
    std::vector<float> per_ray(3 * size_t(rays.n));
    if (rays.photos) rays.d_exposures = per_ray.data();
    const Rays saved = rays_;
    rays_ = rays;
    trace(o, rays.n, false, rays.n);
    rays_ = saved;
    const HashGrid& g = s_.field.grid;
    std::memset(d_table, 0, sizeof(float) * state_.size() / 2);
    next_slots();
    for (int level = 0; level < g.levels; ++level)
        take_gradients(scatter_level(0, level, 0, 1), g.features, d_table + size_t(g.offset[level]) * g.features);
    const int n = s_.field.net.size;
    std::memset(d_weights, 0, sizeof(float) * n);
    if (d_exposures) {
        std::fill(d_exposures, d_exposures + 3 * photos_.n, 0.0f);
        for (int i = 0; i < rays.n; ++i)
            for (int c = 0; c < 3 && rays.photos[i] >= 0; ++c) d_exposures[3 * rays.photos[i] + c] += per_ray[3 * i + c];
    }
    TrainReport report = {};
    for (const Scratch& s : scratch_) {
        for (int j = 0; j < n; ++j) d_weights[j] += s.weight_gradient[j];
        report.squared_error += s.counters.squared_error;
        report.rays += s.counters.rays, report.candidates += s.counters.candidates;
        report.survivors += s.counters.survivors, report.dropped += s.counters.dropped;
    }
    return report;
}

}  // namespace nerfscene
