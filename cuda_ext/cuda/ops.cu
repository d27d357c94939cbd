// Single parts of the field, for tests, tools and users of the Python modules. None of this needs to be fast.
#include "../include/adam.h"
#include "launch.h"
#include "samples.h"

NS_BEGIN

namespace {

__global__ void encode_kernel(Field f, const float* points, int n, float* out) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= n) return;
    const float *p = points + 3 * i;
    float* to = out + size_t(i) * f.net.encoding;
    const int features = f.grid.features;
    for (int l = 0; l < f.grid.levels; ++l) switch (features) {
        case 2: encode_level<2>(f.grid, f.table, l, p[0], p[1], p[2], to + l * 2); break;
        case 4: encode_level<4>(f.grid, f.table, l, p[0], p[1], p[2], to + l * 4); break;
        default: encode_level<8>(f.grid, f.table, l, p[0], p[1], p[2], to + l * 8);
    }
    for (int k = f.grid.levels * features; k < f.net.encoding; ++k) to[k] = 0.0f;
}

__global__ void __launch_bounds__(128) evaluate_kernel(Field f, const float* points, const float* directions, int n,
                                                       float* density, float* rgb) {
    NS_SHARED(shared);
    Carver carver = {shared, 0};
    const WarpNetwork w = carve_network(carver, f.net, int(blockDim.x) / kWarp, warp_index(), true);
    load_weights(f, w, true);
    __syncthreads();
    for (int base = int(blockIdx.x * blockDim.x); base < n; base += int(gridDim.x * blockDim.x)) {
        const int i = base + int(threadIdx.x);
        const float* p = points + 3 * ns_min(i, n - 1);
        encode_row(f, p[0], p[1], p[2], w.first + lane_index() * first_ld(f.net));
        const float raw = warp_density<AnySizes>(f.net, w);
        if (i < n) density[i] = density_activation(raw);
        if (rgb) {
            const float* d = directions + 3 * ns_min(i, n - 1);
            float c[3];
            warp_color<AnySizes>(f.net, w, {d[0], d[1], d[2]}, c);
            if (i < n) rgb[3 * i] = c[0], rgb[3 * i + 1] = c[1], rgb[3 * i + 2] = c[2];
        }
    }
}

// For evaluate_backward: turns points into samples, each on its own ray.
__global__ void make_samples_kernel(Field f, Samples s, const float* points) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= int(*s.count)) return;
    const float* p = points + 3 * i;
    s.place[i] = make_float4(p[0], p[1], p[2], 1.0f);
    s.ray[i] = i;
    encode_row(f, p[0], p[1], p[2], s.encoding + size_t(i) * f.net.encoding);
}
// Gradients of density and colour → gradients of the raw outputs, before the activations, times the loss scale.
__global__ void raw_gradients_kernel(Samples s, const float* density, const float* d_density, const float* d_rgb) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= int(*s.count)) return;
    const float4 c = s.color[i];
    const float k = kGradientScale;
    s.color[i] = make_float4(k * d_rgb[3 * i] * color_gradient(c.x), k * d_rgb[3 * i + 1] * color_gradient(c.y),
                             k * d_rgb[3 * i + 2] * color_gradient(c.z),
                             k * d_density[i] * density_activation_gradient(density[i]));
}

__global__ void multiply_kernel(float* values, float factor, int64_t n) {
    for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += int64_t(gridDim.x) * blockDim.x)
        values[i] *= factor;
}
__global__ void to_half_kernel(const float* from, uint16_t* to, int64_t n) {
    for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += int64_t(gridDim.x) * blockDim.x)
        to[i] = to_half_bits(from[i]);
}
__global__ void adam_kernel(AdamStep step, int n, const float* gradient, float* parameters, float* moments) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) adam(step, gradient[i], parameters[i], moments[i], moments[n + i]);
}

}  // namespace

NS_END

namespace nerfscene {
namespace gpu {

void encode(const Field& f, const float* points, int n, float* out, Stream stream) {
    if (n > 0) launch(cuda::encode_kernel, blocks_for(n, 128), 128, 0, stream, f, points, n, out);
}

void evaluate(const Field& f, const float* points, const float* directions, int n, float* density, float* rgb,
              Stream stream) {
    if (n == 0) return;
    const cuda::LaunchShape shape = cuda::network_launch(cuda::evaluate_kernel, f.net, true, n);
    launch(cuda::evaluate_kernel, shape.blocks, shape.threads, shape.shared, stream, f, points, directions, n, density, rgb);
}

void evaluate_backward(const Field& f, const float* points, const float* directions, const float* d_density,
                       const float* d_rgb, int n, float* d_encoding, float* d_weights, Stream stream) {
    zero(d_weights, sizeof(float) * f.net.size, stream);
    if (n == 0) return;
    const size_t size = size_t(n);
    Buffer<float4> place(size), state(size), color(size);
    Buffer<int> ray(size);
    Buffer<uint16_t> encoding(size * f.net.encoding), half_weights(f.net.size), half_weights_t(f.net.size);
    Buffer<float> density(size), rgb(3 * size);
    Buffer<uint32_t> count(1);
    const uint32_t samples = uint32_t(n);
    copy(count.data(), &samples, sizeof(samples), stream);
    const cuda::Samples s = {place.data(), state.data(), color.data(), nullptr, ray.data(), encoding.data(), samples,
                             count.data()};
    halve_weights(f, half_weights.data(), half_weights_t.data(), stream);
    launch(cuda::make_samples_kernel, blocks_for(n, 128), 128, 0, stream, f, s, points);
    evaluate(f, points, directions, n, density.data(), rgb.data(), stream);
    color_forward(f, s, directions, n, stream);
    launch(cuda::raw_gradients_kernel, blocks_for(n, 128), 128, 0, stream, s,
           static_cast<const float*>(density.data()), d_density, d_rgb);
    network_backward({f, s, directions, half_weights.data(), half_weights_t.data(), d_weights, nullptr, d_encoding}, n, stream);
    multiply(d_encoding, 1.0f / cuda::kGradientScale, int64_t(n) * f.net.encoding, stream);
    multiply(d_weights, 1.0f / cuda::kGradientScale, f.net.size, stream);
    synchronize(stream);  // the kernels still use the buffers
}

void multiply(float* values, float factor, int64_t n, Stream stream) {
    if (n > 0) launch(cuda::multiply_kernel, blocks_for(n < (1 << 20) ? n : 1 << 20, 128), 128, 0, stream, values, factor, n);
}
void to_half(const float* from, uint16_t* to, int64_t n, Stream stream) {
    if (n > 0) launch(cuda::to_half_kernel, blocks_for(n < (1 << 20) ? n : 1 << 20, 128), 128, 0, stream, from, to, n);
}
void adam(const AdamStep& step, int n, const float* gradient, float* parameters, float* moments, Stream stream) {
    if (n > 0) launch(cuda::adam_kernel, blocks_for(n, 128), 128, 0, stream, step, n, gradient, parameters, moments);
}

}  // namespace gpu
}  // namespace nerfscene
