// Stages 3 and 5 of a training step: the colours of its samples, and the backward pass through the networks and into the
// table.
//
// In the backward pass a block takes up to 64 samples at a time, 16 per warp. Activations and their gradients stay in
// shared memory. Each warp owns some 16 × 8 tiles of the weights' gradient, and adds the contributions of all of the
// block's samples to them with tensor cores. So atomics are needed only once, when the block ends.
#include "launch.h"
#include "samples.h"

NS_BEGIN

namespace {

constexpr int kBackwardWarps = 4;

template <class S>
__global__ void __launch_bounds__(128) color_kernel(Field f, Samples samples, const float* directions) {
    NS_SHARED(shared);
    Carver carver = {shared, 0};
    const WarpNetwork w = carve_network(carver, f.net, int(blockDim.x) / kWarp, warp_index(), true);
    load_weights(f, w, true);
    __syncthreads();
    const uint32_t n = samples.n(), warps = gridDim.x * (blockDim.x / kWarp);
    const int e = f.net.encoding, ld = first_ld(f.net);
    for (uint32_t tile = blockIdx.x * (blockDim.x / kWarp) + uint32_t(warp_index()); tile * kWarp < n; tile += warps) {
        const uint32_t i = tile * kWarp + uint32_t(lane_index());
        const bool here = i < n;
        uint16_t* row = w.first + lane_index() * ld;
        for (int k = 0; k < e; k += 8)
            *reinterpret_cast<uint4*>(row + k) =
                here ? *reinterpret_cast<const uint4*>(samples.encoding + size_t(i) * e + k) : make_uint4(0, 0, 0, 0);
        Vec3 d = {0, 0, 1};
        if (here) {
            const float* from = directions + 3 * samples.ray[i];
            d = {from[0], from[1], from[2]};
        }
        warp_hidden<S>(f.net, w);
        float rgb[3];
        warp_color<S>(f.net, w, d, rgb);
        if (here) samples.color[i] = make_float4(rgb[0], rgb[1], rgb[2], 0.0f);
    }
}

// A layer's inputs and its outputs' gradients, FP16 (samples, ld): what its weights' gradient is computed from.
struct LayerPair {
    const uint16_t* in;
    int in_ld, in_size;
    const uint16_t* d_out;
    int out_ld, out_size, offset;
};

struct BackwardBuffers {
    uint16_t *encoding, *hidden, *color_in, *color_hidden[2];
    uint16_t *d_output, *d_hidden, *d_last, *d_color_hidden[2];
    float *weight_gradient, *d_encoding;
};
NS_HD BackwardBuffers carve_backward(Carver& c, const Network& net, int tile) {
    BackwardBuffers b = {};
    const size_t n = size_t(tile);
    b.encoding = c.take<uint16_t>(n * (net.encoding + kPadHalves));
    b.hidden = c.take<uint16_t>(n * (net.hidden + kPadHalves));
    b.d_output = c.take<uint16_t>(n * (net.outputs + kPadHalves));
    b.d_hidden = c.take<uint16_t>(n * (net.hidden + kPadHalves));
    if (net.color_layers > 0) {
        b.color_in = c.take<uint16_t>(n * (32 + kPadHalves));
        b.d_last = c.take<uint16_t>(n * (16 + kPadHalves));
        for (int i = 0; i < net.color_layers; ++i) {
            b.color_hidden[i] = c.take<uint16_t>(n * (net.color_hidden + kPadHalves));
            b.d_color_hidden[i] = c.take<uint16_t>(n * (net.color_hidden + kPadHalves));
        }
    }
    b.weight_gradient = c.take<float>(net.size);
    b.d_encoding = c.take<float>(n * (net.encoding + 1));
    return b;
}

// For one warp's 16 samples, rows [row, row + 16) of the buffers: the forward pass, then gradients down to d_hidden.
template <class S>
NS_D void backward_rows(const BackwardInput& in, const BackwardBuffers& b, int row, uint32_t first, uint32_t n) {
    const Network& net = in.field.net;
    const int e = net.encoding, h = net.hidden, o = net.outputs, ch = net.color_hidden, lane = lane_index();
    const int le = e + kPadHalves, lh = h + kPadHalves, lo = o + kPadHalves, lc = ch + kPadHalves;
    const int li = 32 + kPadHalves, ll = 16 + kPadHalves;
    const uint16_t *wt = in.half_weights_t, *w = in.half_weights;
    for (int i = lane; i < 16 * (e / 8); i += kWarp) {
        const int r = i / (e / 8), k = i % (e / 8) * 8;
        const uint32_t s = first + uint32_t(r);
        *reinterpret_cast<uint4*>(b.encoding + (row + r) * le + k) =
            s < n ? *reinterpret_cast<const uint4*>(in.samples.encoding + size_t(s) * e + k) : make_uint4(0, 0, 0, 0);
    }
    __syncwarp();
    uint16_t* hidden = b.hidden + row * lh;
    layer<1, S::kEncoding, S::kHidden>(b.encoding + row * le, le, wt + net.offset[0], e, e, h, ReluHalves{hidden, lh});
    __syncwarp();

    // The outputs' gradients, and the direction's spherical harmonics. Lanes 0 … 15 have a sample each.
    const uint32_t s = first + uint32_t(lane % 16);
    float4 g = make_float4(0, 0, 0, 0);
    float basis[16] = {};
    const int layers = S::layers(net);
    if (s < n) {
        g = in.samples.color[s];
        const float* d = in.directions + 3 * in.samples.ray[s];
        spherical_harmonics(d[0], d[1], d[2], basis, layers > 0);
    }
    const float d_rgb[3] = {g.x, g.y, g.z};
    uint16_t* d_output = b.d_output + row * lo;
    if (layers == 0) {
        if (lane < 16) {
            uint16_t* to = d_output + lane * lo;
            to[0] = to_half_bits(g.w);
            for (int j = 0; j < 9; ++j)
                for (int c = 0; c < 3; ++c) to[1 + j * 3 + c] = to_half_bits(d_rgb[c] * basis[j]);
            for (int j = 28; j < 32; ++j) to[j] = 0;
        }
        __syncwarp();
    } else {
        uint16_t* color_in = b.color_in + row * li;
        uint16_t* d_last = b.d_last + row * ll;
        layer<1, S::kHidden, 16>(hidden, lh, wt + net.offset[1], h, h, 16, PlainHalves{color_in, li});
        if (lane < 16) {
            for (int j = 0; j < 16; ++j) {
                color_in[lane * li + 16 + j] = to_half_bits(basis[j]);
                d_last[lane * ll + j] = j < 3 ? to_half_bits(d_rgb[j]) : uint16_t(0);
            }
        }
        __syncwarp();
        layer<1, S::kColor ? 32 : 0, S::kColor>(color_in, li, wt + net.offset[2], 32, 32, ch,
                                                ReluHalves{b.color_hidden[0] + row * lc, lc});
        __syncwarp();
        if (layers == 2) {
            layer<1, S::kColor, S::kColor>(b.color_hidden[0] + row * lc, lc, wt + net.offset[3], ch, ch, ch,
                                           ReluHalves{b.color_hidden[1] + row * lc, lc});
            __syncwarp();
        }
        const int last = layers - 1;
        uint16_t* d = b.d_color_hidden[last] + row * lc;
        layer<1, 16, S::kColor>(d_last, ll, w + net.offset[2 + layers], 16, 16, ch,
                                MaskedHalves{d, lc, b.color_hidden[last] + row * lc, lc});
        __syncwarp();
        if (layers == 2) {
            uint16_t* below = b.d_color_hidden[0] + row * lc;
            layer<1, S::kColor, S::kColor>(d, lc, w + net.offset[3], ch, ch, ch,
                                           MaskedHalves{below, lc, b.color_hidden[0] + row * lc, lc});
            __syncwarp();
            d = below;
        }
        // Only the first 16 inputs come from the density network; the rest is the direction.
        layer<1, S::kColor, 16>(d, lc, w + net.offset[2], ch, ch, 16, PlainHalves{d_output, lo});
        __syncwarp();
        if (lane < 16) d_output[lane * lo] = to_half_bits(from_half_bits(d_output[lane * lo]) + g.w);
        __syncwarp();
    }
    layer<1, S::kOutputs, S::kHidden>(d_output, lo, w + net.offset[1], o, o, h,
                                      MaskedHalves{b.d_hidden + row * lh, lh, hidden, lh});
    __syncwarp();
}

// Adds the block's samples to the tiles of one layer's gradient that this warp owns. `tile`: the number of tiles in the
// layers before; returns it with this layer's tiles added.
NS_D int add_weight_gradient(const LayerPair& l, float* gradient, int samples, int tile) {
    const int lane = lane_index(), g = lane / 4, p = 2 * (lane % 4);
    const int across = l.out_size / 8, tiles = l.in_size / 16 * across;
    for (int t = 0; t < tiles; ++t) {
        if ((tile + t) % kBackwardWarps != warp_index()) continue;
        const int f = t / across * 16 + g, c = t % across * 8;
        float* to = gradient + l.offset + f * l.out_size + c + p;
        float sum[4] = {to[0], to[1], to[8 * l.out_size], to[8 * l.out_size + 1]};
        for (int s = 0; s < samples; s += 16) {
            auto pair = [](const uint16_t* at, int ld) { return uint32_t(at[0]) | uint32_t(at[ld]) << 16; };
            const uint16_t* in = l.in + (s + p) * l.in_ld + f;
            const uint16_t* out = l.d_out + (s + p) * l.out_ld + c + g;
            const uint32_t a[4] = {pair(in, l.in_ld), pair(in + 8, l.in_ld), pair(in + 8 * l.in_ld, l.in_ld),
                                   pair(in + 8 * l.in_ld + 8, l.in_ld)};
            const uint32_t b[2] = {pair(out, l.out_ld), pair(out + 8 * l.out_ld, l.out_ld)};
            mma(sum, a, b);
        }
        to[0] = sum[0], to[1] = sum[1], to[8 * l.out_size] = sum[2], to[8 * l.out_size + 1] = sum[3];
    }
    return tile + tiles;
}

// Four lanes share a sample's gradient in one level. Neighbouring lanes add to neighbouring addresses, in one row or in
// the rows of neighbouring corners, so that the writes coalesce. `part`: which of the four lanes this is.
constexpr int kScatterLanes = 4;
template <int F>
NS_D void scatter_level(const HashGrid& grid, int level, const float4& at, const float* d, int part, float* gradient) {
    constexpr int kWide = F == 2 ? 2 : 4, kAcross = F / kWide, kAtOnce = kScatterLanes / kAcross;
    const int column = part % kAcross * kWide, first = part / kAcross;
    const bool hashed = grid.hashed[level];
    const uint32_t size = hashed ? grid.size[level] : 0u, side = uint32_t(grid.resolution[level] + 2);
    const Cell<float> cell = locate(at.x, at.y, at.z, float(grid.resolution[level]));
    float g[kWide], share[kWide];
#pragma unroll
    for (int i = 0; i < kWide; ++i) g[i] = d[level * F + column + i];
    float* rows = gradient + size_t(grid.offset[level]) * F + column;
#pragma unroll
    for (int k = 0; k < 8; k += kAtOnce) {
        uint32_t row;
        float weight;
        corner(cell, k + first, hashed, size, side, row, weight);
#pragma unroll
        for (int i = 0; i < kWide; ++i) share[i] = weight * g[i];
        add_row<kWide>(rows + size_t(row) * F, share);
    }
}
NS_D void scatter_any_level(const HashGrid& grid, int level, const float4& at, const float* d, int part, float* gradient) {
    switch (grid.features) {
        case 2: scatter_level<2>(grid, level, at, d, part, gradient); break;
        case 4: scatter_level<4>(grid, level, at, d, part, gradient); break;
        default: scatter_level<8>(grid, level, at, d, part, gradient);
    }
}

template <class S>
__global__ void __launch_bounds__(128) backward_kernel(BackwardInput in, int tile) {
    NS_SHARED(shared);
    const Network& net = in.field.net;
    Carver carver = {shared, 0};
    const BackwardBuffers b = carve_backward(carver, net, tile);
    for (int i = int(threadIdx.x); i < net.size; i += int(blockDim.x)) b.weight_gradient[i] = 0;
    const uint32_t n = in.samples.n();
    const int e = net.encoding, h = net.hidden, ch = net.color_hidden, row = warp_index() * 16;
    const int le = e + kPadHalves, lh = h + kPadHalves, lo = net.outputs + kPadHalves, lc = ch + kPadHalves;
    const bool mine = row < tile;  // with little shared memory, some warps have no samples of their own
    __syncthreads();
    for (uint32_t base = blockIdx.x * uint32_t(tile); base < n; base += gridDim.x * uint32_t(tile)) {
        const uint32_t first = base + uint32_t(row);
        if (mine) backward_rows<S>(in, b, row, first, n);
        __syncthreads();
        int t = add_weight_gradient({b.encoding, le, e, b.d_hidden, lh, h, net.offset[0]}, b.weight_gradient, tile, 0);
        t = add_weight_gradient({b.hidden, lh, h, b.d_output, lo, net.outputs, net.offset[1]}, b.weight_gradient, tile, t);
        if (net.color_layers > 0) {
            const int last = net.color_layers - 1;
            t = add_weight_gradient({b.color_in, 32 + kPadHalves, 32, b.d_color_hidden[0], lc, ch, net.offset[2]},
                                    b.weight_gradient, tile, t);
            if (net.color_layers == 2)
                t = add_weight_gradient({b.color_hidden[0], lc, ch, b.d_color_hidden[1], lc, ch, net.offset[3]},
                                        b.weight_gradient, tile, t);
            add_weight_gradient({b.color_hidden[last], lc, ch, b.d_last, 16 + kPadHalves, 16, net.offset[2 + net.color_layers]},
                                b.weight_gradient, tile, t);
        }
        if (mine) {
            float* d = b.d_encoding + row * (e + 1);
            layer<1, S::kHidden, S::kEncoding>(b.d_hidden + row * lh, lh, in.half_weights + net.offset[0], h, h, e,
                                               Floats{d, e + 1});
            __syncwarp();
            const int levels = in.field.grid.levels;
            if (in.table_gradient) {
                // Neighbouring groups take the same level of different samples. Their rows are far apart, so few
                // atomics conflict.
                for (int i = lane_index(); i < 16 * levels * kScatterLanes; i += kWarp) {
                    const int group = i / kScatterLanes, r = group % 16;
                    const uint32_t s = first + uint32_t(r);
                    if (s < n)
                        scatter_any_level(in.field.grid, group / 16, in.samples.place[s], d + r * (e + 1), i % kScatterLanes,
                                          in.table_gradient);
                }
            }
            if (in.d_encoding) {
                for (int i = lane_index(); i < 16 * e; i += kWarp)
                    if (first + uint32_t(i / e) < n)
                        in.d_encoding[size_t(first + uint32_t(i / e)) * e + i % e] = d[i / e * (e + 1) + i % e];
            }
        }
        __syncthreads();
    }
    for (int i = int(threadIdx.x); i < net.size; i += int(blockDim.x))
        if (b.weight_gradient[i] != 0.0f) atomicAdd(in.weight_gradient + i, b.weight_gradient[i]);
}

__global__ void encode_backward_kernel(Field f, const float* points, const float* d_out, int n, float* d_table) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    const int group = i / kScatterLanes, s = group % n, level = group / n;
    if (level >= f.grid.levels) return;
    const float4 at = make_float4(points[3 * s], points[3 * s + 1], points[3 * s + 2], 0.0f);
    scatter_any_level(f.grid, level, at, d_out + size_t(s) * f.net.encoding, i % kScatterLanes, d_table);
}

__global__ void halve_weights_kernel(Field f, uint16_t* half_weights, uint16_t* half_weights_t) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= f.net.size) return;
    half_weights[i] = to_half_bits(f.weights[i]);
    half_weights_t[i] = to_half_bits(f.weights_t[i]);
}

}  // namespace

NS_END

namespace nerfscene {
namespace gpu {

void color_forward(const Field& f, const cuda::Samples& samples, const float* directions, int64_t expected,
                   Stream stream) {
    const Network& net = f.net;
    cuda::with_sizes(net, [&](auto sizes) {
        const auto kernel = cuda::color_kernel<decltype(sizes)>;
        const cuda::LaunchShape shape = cuda::network_launch(kernel, net, true, expected);
        launch(kernel, shape.blocks, shape.threads, shape.shared, stream, f, samples, directions);
    });
}

void network_backward(const cuda::BackwardInput& in, int64_t expected, Stream stream) {
    const Network& net = in.field.net;
    const Device& device = current_device();
    int tile = 16 * cuda::kBackwardWarps;
    size_t shared = 0;
    for (;; tile /= 2) {
        if (tile < 16) throw Error(cuda::kTooWide);
        cuda::Carver c = {nullptr, 0};
        cuda::carve_backward(c, net, tile);
        shared = c.used;
        if (shared <= device.shared_per_block) break;
    }
    const int threads = cuda::kBackwardWarps * cuda::kWarp;
    cuda::with_sizes(net, [&](auto sizes) {
        const auto kernel = cuda::backward_kernel<decltype(sizes)>;
        const int blocks = cuda::resident_blocks(kernel, expected, tile, threads, shared);
        launch(kernel, blocks, threads, shared, stream, in, tile);
    });
}

void encode_backward(const Field& f, const float* points, const float* d_out, int n, float* d_table, Stream stream) {
    if (n == 0) return;
    launch(cuda::encode_backward_kernel, blocks_for(int64_t(n) * f.grid.levels * cuda::kScatterLanes, 128), 128, 0, stream, f, points, d_out, n, d_table);
}

void halve_weights(const Field& f, uint16_t* half_weights, uint16_t* half_weights_t, Stream stream) {
    launch(cuda::halve_weights_kernel, blocks_for(f.net.size, 128), 128, 0, stream, f, half_weights, half_weights_t);
}

}  // namespace gpu
}  // namespace nerfscene
