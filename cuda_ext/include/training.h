// What a training run is made of and told, the same for every driver. Plain data.
#pragma once
#include "desc.h"

namespace nerfscene {

// Everything a training run owns, as pointers into arrays that Python allocated.
struct TrainState {
    Field field;
    float* table;            // (rows, features), the master copy
    uint16_t* half_table;    // the copy that is read
    float* table_moments;    // (rows, 2, features)
    float *weights, *weights_t;
    float* weight_moments;   // (2, net.size)
    float* occupancy_values; // (cells)
    uint32_t* occupancy;     // bits
    uint32_t* coarse;        // the field's coarse grid, on the CPU
    uint8_t* room;           // the field's room, on a GPU
    const uint32_t* allowed; // bits of cells that may ever be occupied; null: all
    float* exposures;        // (photos, 3): logarithms of what each photo multiplies the scene's colours by
    float* exposure_moments; // (photos, 2, 3)
    float* camera_gradients; // (photos, kCameraGradient): summed up over steps; null: never computed
};

struct TrainOptions {
    float table_rate, weight_rate, beta1, beta2, epsilon;
    float table_pull;        // of the rows that have a gradient, towards zero
    float min_weight, stop_transmittance, coarseness;
    float huber_delta, distortion, full_gradient_distance;
    int target_samples;      // survivors wanted in a step
    float occupancy_decay, occupancy_threshold;
    int occupancy_every, occupancy_cells;  // steps between updates; cells probed at random in each
    float exposure_rate, exposure_pull;    // 0: exposures stay; the pull is towards 0, per ray
    float sky_pull, sky_distance;  // of upward rays through plain parts of photos; 0: none. Scene units
    float depth_pull;  // of rays towards their known depth; skipped in steps that gather cameras' gradients; 0: none
    float depth_slack, depth_most;  // logarithms of distance: how far off costs nothing; and no more than so far off
    int camera_every;  // steps between those that add to the cameras' gradients; 0: none does
};

struct TrainReport {
    int64_t steps, rays, candidates, survivors, dropped;
    double squared_error, occupied_fraction;
    double seconds_trace, seconds_table, seconds_occupancy;
};

}  // namespace nerfscene
