// The parts of SIFT (Lowe, Distinctive Image Features from Scale-Invariant Keypoints, 2004) that look at every pixel of
// a picture, or at every pixel around a feature. sift_steps.cpp has the steps.
//
// Pictures are rows of `stride` numbers, a multiple of 16, of which the first `width` count; what is beyond is finite.
// After the last row there is room for one more vector.
#pragma once
#include "driver.h"
#include "simd.h"

NS_BEGIN

// One picture smoothed with symmetric weights: taps[0] is the middle one's, and there are `radius` more. Beyond the
// edges the picture goes on as its last pixel. `line` has room for stride + 2 radius + 32 numbers.
static void smooth(const float* in, float* out, int width, int height, int stride, const float* taps, int radius,
                   float* line) {
    const int lead = (radius + kWidth - 1) / kWidth * kWidth;  // where the row begins in `line`
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < stride; x += kWidth) {
            vf sum = load(in + size_t(y) * stride + x) * taps[0];
            for (int k = 1; k <= radius; ++k) {
                const int above = y - k < 0 ? 0 : y - k, below = y + k < height ? y + k : height - 1;
                sum += (load(in + size_t(above) * stride + x) + load(in + size_t(below) * stride + x)) * taps[k];
            }
            store(line + lead + x, sum);
        }
        for (int k = 1; k <= radius; ++k) line[lead - k] = line[lead];
        for (int k = 0; k < radius + kWidth; ++k) line[lead + width + k] = line[lead + width - 1];
        for (int x = 0; x < width; x += kWidth) {
            const float* at = line + lead + x;
            vf sum = load(at) * taps[0];
            for (int k = 1; k <= radius; ++k) sum += (load(at - k) + load(at + k)) * taps[k];
            store(out + size_t(y) * stride + x, sum);
        }
    }
}

static void subtract(const float* a, const float* b, float* out, int64_t n) {
    for (int64_t i = 0; i < n; i += kWidth) store(out + i, load(a + i) - load(b + i));
}

// Pixels of the middle one of three pictures that are at least `least` from 0 and larger, or smaller, than all 26
// around them. Writes x and y of each, at most `room` of them, and returns their number.
static int extrema(const float* const* three, int width, int height, int stride, float least, int32_t* found,
                   int room) {
    int count = 0;
    for (int y = 1; y + 1 < height; ++y)
        for (int x = 1; x + 1 < width; x += kWidth) {
            const size_t at = size_t(y) * stride + x;
            const vf v = load(three[1] + at);
            uint32_t lanes = lane_bits((v >= splat(least)) | (v <= splat(-least)));
            if (!lanes) continue;
            vf top = splat(-1e30f), bottom = splat(1e30f);
            for (int k = 0; k < 3; ++k)
                for (int row = -1; row <= 1; ++row)
                    for (int column = -1; column <= 1; ++column) {
                        if (k == 1 && row == 0 && column == 0) continue;
                        const vf other = load(three[k] + at + row * stride + column);
                        top = ns_max(top, other), bottom = ns_min(bottom, other);
                    }
            lanes &= lane_bits((v > top) | (v < bottom));
            for (; lanes && count < room; lanes &= lanes - 1) {
                const int column = x + __builtin_ctz(lanes);
                if (column + 1 >= width) break;
                found[2 * count] = column, found[2 * count + 1] = y, ++count;
            }
        }
    return count;
}

// The length of gradients, and their direction in eighths of a turn, 0 to 8.
struct Gradient {
    vf length, direction;
};

static inline __attribute__((always_inline)) Gradient gradient_at(const float* at, int stride) {
    const vf dx = (load(at + 1) - load(at - 1)) * 0.5f, dy = (load(at + stride) - load(at - stride)) * 0.5f;
    const vf ax = ns_abs(dx), ay = ns_abs(dy);
    // The arc tangent by a polynomial of degree 11, to 1e-5, here in eighths of a turn.
    const vf r = ns_min(ax, ay) / ns_max(ns_max(ax, ay), splat(1e-20f)), s = r * r;
    vf p = s * -0.0149239f + 0.0670403f;
    p = p * s - 0.1482470f;
    p = p * s + 0.2464272f;
    p = p * s - 0.4235093f;
    vf t = (p * s + 1.2732106f) * r;
    t = ay > ax ? 2.0f - t : t;
    t = dx < splat(0.0f) ? 4.0f - t : t;
    t = dy < splat(0.0f) ? 8.0f - t : t;
    return {Lanes<vf>::sqrt(dx * dx + dy * dy), t};
}

constexpr int kMostReach = 128;  // pixels around a feature that count, at most
constexpr int kDirections = 36;

// Weights of a window around `middle` for the pixels from `first` on: exp(-distance² falloff).
static void window(float middle, int first, int n, float falloff, float* weights) {
    for (int i = 0; i < n; i += kWidth) {
        const vf d = iota(float(first + i)) - middle;
        store(weights + i, ns_exp(d * d * -falloff));
    }
}

// How strong the gradients around a feature are in each of kDirections directions.
static void directions(const float* picture, int width, int height, int stride, float x, float y, float scale,
                       float* histogram) {
    const float reach = 4.5f * scale;
    const int n = int(reach) < kMostReach ? int(reach) : kMostReach;
    const int cx = int(x + 0.5f), cy = int(y + 0.5f);
    const int x0 = cx - n < 1 ? 1 : cx - n, x1 = cx + n > width - 2 ? width - 2 : cx + n;
    const int y0 = cy - n < 1 ? 1 : cy - n, y1 = cy + n > height - 2 ? height - 2 : cy + n;
    alignas(64) float across[2 * kMostReach + 32], down[2 * kMostReach + 32], bins[kWidth], strengths[kWidth];
    const float falloff = 0.5f / (2.25f * scale * scale);
    window(x, x0, x1 - x0 + 1, falloff, across);
    window(y, y0, y1 - y0 + 1, falloff, down);
    for (int i = 0; i < kDirections; ++i) histogram[i] = 0;
    for (int row = y0; row <= y1; ++row)
        for (int column = x0; column <= x1; column += kWidth) {
            const vf dx = iota(float(column)) - x;
            const float dy = float(row) - y;
            const vi near = dx * dx + dy * dy < splat(reach * reach);
            const uint32_t lanes = lane_bits(near & (iota(float(column)) <= splat(float(x1))));
            if (!lanes) continue;
            const Gradient g = gradient_at(picture + size_t(row) * stride + column, stride);
            store(bins, g.direction * (kDirections / 8.0f));
            store(strengths, g.length * load(across + column - x0) * down[row - y0]);
            for (uint32_t left = lanes; left; left &= left - 1) {
                const int i = __builtin_ctz(left);
                const float bin = bins[i] - 0.5f;  // a direction counts for the two bins whose middles are around it
                const int low = bin < 0 ? -1 : int(bin);
                const float part = bin - float(low);
                histogram[low < 0 ? kDirections - 1 : low] += (1 - part) * strengths[i];
                histogram[low + 1 < kDirections ? low + 1 : 0] += part * strengths[i];
            }
        }
}

typedef float v16 __attribute__((vector_size(64)));

// A feature's descriptor: how strong the gradients are in each of eight directions, in each of 4 × 4 squares of three
// times its scale. A gradient counts for the squares and the directions around it.
static void describe(const float* picture, int width, int height, int stride, float x, float y, float scale,
                     float angle, float* descriptor) {
    const float square = 3.0f * scale, half = 2.5f * square, c = cosf(angle), s = sinf(angle);
    const float turned = angle * 1.27323954f;  // in eighths of a turn
    const int wide = int(1.41421356f * half + 0.5f), n = wide < kMostReach ? wide : kMostReach;
    const int cx = int(x + 0.5f), cy = int(y + 0.5f);
    const int y0 = cy - n < 1 ? 1 : cy - n, y1 = cy + n > height - 2 ? height - 2 : cy + n;
    const int left = cx - n < 1 ? 1 : cx - n, right = cx + n > width - 2 ? width - 2 : cx + n;
    alignas(64) float across[2 * kMostReach + 32], down[2 * kMostReach + 32];
    alignas(64) float us[2 * kMostReach + 64], vs[2 * kMostReach + 64];  // of a row's pixels: where in the squares,
    alignas(64) float ts[2 * kMostReach + 64], ws[2 * kMostReach + 64];  // their gradients' directions and weights
    const float falloff = 0.125f / (square * square);
    window(x, left, right - left + 1, falloff, across);
    window(y, y0, y1 - y0 + 1, falloff, down);
    v16 sums[2][8] = {};  // two, so that one addition need not wait for the one before
    v16 u_of, v_of;
    for (int i = 0; i < 16; ++i) u_of[i] = float(i % 4) - 1.5f, v_of[i] = float(i / 4) - 1.5f;
    for (int row = y0; row <= y1; ++row) {
        // The columns whose u = c dx + s dy and v = c dy - s dx are both within `half`.
        const float dy = float(row) - y;
        float low = -1e9f, high = 1e9f;
        for (int side = 0; side < 2; ++side) {
            const float slope = side ? -s : c, offset = side ? c * dy : s * dy;
            if (fabsf(slope) < 1e-6f) {
                if (fabsf(offset) >= half) high = -1e9f;
                continue;
            }
            const float a = (-half - offset) / slope, b = (half - offset) / slope;
            low = ns_max(low, ns_min(a, b)), high = ns_min(high, ns_max(a, b));
        }
        low += x, high += x;
        if (high < float(left) || low > float(right)) continue;
        const int x0 = low > float(left) ? int(ceilf(low)) : left, x1 = high < float(right) ? int(high) : right;
        int count = 0;
        for (int column = x0; column <= x1; column += kWidth) {
            const Gradient g = gradient_at(picture + size_t(row) * stride + column, stride);
            const vf dx = iota(float(column)) - x;
            vf t = g.direction - turned;
            t = t < splat(0.0f) ? t + 8.0f : t;
            store(us + count, (c * dx + s * dy) / square);
            store(vs + count, (c * dy - s * dx) / square);
            store(ts + count, t >= splat(8.0f) ? t - 8.0f : t);
            store(ws + count, g.length * load(across + column - left) * down[row - y0]);
            count += x1 - column + 1 < kWidth ? x1 - column + 1 : kWidth;
        }
        for (int i = 0; i < count; ++i) {
            const v16 du = 1.0f - ns_abs(us[i] - u_of), dv = 1.0f - ns_abs(vs[i] - v_of), zero = {};
            const v16 share = ns_max(du, zero) * ns_max(dv, zero) * ws[i];
            const int bin = int(ts[i]) & 7;
            const float part = ts[i] - float(int(ts[i]));
            v16* sum = sums[i & 1];
            sum[bin] += share * (1 - part), sum[(bin + 1) & 7] += share * part;
        }
    }
    for (int d = 0; d < 8; ++d)
        for (int i = 0; i < 16; ++i) descriptor[8 * i + d] = sums[0][d][i] + sums[1][d][i];
}

NS_END
