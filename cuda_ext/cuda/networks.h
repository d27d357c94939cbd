// The networks for one warp: one sample per lane, FP16 activations in shared memory, products on tensor cores with FP32
// accumulation.
#pragma once
#include "../include/desc.h"
#include "../include/hashgrid.h"
#include "../include/network.h"
#include "device.h"
#include "launch.h"

NS_BEGIN

constexpr int kPadHalves = 8;  // added to each row in shared memory, so that loads from eight rows have no bank conflicts

// Allocates shared memory piece by piece. With a null base it only counts bytes.
struct Carver {
    unsigned char* base;
    size_t used;
    template <class T>
    NS_HD T* take(size_t n) {
        T* p = base ? reinterpret_cast<T*>(base + used) : nullptr;
        used += (n * sizeof(T) + 15) / 16 * 16;
        return p;
    }
};

// One layer for M·16 samples: out = in · W. `w_t` is W transposed, (n × k) in FP16, with row stride `ld`. Calls
// sink(row, column, a, b) with the outputs of two neighbouring columns. K and N are the layer's sizes if they are known
// at compile time, otherwise 0. All lanes of the warp must take part.
template <int M, int K, int N, class Sink>
NS_D void layer(const uint16_t* in, int in_ld, const uint16_t* w_t, int ld, int k_size, int n_size, Sink sink) {
    const int lane = lane_index(), g = lane / 4, p = 2 * (lane % 4);
    const int k_end = K ? K : k_size, n_end = N ? N : n_size;
    constexpr int kKept = K ? K / 16 : 1;
    uint32_t a[M][kKept][4];
    auto load_a = [&](int m, int k, uint32_t* to) {
        const uint16_t* row = in + (m * 16 + g) * in_ld + k + p;
        to[0] = *reinterpret_cast<const uint32_t*>(row);
        to[1] = *reinterpret_cast<const uint32_t*>(row + 8 * in_ld);
        to[2] = *reinterpret_cast<const uint32_t*>(row + 8);
        to[3] = *reinterpret_cast<const uint32_t*>(row + 8 * in_ld + 8);
    };
    if constexpr (K != 0) {
#pragma unroll
        for (int m = 0; m < M; ++m)
#pragma unroll
            for (int k = 0; k < K; k += 16) load_a(m, k, a[m][k / 16]);
    }
#pragma unroll
    for (int n = 0; n < n_end; n += 8) {
        float sum[M][4] = {};
#pragma unroll
        for (int k = 0; k < k_end; k += 16) {
            const uint16_t* column = w_t + (n + g) * ld + k + p;
            const uint32_t b[2] = {*reinterpret_cast<const uint32_t*>(column),
                                   *reinterpret_cast<const uint32_t*>(column + 8)};
#pragma unroll
            for (int m = 0; m < M; ++m) {
                if constexpr (K == 0) load_a(m, k, a[m][0]);
                mma(sum[m], a[m][K ? k / 16 : 0], b);
            }
        }
#pragma unroll
        for (int m = 0; m < M; ++m) {
            sink(m * 16 + g, n + p, sum[m][0], sum[m][1]);
            sink(m * 16 + g + 8, n + p, sum[m][2], sum[m][3]);
        }
    }
}

// The sinks: rows of FP16 with or without ReLU, and rows of FP32.
struct ReluHalves {
    uint16_t* to;
    int ld;
    NS_D void operator()(int row, int column, float a, float b) const {
        *reinterpret_cast<uint32_t*>(to + row * ld + column) = pack_halves(fmaxf(a, 0.0f), fmaxf(b, 0.0f));
    }
};
struct PlainHalves {
    uint16_t* to;
    int ld;
    NS_D void operator()(int row, int column, float a, float b) const {
        *reinterpret_cast<uint32_t*>(to + row * ld + column) = pack_halves(a, b);
    }
};
// Gradients through a ReLU: zero where the activation was zero.
struct MaskedHalves {
    uint16_t* to;
    int ld;
    const uint16_t* activation;
    int activation_ld;
    NS_D void operator()(int row, int column, float a, float b) const {
        const uint16_t* was = activation + row * activation_ld + column;
        *reinterpret_cast<uint32_t*>(to + row * ld + column) = pack_halves(was[0] ? a : 0.0f, was[1] ? b : 0.0f);
    }
};
struct Floats {
    float* to;
    int ld;
    NS_D void operator()(int row, int column, float a, float b) const {
        to[row * ld + column] = a;
        to[row * ld + column + 1] = b;
    }
};
// Keeps the first of eight columns, one row per lane. Within eight rows, row r comes from lane 4 r.
struct FirstColumn {
    float& mine;
    NS_D void operator()(int row, int, float a, float) const {
        const float there = __shfl_sync(kAllLanes, a, lane_index() % 8 * 4);
        if (row / 8 == lane_index() / 8) mine = there;
    }
};

// The sizes of a network as compile-time constants, for kernels specialised for them. 0 means that a size comes from
// the descriptor.
template <int E, int H, int C, int L>
struct Sizes {
    static constexpr int kEncoding = E, kHidden = H, kColor = C;
    static constexpr int kOutputs = E == 0 ? 0 : (L == 0 ? 32 : 16);
    static NS_D int layers(const Network& net) { return E ? L : net.color_layers; }
};
using AnySizes = Sizes<0, 0, 0, 0>;

// Calls f with this network's Sizes, or with AnySizes if there is no specialisation for it.
template <class F>
void with_sizes(const Network& net, F f) {
    if (net.encoding == 32 && net.hidden == 32 && net.color_layers == 0)
        f(Sizes<32, 32, 0, 0>());
    else if (net.encoding == 32 && net.hidden == 64 && net.color_hidden == 64 && net.color_layers == 2)
        f(Sizes<32, 64, 64, 2>());
    else
        f(AnySizes());
}

NS_HD int larger(int a, int b) { return a > b ? a : b; }
// The row stride of a warp's two buffers, in FP16 numbers, and of its outputs, in floats.
NS_HD int first_ld(const Network& net) {
    return larger(net.encoding, net.color_layers > 0 ? larger(32, net.color_hidden) : 0) + kPadHalves;
}
NS_HD int second_ld(const Network& net) {
    return larger(net.hidden, net.color_layers > 0 ? net.color_hidden : 0) + kPadHalves;
}
NS_HD int output_ld(const Network& net) { return net.outputs + 1; }

// What a warp needs to run the networks: the weights (shared by its block), and its own two buffers and outputs.
struct WarpNetwork {
    const uint16_t* w[kMaxLayers];  // (out × in) in FP16, rows padded
    uint16_t *first, *second;       // (32, ld)
    float* output;                  // (32, ld), if colours are wanted
    int* slots;                     // 32, for next_samples
};
template <class C>
NS_HD WarpNetwork carve_network(C& carver, const Network& net, int warps, int warp, bool color) {
    WarpNetwork w = {};
    const int layers = color ? net.layers : 2;
    for (int i = 0; i < layers; ++i) w.w[i] = carver.template take<uint16_t>(size_t(net.out[i]) * (net.in[i] + kPadHalves));
    for (int i = 0; i < warps; ++i) {
        uint16_t* first = carver.template take<uint16_t>(size_t(kWarp) * first_ld(net));
        uint16_t* second = carver.template take<uint16_t>(size_t(kWarp) * second_ld(net));
        float* output = carver.template take<float>(size_t(kWarp) * (color ? output_ld(net) : 0));
        int* slots = carver.template take<int>(kWarp);
        if (i == warp) w.first = first, w.second = second, w.output = output, w.slots = slots;
    }
    return w;
}
inline size_t network_bytes(const Network& net, int warps, bool color) {
    Carver c = {nullptr, 0};
    carve_network(c, net, warps, -1, color);
    return c.used;
}

// The shape of a launch of a kernel that runs the networks: up to four warps per block, as many as fit in the GPU's
// shared memory, and no more blocks than the GPU runs at once.
struct LaunchShape {
    int blocks, threads;
    size_t shared;
};
// The number of blocks to launch: no more than the GPU runs at once, and no more than there is work for.
template <class Kernel>
int resident_blocks(Kernel kernel, int64_t items, int a_block, int threads, size_t shared) {
    const int64_t together = int64_t(gpu::current_device().multiprocessors) * gpu::blocks_at_once(kernel, threads, shared);
    return int(ns_max<int64_t>(1, ns_min((items + a_block - 1) / a_block, together)));
}
constexpr const char* kTooWide =
    "these networks are too wide for this GPU's shared memory; choose narrower ones "
    "(--field.hidden, --field.color-hidden)";
template <class Kernel>
LaunchShape network_launch(Kernel kernel, const Network& net, bool color, int64_t lanes) {
    const gpu::Device& device = gpu::current_device();
    int warps = 4;
    while (warps > 1 && network_bytes(net, warps, color) > device.shared_per_block) warps /= 2;
    const size_t shared = network_bytes(net, warps, color);
    if (shared > device.shared_per_block) throw gpu::Error(kTooWide);
    const int threads = warps * kWarp;
    return {resident_blocks(kernel, lanes, threads, threads, shared), threads, shared};
}

// The block's threads copy the weights to shared memory. A barrier must follow.
NS_D void load_weights(const Field& f, const WarpNetwork& w, bool color) {
    const int layers = color ? f.net.layers : 2;
    for (int l = 0; l < layers; ++l) {
        const int k = f.net.in[l], n = f.net.out[l];
        uint16_t* to = const_cast<uint16_t*>(w.w[l]);
        const float* from = f.weights_t + f.net.offset[l];
        for (int i = int(threadIdx.x); i < k * n; i += int(blockDim.x))
            to[i / k * (k + kPadHalves) + i % k] = to_half_bits(from[i]);
    }
}

// --- encoding ----------------------------------------------------------------------------------------
template <int F>
NS_D void load_table_row(const uint16_t* at, float* row) {
    if constexpr (F == 8) {
        const uint4 v = __ldg(reinterpret_cast<const uint4*>(at));
        const uint32_t w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) row[2 * i] = from_half_bits(uint16_t(w[i])), row[2 * i + 1] = from_half_bits(uint16_t(w[i] >> 16));
    } else if constexpr (F == 4) {
        const uint2 v = __ldg(reinterpret_cast<const uint2*>(at));
        row[0] = from_half_bits(uint16_t(v.x)), row[1] = from_half_bits(uint16_t(v.x >> 16));
        row[2] = from_half_bits(uint16_t(v.y)), row[3] = from_half_bits(uint16_t(v.y >> 16));
    } else {
        const uint32_t v = __ldg(reinterpret_cast<const uint32_t*>(at));
        row[0] = from_half_bits(uint16_t(v)), row[1] = from_half_bits(uint16_t(v >> 16));
    }
}
// One level of one point's encoding.
template <int F>
NS_D void encode_level(const HashGrid& grid, const uint16_t* table, int level, float x, float y, float z, float* sum) {
    uint32_t row[8];
    float weight[8];
    const Cell<float> cell = locate(x, y, z, float(grid.resolution[level]));
    level_corners(grid, level, cell, row, weight);
    const uint16_t* rows = table + size_t(grid.offset[level]) * F;
#pragma unroll
    for (int i = 0; i < F; ++i) sum[i] = 0;
#pragma unroll
    for (int k = 0; k < 8; ++k) {
        float v[F];
        load_table_row<F>(rows + size_t(row[k]) * F, v);
#pragma unroll
        for (int i = 0; i < F; ++i) sum[i] += weight[k] * v[i];
    }
}
template <int F>
NS_D void encode_levels(const Field& f, float x, float y, float z, uint16_t* to) {
#pragma unroll 2
    for (int level = 0; level < f.grid.levels; ++level) {
        float sum[F];
        encode_level<F>(f.grid, f.table, level, x, y, z, sum);
#pragma unroll
        for (int i = 0; i < F; i += 2)
            *reinterpret_cast<uint32_t*>(to + level * F + i) = pack_halves(sum[i], sum[i + 1]);
    }
}
// A point's encoding as a row of FP16; the padding is zero.
NS_D void encode_row(const Field& f, float x, float y, float z, uint16_t* to) {
    switch (f.grid.features) {
        case 2: encode_levels<2>(f, x, y, z, to); break;
        case 4: encode_levels<4>(f, x, y, z, to); break;
        default: encode_levels<8>(f, x, y, z, to);
    }
    for (int i = f.grid.levels * f.grid.features; i < f.net.encoding; i += 2) *reinterpret_cast<uint32_t*>(to + i) = 0;
}

// --- the networks ------------------------------------------------------------------------------------
// Encodings (the warp's first buffer) → hidden activations (its second).
template <class S>
NS_D void warp_hidden(const Network& net, const WarpNetwork& w) {
    const int e = net.encoding, h = net.hidden;
    __syncwarp();
    layer<2, S::kEncoding, S::kHidden>(w.first, first_ld(net), w.w[0], e + kPadHalves, e, h,
                                       ReluHalves{w.second, second_ld(net)});
    __syncwarp();
}

// Encodings → this lane's raw density, the first of the network's outputs.
template <class S>
NS_D float warp_density(const Network& net, const WarpNetwork& w) {
    const int h = net.hidden;
    float raw = 0;
    warp_hidden<S>(net, w);
    layer<2, S::kHidden, 8>(w.second, second_ld(net), w.w[1], h + kPadHalves, h, 8, FirstColumn{raw});
    __syncwarp();
    return raw;
}

// Hidden activations (the warp's second buffer) → this lane's colour as seen along `direction`. Overwrites both buffers.
template <class S>
NS_D void warp_color(const Network& net, const WarpNetwork& w, Vec3 direction, float* rgb) {
    const int h = net.hidden, lane = lane_index();
    float basis[16];
    layer<2, S::kHidden, S::kOutputs>(w.second, second_ld(net), w.w[1], h + kPadHalves, h, net.outputs,
                                      Floats{w.output, output_ld(net)});
    __syncwarp();
    const float* out = w.output + lane * output_ld(net);
    const int layers = S::layers(net);
    if (layers == 0) {
        spherical_harmonics(direction.x, direction.y, direction.z, basis, false);
        rgb[0] = rgb[1] = rgb[2] = 0;
#pragma unroll
        for (int j = 0; j < 9; ++j)
#pragma unroll
            for (int c = 0; c < 3; ++c) rgb[c] += out[1 + j * 3 + c] * basis[j];
    } else {
        spherical_harmonics(direction.x, direction.y, direction.z, basis, true);
        uint16_t* in = w.first + lane * first_ld(net);
#pragma unroll
        for (int i = 0; i < 16; i += 2) {
            *reinterpret_cast<uint32_t*>(in + i) = pack_halves(out[i], out[i + 1]);
            *reinterpret_cast<uint32_t*>(in + 16 + i) = pack_halves(basis[i], basis[i + 1]);
        }
        __syncwarp();
        const int ch = net.color_hidden;
        layer<2, S::kColor ? 32 : 0, S::kColor>(w.first, first_ld(net), w.w[2], 32 + kPadHalves, 32, ch,
                                                ReluHalves{w.second, second_ld(net)});
        __syncwarp();
        const uint16_t* last = w.second;
        int last_ld = second_ld(net);
        if (layers == 2) {
            layer<2, S::kColor, S::kColor>(w.second, second_ld(net), w.w[3], ch + kPadHalves, ch, ch,
                                           ReluHalves{w.first, first_ld(net)});
            __syncwarp();
            last = w.first;
            last_ld = first_ld(net);
        }
        layer<2, S::kColor, 8>(last, last_ld, w.w[2 + layers], ch + kPadHalves, ch, 8,
                               Floats{w.output, output_ld(net)});
        __syncwarp();
        for (int c = 0; c < 3; ++c) rgb[c] = out[c];
    }
    for (int c = 0; c < 3; ++c) rgb[c] = ns_sigmoid(rgb[c]);
    __syncwarp();
}

NS_END
