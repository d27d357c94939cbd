// Stages 6 and 8 of a training step, only in steps that collect the cameras' gradients: gradients go from the samples
// to their rays, and from the rays to their photos' cameras. Only step.cu includes this.
#pragma once
#include "../include/refine.h"
#include "samples.h"

NS_BEGIN

namespace {

// Adds one level's contribution to the gradient with respect to a sample's unit-cube point. d: its encoding's gradient.
template <int F>
NS_D void add_position_gradient(const HashGrid& grid, const uint16_t* table, int level, const float4& at, const float* d,
                                Vec3& to) {
    uint32_t row[8];
    float weight[8];
    const float resolution = float(grid.resolution[level]);
    const Cell<float> cell = locate(at.x, at.y, at.z, resolution);
    level_corners(grid, level, cell, row, weight);
    const uint16_t* rows = table + size_t(grid.offset[level]) * F;
    float v[8];  // for each corner: the dot product of its features and d
#pragma unroll
    for (int k = 0; k < 8; ++k) {
        float f[F];
        load_table_row<F>(rows + size_t(row[k]) * F, f);
        v[k] = 0;
#pragma unroll
        for (int i = 0; i < F; ++i) v[k] += f[i] * d[level * F + i];
    }
    float dx, dy, dz;
    interpolation_gradient(v, cell.fx, cell.fy, cell.fz, dx, dy, dz);
    to.x += resolution * dx, to.y += resolution * dy, to.z += resolution * dz;
}

// Gradients of the samples' encodings → added to the gradients of their rays. One thread per sample.
__global__ void __launch_bounds__(128) ray_gradient_kernel(TrainInput in) {
    const Field& f = in.state.field;
    const Samples& s = in.samples;
    const uint32_t n = s.n();
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        const float4 at = s.place[i];
        const float* d = in.d_encoding + size_t(i) * f.net.encoding;
        Vec3 g = {0, 0, 0};
        for (int level = 0; level < f.grid.levels; ++level) switch (f.grid.features) {
            case 2: add_position_gradient<2>(f.grid, f.table, level, at, d, g); break;
            case 4: add_position_gradient<4>(f.grid, f.table, level, at, d, g); break;
            default: add_position_gradient<8>(f.grid, f.table, level, at, d, g);
        }
        g = to_unit_gradient(f.space, {at.x, at.y, at.z}, g);
        float* to = in.d_rays + 6 * size_t(s.ray[i]);
        atomicAdd(to, g.x), atomicAdd(to + 1, g.y), atomicAdd(to + 2, g.z);
        atomicAdd(to + 3, at.w * g.x), atomicAdd(to + 4, at.w * g.y), atomicAdd(to + 5, at.w * g.z);
    }
}

// Gradients of the rays → added to the gradients of their photos' cameras. Clears the rays'. One thread per ray.
__global__ void __launch_bounds__(128) camera_gradient_kernel(TrainInput in) {
    const int n = in.numbers->n_rays;
    const float unscale = gradient_unscale(*in.numbers);
    for (int i = int(blockIdx.x * blockDim.x + threadIdx.x); i < n; i += int(gridDim.x * blockDim.x)) {
        float* ray = in.d_rays + 6 * size_t(i);
        float d[6], g[kCameraGradient];
        bool any = false;
        for (int k = 0; k < 6; ++k) d[k] = ray[k] * unscale, any |= ray[k] != 0.0f, ray[k] = 0.0f;
        if (!any) continue;
        const int photo = in.rays.photos[i];
        camera_gradient(in.photos.cameras[photo], in.rays.pixels[2 * i], in.rays.pixels[2 * i + 1], d, g);
        float* to = in.state.camera_gradients + size_t(kCameraGradient) * photo;
        for (int k = 0; k < kCameraGradient; ++k) atomicAdd(to + k, g[k]);
    }
}

}  // namespace

NS_END
