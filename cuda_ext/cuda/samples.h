// What a training step keeps in device memory: its rays, the samples that it trains on, its counters and sums.
#pragma once
#include "driver.h"
#include "networks.h"

NS_BEGIN

// The loss scale: gradients are multiplied by this, because parts of the backward pass store them in FP16.
constexpr float kGradientScale = 1024.0f;

struct Samples {
    float4* place;       // x, y, z in the unit cube, distance
    float4* state;       // length, density, weight, transmittance before it
    float4* color;       // colour; from ray_backward_kernel on, the scaled gradients of raw colour and raw density
    int* previous;       // the sample before this one on the same ray; -1: none
    int* ray;
    uint16_t* encoding;  // (capacity, net.encoding) in FP16
    uint32_t capacity;
    const uint32_t* count;  // larger than the capacity if rays had to be dropped
    NS_D uint32_t n() const { return ns_min(*count, capacity); }
};

// One entry per ray of the step.
struct RayResults {
    float *directions, *targets, *backgrounds;  // (n, 3)
    int* photos;        // the photo whose exposure applies; below 0: none
    float* pixels;      // (n, 2): the position in that photo; only for drawn rays
    float* transmittance;
    int* last;          // the ray's last sample; -1: none
    uint8_t* dropped;   // 1: there was no room for its samples, so it has no loss
    int *meeting, *first_step;  // the rays that meet something, and the step at which each does first
};

// A step's counters and sums on the device. Those that many blocks add to at once have their own cache lines.
constexpr int kLine = 128;
struct StepNumbers {
    TrainOptions options;
    uint64_t rays_drawn, cells_probed;
    float survivors_per_ray, occupancy_mean;
    int n_rays;
    // of the current step
    alignas(kLine) uint32_t meeting;       // rays that meet something
    alignas(kLine) uint32_t next_meeting;  // which of them is handed out next
    alignas(kLine) uint32_t samples;
    alignas(kLine) uint32_t dropped;
    unsigned long long candidates;
    double squared_error;
    // sums over all steps of the current run
    alignas(kLine) unsigned long long total_rays, total_candidates, total_samples, total_dropped;
    double total_squared_error;
    alignas(kLine) double occupancy_sum;
    unsigned long long occupied_cells;
    double occupied_fraction;
};

constexpr int kMaxRays = 1 << 19;
NS_HD int rays_for(int target_samples, float survivors_per_ray) {
    const float expected = survivors_per_ray > 0 ? survivors_per_ray : 64.0f;
    return int(ns_max(64.0f, ns_min(float(target_samples) / expected, float(kMaxRays))));
}

// The arguments of a step's kernels. They are the same for every step, so that a step can be recorded once.
struct TrainInput {
    TrainState state;
    Photos photos;
    Samples samples;
    RayResults rays;
    DeviceRays given;  // if n > 0, the rays to train on instead of drawn ones
    StepNumbers* numbers;
    uint32_t seed;
    float* table_gradient;   // (rows, features), scaled; zero between steps
    float* weight_gradient;  // (net.size), scaled; zero between steps
    float* exposure_gradient;  // (photos, 3), scaled; zero between steps
    float* d_rays;      // (n, 6), with respect to origin and direction, scaled; zero between steps; null: not wanted
    float* d_encoding;  // (samples' capacity, net.encoding); d_rays is computed from it
    uint16_t *half_weights, *half_weights_t;
};

// The factor that turns a step's scaled gradients into the gradients of the mean loss over its rays.
NS_D float gradient_unscale(const StepNumbers& s) { return 1.0f / (kGradientScale * float(s.n_rays)); }

// The arguments of the backward pass through the networks and the table, for samples whose `color` holds gradients.
struct BackwardInput {
    Field field;
    Samples samples;
    const float* directions;  // of rays, (n, 3)
    const uint16_t *half_weights, *half_weights_t;
    float* weight_gradient;  // added to
    float* table_gradient;   // added to; may be null
    float* d_encoding;       // (n, net.encoding), overwritten; may be null
};

NS_END

namespace nerfscene {
namespace gpu {
// Defined in backward.cu. `expected`: the approximate number of samples; only the number of blocks depends on it.
void color_forward(const Field& f, const cuda::Samples& samples, const float* directions, int64_t expected,
                   Stream stream);
void network_backward(const cuda::BackwardInput& in, int64_t expected, Stream stream);
void halve_weights(const Field& f, uint16_t* half_weights, uint16_t* half_weights_t, Stream stream);
}  // namespace gpu
}  // namespace nerfscene
