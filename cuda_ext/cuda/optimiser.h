// Stage 7 of a training step: Adam on the table, the networks' weights and the photos' exposures.
// Only step.cu includes this.
#pragma once
#include "../include/exposure.h"
#include "samples.h"

NS_BEGIN

namespace {

// Updates the rows that have a gradient, one thread per row. Clears the gradient and rewrites the row's FP16 copy,
// which is the one that the kernels read.
template <int F>
__global__ void __launch_bounds__(256) table_kernel(TrainInput in, int rows) {
    const int row = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (row >= rows) return;
    float* gradient = in.table_gradient + size_t(row) * F;
    float g[F];
    bool any = false;
    load_floats<F>(gradient, g);
#pragma unroll
    for (int i = 0; i < F; ++i) any |= g[i] != 0.0f;
    if (!any) return;
    const TrainOptions& o = in.numbers->options;
    const HashGrid& grid = in.state.field.grid;
    int level = 0;
    while (level + 1 < grid.levels && uint32_t(row) >= grid.offset[level + 1]) ++level;
    const float pull = level_pull(grid, level, o.table_pull, o.pull_growth);
    const AdamStep step = {o.table_rate, o.beta1, o.beta2, o.epsilon, pull};
    const float unscale = gradient_unscale(*in.numbers);
    float *p = in.state.table + size_t(row) * F, *both = in.state.table_moments + size_t(row) * 2 * F;
    float parameter[F], moments[2 * F];
    load_floats<F>(p, parameter);
    load_floats<2 * F>(both, moments);
#pragma unroll
    for (int i = 0; i < F; ++i) adam(step, g[i] * unscale, parameter[i], moments[i], moments[F + i]);
#pragma unroll
    for (int i = 0; i < F; ++i) g[i] = 0.0f;
    store_floats<F>(p, parameter);
    store_floats<2 * F>(both, moments);
    store_floats<F>(gradient, g);
    store_halves<F>(in.state.half_table + size_t(row) * F, parameter);
}

// Updates the weights, one thread per weight. Clears the gradient and rewrites all other copies of the weight.
__global__ void weight_kernel(TrainInput in) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    const Network& net = in.state.field.net;
    if (i >= net.size) return;
    const TrainOptions& o = in.numbers->options;
    const AdamStep step = {o.weight_rate, o.beta1, o.beta2, o.epsilon};
    float p = in.state.weights[i], m = in.state.weight_moments[i], v = in.state.weight_moments[net.size + i];
    adam(step, in.weight_gradient[i] * gradient_unscale(*in.numbers), p, m, v);
    in.weight_gradient[i] = 0.0f;
    in.state.weights[i] = p, in.state.weight_moments[i] = m, in.state.weight_moments[net.size + i] = v;
    int l = 0;
    while (l + 1 < net.layers && i >= net.offset[l + 1]) ++l;
    const int within = i - net.offset[l], t = net.offset[l] + within % net.out[l] * net.in[l] + within / net.out[l];
    in.state.weights_t[t] = p;
    in.half_weights[i] = in.half_weights_t[t] = to_half_bits(p);
}

// Updates the photos' exposures, then shifts them so that their mean over all photos is 0 again. One warp.
__global__ void exposure_kernel(TrainInput in) {
    const TrainOptions& o = in.numbers->options;
    if (!(o.exposure_rate > 0)) return;
    const int n = in.photos.n;
    const AdamStep step = {o.exposure_rate, o.beta1, o.beta2, o.epsilon};
    const float unscale = gradient_unscale(*in.numbers);
    float sum[3] = {0, 0, 0};
    for (int photo = lane_index(); photo < n; photo += kWarp) {
        float* gradient = in.exposure_gradient + 3 * photo;
        float* exposure = in.state.exposures + 3 * photo;
        const float g[3] = {gradient[0] * unscale, gradient[1] * unscale, gradient[2] * unscale};
        update_exposure(step, g, exposure, in.state.exposure_moments + 6 * photo);
        for (int c = 0; c < 3; ++c) sum[c] += exposure[c], gradient[c] = 0;
    }
    for (int c = 0; c < 3; ++c) sum[c] = warp_sum(sum[c]) / float(n);
    for (int photo = lane_index(); photo < n; photo += kWarp)
        for (int c = 0; c < 3; ++c) in.state.exposures[3 * photo + c] -= sum[c];
}

}  // namespace

NS_END
