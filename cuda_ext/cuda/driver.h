// What the CUDA module's bindings call: plain functions on device pointers, each with a stream. This header needs no
// CUDA headers.
#pragma once
#include <memory>
#include <vector>

#include "../include/training.h"
#include "runtime.h"

namespace nerfscene {

// Rays to trace; arrays of n (or n × 3) floats on the device.
struct DeviceRays {
    float *origins, *directions, *jitter, *targets, *backgrounds;
    int n;
    const int* photos;  // training: the photo whose exposure applies to each ray; null: none
    float* d_rays;      // training, output: gradients with respect to origin and direction, (n, 6); null: not wanted
    const float* known; // training: the distance to what each ray sees, 0: unknown; null: all are unknown
};
// A picture to render: rows [row0, row1) × columns [col0, col1), into arrays on the device.
struct DevicePicture {
    CameraDesc camera;
    float background[3];
    int row0, row1, col0, col1;
    float *rgb, *depth, *accumulation;
    const int* cancel;  // the kernel stops soon after this becomes non-zero; may be null
};

// Outputs are overwritten unless a comment says otherwise.
namespace gpu {
// Computes a field's `room` (kCoarseCells bytes) from its occupancy bits. `scratch` has twice as many bytes.
void update_room(const Field& f, uint8_t* scratch, uint8_t* room, Stream stream);
void encode(const Field& f, const float* points, int n, float* out, Stream stream);
// Adds to d_table.
void encode_backward(const Field& f, const float* points, const float* d_out, int n, float* d_table, Stream stream);
void evaluate(const Field& f, const float* points, const float* directions, int n, float* density, float* rgb,
              Stream stream);  // rgb and directions may be null
void evaluate_backward(const Field& f, const float* points, const float* directions, const float* d_density,
                       const float* d_rgb, int n, float* d_encoding, float* d_weights, Stream stream);
void march(const Field& f, float coarseness, const DeviceRays& rays, int capacity, int* counts, float* t,
           float* length, float* points, Stream stream);
void trace(const Field& f, const March& march, const DeviceRays& rays, float* rgb, float* depth, float* accumulation,
           Stream stream);
void render(const Field& f, const March& march, const DevicePicture& picture, Stream stream);
void multiply(float* values, float factor, int64_t n, Stream stream);
void to_half(const float* from, uint16_t* to, int64_t n, Stream stream);
void pixel_rays(const CameraDesc& camera, const float* pixels, int n, float* origins, float* directions,
                Stream stream);
void adam(const AdamStep& step, int n, const float* gradient, float* parameters, float* moments, Stream stream);
}  // namespace gpu

// The same as on the CPU (cpu/trainer.h). All pointers are to device memory, except photos.cameras and
// photos.first_pixel, whose arrays on the host are copied.
class Trainer {
  public:
    Trainer(TrainState state, Photos photos, uint32_t seed);
    ~Trainer();
    static size_t bytes(const Field& f);  // of device memory that it allocates itself, besides its samples
    // Takes up to `steps` steps, or fewer if `seconds` run out first. Waits for the device only every few steps.
    TrainReport run(const TrainOptions& options, int64_t steps, double seconds);
    // For tests: computes the loss and gradients of given rays and updates nothing. All outputs are on the device.
    TrainReport gradients(const TrainOptions& options, DeviceRays rays, float* d_table, float* d_weights,
                          float* d_exposures = nullptr);
    void use_cameras(const CameraDesc* cameras);  // the same photos' refined cameras
    int n_photos() const;
    bool has_sizes(size_t table, size_t weights) const;  // whether the gradients' arrays have these sizes
    int64_t step = 0;
    uint64_t rays_drawn = 0;
    double survivors_per_ray = 0;
    float occupancy_mean = 1e30f;

  private:
    struct Work;
    std::unique_ptr<Work> work_;
};

}  // namespace nerfscene
