// The arrays, options and report of a training run: plain data, the same on every device.
#pragma once
#include "desc.h"

namespace nerfscene {

// Everything that a training run changes, as pointers to Python's arrays, or on a GPU to their copies there.
struct TrainState {
    Field field;
    float* table;            // (rows, features), the master copy
    uint16_t* half_table;    // the FP16 copy that the kernels read
    float* table_moments;    // (rows, 2, features)
    float *weights, *weights_t;
    float* weight_moments;   // (2, net.size)
    float* occupancy_values; // (cells)
    uint32_t* occupancy;     // one bit per cell
    uint32_t* coarse;        // the field's coarse grid; CPU only
    uint8_t* room;           // the field's room; GPU only
    const uint32_t* allowed; // one bit per cell: whether it may ever be occupied; null: all may
    float* exposures;        // (photos, 3): logarithms of the photos' gains
    float* exposure_moments; // (photos, 2, 3)
    float* photo_cells;      // (cells of the photos, kCellNumbers); null: there are none
    float* camera_gradients; // (photos, kCameraGradient): summed over steps; null: not computed
};

struct TrainOptions {
    float table_rate, weight_rate, beta1, beta2, epsilon;
    float table_pull;        // weight decay of the rows that have a gradient
    float pull_growth;       // by which power of a level's resolution it grows, see level_pull
    float min_weight, stop_transmittance, coarseness;
    float huber_delta, distortion, full_gradient_distance;
    int target_samples;      // how many samples the rays of a step should meet that are worth a colour
    float occupancy_decay, occupancy_threshold;
    int occupancy_every, occupancy_cells;  // steps between updates; cells probed in each
    float exposure_rate, exposure_pull;    // rate 0: exposures are fixed; pull: see exposure.h
    float sky_pull, sky_distance;  // the sky loss's weight (0: none) and distance (scene units); see photos.h, is_plain
    float depth_pull;  // the depth loss's weight, 0: none; not used in steps that collect cameras' gradients
    float depth_slack, depth_most;  // in log distance: errors up to `slack` cost nothing, and no error costs more than `most`
    float thinning;    // CPU: samples whose gradient is below so many times the mean are thinned out; 0: none are
    int bfloat16;  // CPU: whether the networks' products are in bfloat16 where the processor has that; else in float
    int camera_every;  // one step in this many adds to the cameras' gradients; 0: none does
    int errors_every;  // one ray in this many adds its error to the photos' cells; 0: none does
};

struct TrainReport {
    int64_t steps, rays, candidates, survivors, dropped;  // survivors: the samples with a gradient
    double squared_error, occupied_fraction;
    double seconds_trace, seconds_table, seconds_occupancy;
};

}  // namespace nerfscene
