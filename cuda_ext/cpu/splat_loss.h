// How a picture differs from a photo: absolute differences, and the structural similarity (Wang et al. 2004) under a
// Gaussian window; and the gradient. A row's numbers are red, green and blue of each pixel in turn, so that pixels' neighbours
// are three numbers apart.
#pragma once
#include "simd.h"
#include "splats.h"

NS_BEGIN

constexpr float kLossC1 = 1e-4f, kLossC2 = 9e-4f;

static void loss_prepare(const PhotoLoss& p, int row) {
    const size_t first = size_t(row) * p.columns;
    double absolute = 0, squared = 0;
    for (int i = 0; i < p.columns; ++i) {
        const float w = loss_given_weight(p, first + i);
        float sum = 0.0f, square = 0.0f;
        for (int c = 0; c < 3; ++c) {
            const size_t at = 3 * (first + i) + c;
            const float a = w > 0.0f ? p.rgb[at] * p.gains[c] : 0.0f, b = w > 0.0f ? loss_photo(p, at) : 0.0f, d = a - b;
            p.shown[at] = a, p.target[at] = b;
            sum += fabsf(d), square += d * d;
        }
        absolute += double(w > 0.0f ? w * sum : 0.0f), squared += double(w > 0.0f ? w * square : 0.0f);
    }
    double* sums = p.sums + 6 * size_t(row);
    sums[0] = absolute, sums[1] = squared;
    for (int i = 2; i < 6; ++i) sums[i] = 0;
}

// The rows of a window around `row` that there are.
NS_HD void loss_rows(const PhotoLoss& p, int row, int& first, int& last) {
    first = ns_max(0, row - kLossReach), last = ns_min(p.rows - 1, row + kLossReach);
}

// A worker's row `which`: its first number, with zeros before and behind.
static float* loss_buffer(const PhotoLoss& p, float* scratch, int which) {
    const size_t size = 3 * size_t(p.columns) + 2 * kLossPad;
    float* row = scratch + which * size;
    for (int i = 0; i < kLossPad; ++i) row[i] = row[size - 1 - i] = 0.0f;
    return row + kLossPad;
}

NS_HD vf loss_across(const PhotoLoss& p, const float* row, int at) {
    vf sum = {};
    for (int k = 0; k < kLossTaps; ++k) sum += load(row + at + 3 * (k - kLossReach)) * p.taps[k];
    return sum;
}

// Each pixel's weight, three times; 0 for weights below 0.
static float* loss_weights(const PhotoLoss& p, float* scratch, int which, int row) {
    float* to = loss_buffer(p, scratch, which);
    const size_t first = size_t(row) * p.columns;
    for (int i = 0; i < p.columns; ++i) {
        const float w = loss_given_weight(p, first + i);
        to[3 * i] = to[3 * i + 1] = to[3 * i + 2] = w > 0.0f ? w : 0.0f;
    }
    return to;
}

// As many numbers as there are left in a row, in a vector.
NS_HD vf load_some(const float* from, int some) {
    if (some >= kWidth) return load(from);
    vf v = {};
    for (int i = 0; i < some; ++i) v[i] = from[i];
    return v;
}
NS_HD void store_some(float* to, vf v, int some) {
    if (some >= kWidth) return store(to, v);
    for (int i = 0; i < some; ++i) to[i] = v[i];
}

static void loss_windows(const PhotoLoss& p, float* scratch, int row) {
    const int n = 3 * p.columns;
    float* sums[5];
    for (int i = 0; i < 5; ++i) sums[i] = loss_buffer(p, scratch, i);
    int top, bottom;
    loss_rows(p, row, top, bottom);
    for (int at = 0; at < n; at += kWidth) {
        vf a = {}, b = {}, aa = {}, bb = {}, ab = {};
        for (int y = top; y <= bottom; ++y) {
            const size_t from = size_t(y) * n + at;
            const vf x = load_some(p.shown + from, n - at), z = load_some(p.target + from, n - at);
            const float tap = p.taps[y - row + kLossReach];
            const vf tx = x * tap, tz = z * tap;
            a += tx, b += tz, aa += tx * x, bb += tz * z, ab += tx * z;
        }
        store_some(sums[0] + at, a, n - at), store_some(sums[1] + at, b, n - at), store_some(sums[2] + at, aa, n - at);
        store_some(sums[3] + at, bb, n - at), store_some(sums[4] + at, ab, n - at);
    }
    const size_t plane = size_t(p.rows) * n, to = size_t(row) * n;
    const float* weights = loss_weights(p, scratch, 5, row);
    double alike = 0;
    for (int at = 0; at < n; at += kWidth) {
        const int some = n - at;
        const vf w = load(weights + at), a = loss_across(p, sums[0], at), b = loss_across(p, sums[1], at);
        const vf ab = loss_across(p, sums[4], at);
        const vf both = a * b, squares = a * a + b * b;
        const vf squared = loss_across(p, sums[2], at) + loss_across(p, sums[3], at);
        const vf top1 = 2.0f * both + kLossC1, top2 = 2.0f * (ab - both) + kLossC2;
        const vf low1 = squares + kLossC1, low2 = squared - squares + kLossC2;
        const vf inverse1 = 1.0f / low1, inverse2 = 1.0f / low2, inverse = inverse1 * inverse2;
        const vf similarity = top1 * top2 * inverse, weighed = w * similarity;
        float sum = 0.0f;
        for (int i = 0; i < ns_min(some, kWidth); ++i) sum += weighed[i];
        alike += double(sum);
        const vf by_a = 2.0f * (b * (top2 - top1) * inverse - similarity * a * (inverse1 - inverse2));
        store_some(p.slopes + to + at, w * by_a, some);
        store_some(p.slopes + plane + to + at, -w * similarity * inverse2, some);
        store_some(p.slopes + 2 * plane + to + at, w * 2.0f * top1 * inverse, some);
    }
    p.sums[6 * size_t(row) + 2] = alike;
}

static void loss_gradient(const PhotoLoss& p, float* scratch, int row) {
    const int n = 3 * p.columns;
    const size_t plane = size_t(p.rows) * n, to = size_t(row) * n;
    float* sums[3];
    for (int i = 0; i < 3; ++i) sums[i] = loss_buffer(p, scratch, i);
    const bool windows = p.share > 0.0f;
    if (windows) {
        int top, bottom;
        loss_rows(p, row, top, bottom);
        for (int i = 0; i < 3; ++i)
            for (int at = 0; at < n; at += kWidth) {
                vf sum = {};
                for (int y = top; y <= bottom; ++y)
                    sum += load_some(p.slopes + i * plane + size_t(y) * n + at, n - at) * p.taps[y - row + kLossReach];
                store_some(sums[i] + at, sum, n - at);
            }
    }
    const float scale = p.total > 0 ? float(1.0 / p.total) : 0.0f, absolute = (1.0f - p.share) * scale, like = p.share * scale;
    const float* weights = loss_weights(p, scratch, 3, row);
    float* d = p.d_rgb + to;
    for (int at = 0; at < n; at += kWidth) {
        const int some = n - at;
        const vf w = load(weights + at), a = load_some(p.shown + to + at, some), b = load_some(p.target + to + at, some), zero = {};
        vf g = (a > b ? w : (a < b ? -w : zero)) * absolute;
        if (windows)
            g -= (loss_across(p, sums[0], at) + 2.0f * a * loss_across(p, sums[1], at) + b * loss_across(p, sums[2], at)) * like;
        store_some(d + at, w > zero ? g : zero, some);
    }
    double* gains = p.sums + 6 * size_t(row) + 3;
    for (int i = 0; i < p.columns; ++i)
        for (int c = 0; c < 3; ++c) {
            const float g = d[3 * i + c];
            if (g != 0.0f) gains[c] += double(g * p.rgb[to + 3 * i + c]);
            d[3 * i + c] = g * p.gains[c];
        }
}

NS_END
