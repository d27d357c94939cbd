// The arrays, options and report of a training run, the same on every device. Plain data.
#pragma once
#include "desc.h"

namespace nerfscene {

// Everything that a training run changes, as pointers into arrays that Python allocated.
struct TrainState {
    Field field;
    float* table;            // (rows, features), the master copy
    uint16_t* half_table;    // the copy that the kernels read
    float* table_moments;    // (rows, 2, features)
    float *weights, *weights_t;
    float* weight_moments;   // (2, net.size)
    float* occupancy_values; // (cells)
    uint32_t* occupancy;     // bits
    uint32_t* coarse;        // the field's coarse grid; CPU only
    uint8_t* room;           // the field's room; GPU only
    const uint32_t* allowed; // bits of cells that may ever be occupied; null: all
    float* exposures;        // (photos, 3): logarithms of the photos' gains
    float* exposure_moments; // (photos, 2, 3)
    float* camera_gradients; // (photos, kCameraGradient): summed over steps; null: not computed
};

struct TrainOptions {
    float table_rate, weight_rate, beta1, beta2, epsilon;
    float table_pull;        // towards zero, for the rows that have a gradient
    float min_weight, stop_transmittance, coarseness;
    float huber_delta, distortion, full_gradient_distance;
    int target_samples;      // how many samples a step should keep
    float occupancy_decay, occupancy_threshold;
    int occupancy_every, occupancy_cells;  // steps between updates; cells probed in each
    float exposure_rate, exposure_pull;    // rate 0: exposures stay; the pull is towards 0, per ray
    float sky_pull, sky_distance;  // for upward rays through plain parts of photos; 0: none. Scene units
    float depth_pull;  // towards the rays' known depths, but not in steps that collect cameras' gradients; 0: none
    float depth_slack, depth_most;  // as logarithms of distance: errors up to `slack` are free, and none costs over `most`
    int camera_every;  // every so many steps one adds to the cameras' gradients; 0: none does
};

struct TrainReport {
    int64_t steps, rays, candidates, survivors, dropped;
    double squared_error, occupied_fraction;
    double seconds_trace, seconds_table, seconds_occupancy;
};

}  // namespace nerfscene
