// The samples that are trained on, in the device's memory, and the step's numbers that live there.
#pragma once
#include "driver.h"
#include "networks.h"

NS_BEGIN

// Gradients pass through halves: multiplied by this they stay above the smallest and far below the largest.
constexpr float kGradientScale = 1024.0f;

struct Samples {
    float4* place;       // x, y, z in the unit cube, distance
    float4* state;       // length, density, weight, transmittance before it
    float4* color;       // colour; after the walk back, gradients of raw colour and raw density, scaled
    int* previous;       // the same ray's sample before this one; -1: none
    int* ray;
    uint16_t* encoding;  // (capacity, net.encoding) halves
    uint32_t capacity;
    const uint32_t* count;  // may be more than the capacity: then the last rays were dropped
    NS_D uint32_t n() const { return ns_min(*count, capacity); }
};

struct RayResults {
    float *directions, *targets, *backgrounds;  // (n, 3)
    int* photos;        // whose exposure it has; below 0: none
    float* pixels;      // where in that photo, (n, 2), of drawn rays
    float* transmittance;
    int* last;          // the ray's last sample; -1: none
    uint8_t* dropped;   // no room for its samples: it sits out
    int *meeting, *first_step;  // the rays that meet something, and at which of their steps
};

// Numbers that many blocks count in at once have cache lines of their own.
constexpr int kLine = 128;
struct StepNumbers {
    TrainOptions options;
    uint64_t rays_drawn, cells_probed;
    float survivors_per_ray, occupancy_mean;
    int n_rays;
    // of the step under way
    alignas(kLine) uint32_t meeting;       // rays that meet something
    alignas(kLine) uint32_t next_meeting;  // of those, which comes next
    alignas(kLine) uint32_t samples;
    alignas(kLine) uint32_t dropped;
    unsigned long long candidates;
    double squared_error;
    // since they were last read
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

// What the kernels of a step are given; the same for every step, so that they can be recorded once.
struct TrainInput {
    TrainState state;
    Photos photos;
    Samples samples;
    RayResults rays;
    DeviceRays given;  // rays to train on instead of drawn ones, where n > 0
    StepNumbers* numbers;
    uint32_t seed;
    float* table_gradient;   // (rows, features), scaled; zero between steps
    float* weight_gradient;  // (net.size), scaled; zero between steps
    float* exposure_gradient;  // (photos, 3), scaled; zero between steps
    float* d_rays;      // by origin and direction, (n, 6), scaled; zero between steps; null: not wanted
    float* d_encoding;  // (samples' capacity, net.encoding): where d_rays comes from
    uint16_t *half_weights, *half_weights_t;
};

// What the gradients of a step are multiplied by to get those of the mean over its rays.
NS_D float gradient_unscale(const StepNumbers& s) { return 1.0f / (kGradientScale * float(s.n_rays)); }

// Gradients of the networks and the table for samples whose `color` holds gradients; defined in backward.cu.
struct BackwardInput {
    Field field;
    Samples samples;
    const float* directions;  // of rays, (n, 3)
    const uint16_t *half_weights, *half_weights_t;
    float* weight_gradient;  // accumulates
    float* table_gradient;   // accumulates; may be null
    float* d_encoding;       // (n, net.encoding), written; may be null
};

NS_END

namespace nerfscene {
namespace gpu {
void color_forward(const Field& f, const cuda::Samples& samples, const float* directions, int64_t expected,
                   Stream stream);
void network_backward(const cuda::BackwardInput& in, int64_t expected, Stream stream);
void halve_weights(const Field& f, uint16_t* half_weights, uint16_t* half_weights_t, Stream stream);
}  // namespace gpu
}  // namespace nerfscene
