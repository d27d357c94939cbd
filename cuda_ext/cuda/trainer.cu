// The trainer: owns the memory of a training run and drives its steps. step.h declares what a step does.
#include "../include/hashgrid.h"
#include "../include/occupancy.h"
#include "step.h"

#include <chrono>

namespace nerfscene {

using namespace gpu;

// All of the trainer's memory on the device, and its graphs.
struct Trainer::Work {
    Stream stream = new_stream();
    TrainState state;
    cuda::TrainInput input = {};  // the arguments of every step: pointers to the buffers below
    Buffer<CameraDesc> cameras;
    Buffer<uint64_t> first_pixel, first_cell;
    Buffer<float> table_gradient, weight_gradient, exposure_gradient;
    Buffer<uint16_t> half_weights, half_weights_t;
    // one entry per ray
    Buffer<float> directions, targets, backgrounds, transmittance, ray_pixels;
    Buffer<int> last, ray_photos, meeting, first_step;
    Buffer<uint8_t> dropped;
    // one entry per sample
    Buffer<float4> place, sample_state, color;
    Buffer<int> previous, ray;
    Buffer<uint16_t> encoding;
    Buffer<float> d_rays, d_encoding;  // only if cameras' gradients are wanted; per ray and per sample
    Buffer<uint8_t> room_scratch;
    Buffer<cuda::StepNumbers> numbers;
    Graph step_graph, camera_step_graph, occupancy_graph;
    int probed = 0;  // cells that occupancy_graph probes
    uint64_t cells_probed = 0;

    ~Work() { delete_stream(stream); }
    void reserve_samples(int target_samples);
    void reserve_camera_gradients();
    void record_graphs(const TrainOptions& o, bool cameras, bool probes);
    void prepare_field();
};

namespace {
double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
void report_totals(const cuda::StepNumbers& s, TrainReport& report) {
    report.rays = int64_t(s.total_rays), report.candidates = int64_t(s.total_candidates);
    report.survivors = int64_t(s.total_samples), report.dropped = int64_t(s.total_dropped);
    report.squared_error = s.total_squared_error;
}
}  // namespace

Trainer::Trainer(TrainState state, Photos photos, uint32_t seed) : work_(new Work) {
    Work& w = *work_;
    w.state = state;
    const Network& net = state.field.net;
    w.cameras.resize(photos.n), w.first_pixel.resize(photos.n + 1);
    copy(w.cameras.data(), photos.cameras, sizeof(CameraDesc) * photos.n, w.stream);
    copy(w.first_pixel.data(), photos.first_pixel, sizeof(uint64_t) * (photos.n + 1), w.stream);
    photos.cameras = w.cameras.data(), photos.first_pixel = w.first_pixel.data();
    if (photos.first_cell) {
        w.first_cell.resize(photos.n);
        copy(w.first_cell.data(), photos.first_cell, sizeof(uint64_t) * photos.n, w.stream);
        photos.first_cell = w.first_cell.data();
    }
    w.table_gradient.resize(cuda::table_rows(state.field.grid) * state.field.grid.features);
    zero(w.table_gradient.data(), sizeof(float) * w.table_gradient.size(), w.stream);
    w.weight_gradient.resize(net.size);
    zero(w.weight_gradient.data(), sizeof(float) * net.size, w.stream);
    w.exposure_gradient.resize(3 * photos.n);
    zero(w.exposure_gradient.data(), sizeof(float) * w.exposure_gradient.size(), w.stream);
    const size_t n = cuda::kMaxRays;
    w.directions.resize(3 * n), w.targets.resize(3 * n), w.backgrounds.resize(3 * n), w.transmittance.resize(n);
    w.ray_photos.resize(n), w.ray_pixels.resize(2 * n);
    w.last.resize(n), w.dropped.resize(n), w.meeting.resize(n), w.first_step.resize(n);
    w.room_scratch.resize(2 * kCoarseCells);
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

size_t Trainer::bytes(const Field& f) {
    constexpr size_t a_ray = (3 + 3 + 3 + 1 + 2) * sizeof(float) + 4 * sizeof(int) + sizeof(uint8_t);
    return sizeof(float) * cuda::table_rows(f.grid) * f.grid.features + a_ray * cuda::kMaxRays;
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
bool Trainer::has_sizes(size_t table, size_t weights) const {
    return table == work_->table_gradient.size() && weights == work_->weight_gradient.size();
}

// Makes room for twice the target number of samples, because steps differ in how many they have.
void Trainer::Work::reserve_samples(int target_samples) {
    const size_t capacity = (size_t(target_samples) * 2 + 1023) / 1024 * 1024;
    if (input.samples.capacity == capacity) return;
    synchronize(stream);
    input.samples.capacity = 0;  // until all of it is there: an allocation may fail
    step_graph.reset(), camera_step_graph.reset();  // they hold the old pointers
    if (d_encoding.size() > 0) d_encoding.resize(capacity * state.field.net.encoding);
    place.resize(capacity), sample_state.resize(capacity), color.resize(capacity);
    previous.resize(capacity), ray.resize(capacity), encoding.resize(capacity * state.field.net.encoding);
    input.samples = {place.data(), sample_state.data(), color.data(), previous.data(), ray.data(), encoding.data(),
                     uint32_t(capacity), &numbers.data()->samples};
}

// Allocates the memory for the cameras' gradients when they are first wanted.
void Trainer::Work::reserve_camera_gradients() {
    const size_t wanted = size_t(input.samples.capacity) * state.field.net.encoding;
    if (d_encoding.size() != wanted) d_encoding.resize(wanted);
    if (d_rays.size() > 0) return;
    d_rays.resize(6 * size_t(cuda::kMaxRays));
    zero(d_rays.data(), sizeof(float) * d_rays.size(), stream);
}

// Records the graphs that this run needs and that were not recorded yet.
void Trainer::Work::record_graphs(const TrainOptions& o, bool cameras, bool probes) {
    if (probed != o.occupancy_cells) {
        probed = o.occupancy_cells;
        occupancy_graph.reset();
    }
    if (step_graph.empty()) step_graph.record(stream, [this] { launch_step(input, true, stream); });
    if (cameras) {
        reserve_camera_gradients();
        cuda::TrainInput in = input;
        in.d_rays = d_rays.data(), in.d_encoding = d_encoding.data();
        if (camera_step_graph.empty())
            camera_step_graph.record(stream, [this, in] { launch_step(in, true, stream); });
    }
    if (probes && occupancy_graph.empty())
        occupancy_graph.record(stream, [this] { launch_occupancy(input, probed, room_scratch.data(), stream); });
}

// Updates everything that is derived from the field, which may have been changed since the last run (`refresh`).
void Trainer::Work::prepare_field() {
    halve_weights(input.state.field, half_weights.data(), half_weights_t.data(), stream);
    update_room(input.state.field, room_scratch.data(), input.state.room, stream);
}

TrainReport Trainer::run(const TrainOptions& o, int64_t steps, double seconds) {
    constexpr int kAhead = 16;  // steps launched between looks at the clock
    Work& w = *work_;
    const double start = now();
    const bool cameras = w.state.camera_gradients && o.camera_every > 0;
    const bool probes = o.occupancy_every > 0 && o.occupancy_cells > 0;
    w.reserve_samples(o.target_samples);
    w.record_graphs(o, cameras, probes);

    cuda::StepNumbers s = {};
    s.options = o;
    s.rays_drawn = rays_drawn, s.cells_probed = w.cells_probed;
    s.survivors_per_ray = float(survivors_per_ray), s.occupancy_mean = occupancy_mean;
    s.n_rays = cuda::rays_for(o.target_samples, s.survivors_per_ray);
    copy(w.numbers.data(), &s, sizeof(s), w.stream);
    w.prepare_field();
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
    launch_weight_check(w.input, w.stream);
    copy(&s, w.numbers.data(), sizeof(s), w.stream);
    synchronize(w.stream);
    rays_drawn = s.rays_drawn, w.cells_probed = s.cells_probed;
    survivors_per_ray = s.survivors_per_ray, occupancy_mean = s.occupancy_mean;
    report_totals(s, report);
    report.occupied_fraction = s.occupied_fraction;
    report.seconds_trace = now() - start;  // the phases overlap on the device, so this is the time of all three
    return report;
}

TrainReport Trainer::gradients(const TrainOptions& o, DeviceRays rays, float* d_table, float* d_weights,
                               float* d_exposures) {
    Work& w = *work_;
    if (rays.n > cuda::kMaxRays)
        throw Error("a step takes at most " + std::to_string(cuda::kMaxRays) + " rays; pass fewer");
    w.reserve_samples(o.target_samples);
    cuda::StepNumbers s = {};
    s.options = o;
    s.n_rays = rays.n;
    copy(w.numbers.data(), &s, sizeof(s), w.stream);
    w.prepare_field();
    cuda::TrainInput in = w.input;
    in.given = rays;
    if (rays.d_rays) {
        w.reserve_camera_gradients();
        in.d_rays = rays.d_rays, in.d_encoding = w.d_encoding.data();
        zero(rays.d_rays, sizeof(float) * 6 * rays.n, w.stream);
    }
    // The gradients are written to the caller's arrays, and divided by the loss scale afterwards.
    in.table_gradient = d_table, in.weight_gradient = d_weights;
    if (d_exposures) {
        in.exposure_gradient = d_exposures;
        zero(d_exposures, sizeof(float) * 3 * in.photos.n, w.stream);
    }
    zero(d_table, sizeof(float) * w.table_gradient.size(), w.stream);
    zero(d_weights, sizeof(float) * w.weight_gradient.size(), w.stream);
    launch_step(in, false, w.stream);
    const float unscale = 1.0f / (cuda::kGradientScale * float(rays.n > 0 ? rays.n : 1));
    multiply(d_table, unscale, int64_t(w.table_gradient.size()), w.stream);
    multiply(d_weights, unscale, int64_t(w.weight_gradient.size()), w.stream);
    if (rays.d_rays) multiply(rays.d_rays, unscale, 6 * int64_t(rays.n), w.stream);
    if (d_exposures) multiply(d_exposures, unscale, 3 * int64_t(in.photos.n), w.stream);
    copy(&s, w.numbers.data(), sizeof(s), w.stream);
    synchronize(w.stream);
    TrainReport report = {};
    report_totals(s, report);
    return report;
}

}  // namespace nerfscene
