// The networks on blocks of samples, forward and backward.
#pragma once
#include "../include/network.h"
#include "bfloat.h"
#include "driver.h"
#include "encode.h"
#include "gemm.h"

NS_BEGIN

#define NS_BY_FEATURES(F, call)     \
    switch (F) {                    \
        case 2: { constexpr int N = 2; call; break; } \
        case 4: { constexpr int N = 4; call; break; } \
        default: { constexpr int N = 8; call; break; } \
    }

template <Lie how>
static inline void encode_as(const HashGrid& g, const uint16_t* table, const float* x, const float* y,
                             const float* z, int n, float* out, long ld) {
    NS_BY_FEATURES(g.features, (encode_points<N, how>(g, table, x, y, z, n, out, ld)))
}
static inline void encode(const HashGrid& g, const uint16_t* table, const float* x, const float* y,
                          const float* z, int n, float* out, long ld) {
    encode_as<Lie::kApart>(g, table, x, y, z, n, out, ld);
}

NS_HD float horizontal_sum(vf v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#else
    float s = 0;
    for (int i = 0; i < kWidth; ++i) s += v[i];
    return s;
#endif
}

// Points → encodings, hidden activations and densities, for any n. pairs: from pair_weights, for the hidden layer in
// bfloat16; null: in float.
template <Lie how = Lie::kApart>
static inline void density_forward(const Field& f, const float* x, const float* y, const float* z, int n,
                                   float* encoding, float* hidden, float* density, const uint32_t* pairs = nullptr) {
    const Network& net = f.net;
    const int e = net.encoding, h = net.hidden;
    const float* first_output = f.weights_t + net.offset[1];
    for (int i = 0; i < n; i += kBlock) {
        const int m = n - i < kBlock ? n - i : kBlock;
        encode_as<how>(f.grid, f.table, x + i, y + i, z + i, m, encoding + size_t(i) * e, e);
        if (pairs)
            bfloat_layer<After::kRelu>(m, e, h, encoding + size_t(i) * e, pairs, h, hidden + size_t(i) * h);
        else
            gemm<After::kRelu>(m, h, e, encoding + size_t(i) * e, e, 1, f.weights + net.offset[0], h,
                               hidden + size_t(i) * h, h);
        for (int s = 0; s < m; ++s) {
            const float* row = hidden + size_t(i + s) * h;
            vf sum = load(row) * load(first_output);
            for (int k = kWidth; k < h; k += kWidth) sum += load(row + k) * load(first_output + k);
            density[i + s] = horizontal_sum(sum);
        }
        int s = 0;
        for (; s + kWidth <= m; s += kWidth)
            store(density + i + s, density_activation(load(density + i + s)));
        for (; s < m; ++s) density[i + s] = density_activation(density[i + s]);
    }
}

// The spherical harmonics of one ray's direction, as many as the colour model uses.
static inline void direction_basis(const Network& net, const float* d, float* basis) {
    spherical_harmonics(d[0], d[1], d[2], basis, net.color_layers > 0);
}

// Hidden activations of n samples → colours (n, 4). s.sray says which row of s.basis a sample uses. pairs: as above, for
// the layer after the hidden one. all_pairs: for all layers, at half of their offsets, or null.
static inline void color_forward(const Field& f, Scratch& s, int n, const uint32_t* pairs = nullptr,
                                 const uint32_t* all_pairs = nullptr) {
    const Network& net = f.net;
    if (all_pairs) pairs = all_pairs + net.offset[1] / 2;
    const int h = net.hidden, o = net.outputs;
    for (int i = 0; i < n; i += kBlock) {
        const int m = n - i < kBlock ? n - i : kBlock;
        float* output = s.soutput + size_t(i) * o;
        if (pairs)
            bfloat_layer<After::kNothing>(m, h, o, s.shidden + size_t(i) * h, pairs, o, output);
        else
            gemm<After::kNothing>(m, o, h, s.shidden + size_t(i) * h, h, 1, f.weights + net.offset[1], o, output, o);
        float* color = s.scolor + size_t(i) * 4;
        if (net.color_layers == 0) {
            for (int k = 0; k < m; ++k) {
                const float* basis = s.basis + s.sray[i + k] * kShSlots;
                const float* c = output + k * o + 1;
                float raw[4] = {0, 0, 0, 0};
                for (int j = 0; j < 9; ++j)
                    for (int a = 0; a < 3; ++a) raw[a] += c[j * 3 + a] * basis[j];
                for (int a = 0; a < 4; ++a) color[k * 4 + a] = raw[a];
            }
        } else {
            float* in = s.scolor_in + size_t(i) * 32;
            for (int k = 0; k < m; ++k) {
                const float* basis = s.basis + s.sray[i + k] * kShSlots;
                for (int j = 0; j < 16; j += kWidth) {
                    store(in + k * 32 + j, load(output + k * 16 + j));
                    store(in + k * 32 + 16 + j, load(basis + j));
                }
            }
            const float* from = in;
            int width = 32;
            for (int layer = 0; layer < net.color_layers; ++layer) {
                float* to = s.scolor_hidden[layer] + size_t(i) * net.color_hidden;
                if (all_pairs)
                    bfloat_layer<After::kRelu>(m, width, net.color_hidden, from, all_pairs + net.offset[2 + layer] / 2,
                                               net.color_hidden, to);
                else
                    gemm<After::kRelu>(m, net.color_hidden, width, from, width, 1, f.weights + net.offset[2 + layer],
                                       net.color_hidden, to, net.color_hidden);
                from = to;
                width = net.color_hidden;
            }
            float* last = s.d_color;  // one block; the forward pass has no other use for it
            const int at = net.offset[2 + net.color_layers];
            if (all_pairs)
                bfloat_layer<After::kNothing>(m, width, 16, from, all_pairs + at / 2, 16, last);
            else
                gemm<After::kNothing>(m, 16, width, from, width, 1, f.weights + at, 16, last, 16);
            for (int k = 0; k < m; ++k)
                for (int a = 0; a < 4; ++a) color[k * 4 + a] = last[k * 16 + a];
        }
        int k = 0;
        for (; k + kWidth <= m * 4; k += kWidth) store(color + k, ns_sigmoid(load(color + k)));
        for (; k < m * 4; ++k) color[k] = ns_sigmoid(color[k]);
    }
}

// One layer backward, for m samples. below (m, in): the layer's input; d (m, out): the gradients of its sums. Adds to the
// weights' gradient, and writes those of the first `columns` inputs, `to` (m, columns), with `E` applied to them.
template <After E>
static inline void layer_backward(const Field& f, Scratch& s, int layer, int m, const float* below, const float* d,
                                  int columns, float* to, const uint32_t* pairs_t) {
    const int in = f.net.in[layer], out = f.net.out[layer], at = f.net.offset[layer];
    const float* mask = E == After::kMask ? below : nullptr;
    if (pairs_t) {
        bfloat_gradient(m, in, out, below, d, s.weight_gradient + at);
        bfloat_layer<E>(m, out, columns, d, pairs_t + at / 2, in, to, mask);
    } else {
        gemm<After::kAdd>(in, out, m, below, 1, in, d, out, s.weight_gradient + at, out);
        gemm<E>(m, columns, out, d, out, 1, f.weights_t + at, in, to, columns, mask, columns);
    }
}

// The backward pass for one block of samples, [i, i + m). pairs_t: of the transposed weights, for products in bfloat16;
// null: in float.
// Inputs: s.d_color (m, 16), the gradients of the raw colours (before the sigmoid), zero after the first three columns;
// d_density (m), the gradients of the raw densities.
// Outputs: d_encoding (m, encoding), overwritten; s.weight_gradient, added to.
static inline void network_backward(const Field& f, Scratch& s, int i, int m, const float* d_density,
                                    float* d_encoding, const uint32_t* pairs_t = nullptr) {
    const Network& net = f.net;
    const int e = net.encoding, h = net.hidden, o = net.outputs;
    float* d_output = s.d_output;
    if (net.color_layers == 0) {
        for (int k = 0; k < m; ++k) {
            const float* basis = s.basis + s.sray[i + k] * kShSlots;
            float* d = d_output + k * o;
            const float* c = s.d_color + k * 16;
            d[0] = d_density[k];
            for (int j = 0; j < 9; ++j)
                for (int a = 0; a < 3; ++a) d[1 + j * 3 + a] = c[a] * basis[j];
            for (int j = 28; j < o; ++j) d[j] = 0;
        }
    } else {
        const int ch = net.color_hidden, last = 2 + net.color_layers;
        float *d = s.d_hidden_a, *spare = s.d_hidden_b;
        const float* below = s.scolor_hidden[net.color_layers - 1] + size_t(i) * ch;
        layer_backward<After::kMask>(f, s, last, m, below, s.d_color, ch, d, pairs_t);
        if (net.color_layers == 2) {
            below = s.scolor_hidden[0] + size_t(i) * ch;
            layer_backward<After::kMask>(f, s, 3, m, below, d, ch, spare, pairs_t);
            d = spare;
        }
        // Only the first 16 inputs come from the density network; the rest is the direction.
        layer_backward<After::kNothing>(f, s, 2, m, s.scolor_in + size_t(i) * 32, d, 16, d_output, pairs_t);
        for (int k = 0; k < m; ++k) d_output[k * 16] += d_density[k];
    }
    layer_backward<After::kMask>(f, s, 1, m, s.shidden + size_t(i) * h, d_output, h, s.d_hidden_a, pairs_t);
    layer_backward<After::kNothing>(f, s, 0, m, s.sencoding + size_t(i) * e, s.d_hidden_a, e, d_encoding, pairs_t);
}

NS_END
