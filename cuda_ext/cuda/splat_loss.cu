// How a picture differs from a photo, on a GPU: as cpu/splat_loss.h, with a thread per number and a block per row.
#include <vector>

#include "../include/splat.h"
#include "launch.h"
#include "splats.h"

NS_BEGIN

namespace {

constexpr int kRowThreads = 128;
constexpr float kLossC1 = 1e-4f, kLossC2 = 9e-4f;

// Adds a thread's `mine` to *to, for all threads of a block.
NS_D void add_block(double* shared, double mine, double* to) {
    shared[threadIdx.x] = mine;
    __syncthreads();
    for (int d = int(blockDim.x) / 2; d > 0; d /= 2) {
        if (int(threadIdx.x) < d) shared[threadIdx.x] += shared[threadIdx.x + d];
        __syncthreads();
    }
    if (threadIdx.x == 0) *to = shared[0];
    __syncthreads();
}
NS_D float loss_weight(const PhotoLoss& p, int row, int at) {
    const float w = loss_given_weight(p, size_t(row) * p.columns + at / 3);
    return w > 0.0f ? w : 0.0f;
}

__global__ void prepare_kernel(PhotoLoss p) {
    NS_SHARED(raw);
    double* shared = reinterpret_cast<double*>(raw);
    const int row = int(blockIdx.x), n = 3 * p.columns;
    double absolute = 0, squared = 0, total = 0;
    for (int at = int(threadIdx.x); at < n; at += int(blockDim.x)) {
        const size_t i = size_t(row) * n + at;
        const float w = loss_weight(p, row, at), a = w > 0.0f ? p.rgb[i] * p.gains[at % 3] : 0.0f;
        const float b = w > 0.0f ? loss_photo(p, i) : 0.0f;
        p.shown[i] = a, p.target[i] = b;
        absolute += double(w * ns_abs(a - b)), squared += double(w * (a - b) * (a - b)), total += double(w);
    }
    double* sums = p.sums + 6 * size_t(row);
    add_block(shared, absolute, sums), add_block(shared, squared, sums + 1), add_block(shared, total, sums + 3);
    if (threadIdx.x == 0) sums[2] = 0;
}

// Sums over the rows of a window, into `planes` of `from`: of a, b, a², b² and a b, or of planes as they are.
__global__ void down_kernel(PhotoLoss p, const float* from, int planes, float* to) {
    const int row = int(blockIdx.x), n = 3 * p.columns;
    const size_t plane = size_t(p.rows) * n;
    for (int at = int(threadIdx.x); at < n; at += int(blockDim.x)) {
        float sum[5] = {};
        for (int y = ns_max(0, row - kLossReach); y <= ns_min(p.rows - 1, row + kLossReach); ++y) {
            const size_t i = size_t(y) * n + at;
            const float tap = p.taps[y - row + kLossReach];
            if (from) {
                for (int k = 0; k < planes; ++k) sum[k] += tap * from[k * plane + i];
            } else {
                const float a = p.shown[i], b = p.target[i];
                sum[0] += tap * a, sum[1] += tap * b, sum[2] += tap * a * a, sum[3] += tap * b * b, sum[4] += tap * a * b;
            }
        }
        for (int k = 0; k < planes; ++k) to[k * plane + size_t(row) * n + at] = sum[k];
    }
}
NS_D float loss_across(const PhotoLoss& p, const float* row, int at) {
    float sum = 0.0f;
    for (int k = 0; k < kLossTaps; ++k) {
        const int from = at + 3 * (k - kLossReach);
        if (from >= 0 && from < 3 * p.columns) sum += p.taps[k] * row[from];
    }
    return sum;
}

__global__ void windows_kernel(PhotoLoss p, const float* planes) {
    NS_SHARED(raw);
    const int row = int(blockIdx.x), n = 3 * p.columns;
    const size_t plane = size_t(p.rows) * n, first = size_t(row) * n;
    double alike = 0;
    for (int at = int(threadIdx.x); at < n; at += int(blockDim.x)) {
        float v[5];
        for (int k = 0; k < 5; ++k) v[k] = loss_across(p, planes + k * plane + first, at);
        const float w = loss_weight(p, row, at), both = v[0] * v[1], squares = v[0] * v[0] + v[1] * v[1];
        const float top1 = 2.0f * both + kLossC1, top2 = 2.0f * (v[4] - both) + kLossC2;
        const float inverse1 = 1.0f / (squares + kLossC1), inverse2 = 1.0f / (v[2] + v[3] - squares + kLossC2);
        const float inverse = inverse1 * inverse2, similarity = top1 * top2 * inverse;
        alike += double(w * similarity);
        float* to = p.slopes + first + at;
        to[0] = w * 2.0f * (v[1] * (top2 - top1) * inverse - similarity * v[0] * (inverse1 - inverse2));
        to[plane] = -w * similarity * inverse2, to[2 * plane] = w * 2.0f * top1 * inverse;
    }
    add_block(reinterpret_cast<double*>(raw), alike, p.sums + 6 * size_t(row) + 2);
}

__global__ void gradient_kernel(PhotoLoss p, const float* planes) {
    NS_SHARED(raw);
    double* shared = reinterpret_cast<double*>(raw);
    const int row = int(blockIdx.x), n = 3 * p.columns;
    const size_t plane = size_t(p.rows) * n, first = size_t(row) * n;
    const float scale = p.total > 0 ? float(1.0 / p.total) : 0.0f;
    double gains[3] = {};
    for (int at = int(threadIdx.x); at < n; at += int(blockDim.x)) {
        const float w = loss_weight(p, row, at), a = p.shown[first + at], b = p.target[first + at];
        float g = (a > b ? w : a < b ? -w : 0.0f) * (1.0f - p.share) * scale;
        if (planes) {
            float v[3];
            for (int k = 0; k < 3; ++k) v[k] = loss_across(p, planes + k * plane + first, at);
            g -= (v[0] + 2.0f * a * v[1] + b * v[2]) * p.share * scale;
        }
        g = w > 0.0f ? g : 0.0f;
        if (w > 0.0f) gains[at % 3] += double(g * p.rgb[first + at]);
        p.d_rgb[first + at] = g * p.gains[at % 3];
    }
    for (int c = 0; c < 3; ++c) add_block(shared, gains[c], p.sums + 6 * size_t(row) + 3 + c);
}

}  // namespace

NS_END

namespace nerfscene {
namespace gpu {

void photo_loss(PhotoLoss p, float* found) {
    using cuda::kRowThreads;
    const size_t numbers = 3 * size_t(p.rows) * p.columns, shared = kRowThreads * sizeof(double);
    Buffer<float> planes(10 * numbers);
    Buffer<double> sums(6 * size_t(p.rows));
    std::vector<double> host(6 * size_t(p.rows));
    cuda::loss_taps(p.taps);
    p.shown = planes.data(), p.target = p.shown + numbers, p.slopes = p.target + numbers, p.sums = sums.data();
    float* const down = p.slopes + 3 * numbers;
    const auto fetch = [&] {
        copy(host.data(), sums.data(), host.size() * sizeof(double), nullptr);
        synchronize(nullptr);
    };
    p.total = 0;
    if (numbers > 0) {
        launch(cuda::prepare_kernel, p.rows, kRowThreads, shared, nullptr, p);
        fetch();
        for (int row = 0; row < p.rows; ++row) p.total += host[6 * size_t(row) + 3];
        const float* blurred = nullptr;
        if (p.share > 0.0f) {
            launch(cuda::down_kernel, p.rows, kRowThreads, 0, nullptr, p, static_cast<const float*>(nullptr), 5, down);
            launch(cuda::windows_kernel, p.rows, kRowThreads, shared, nullptr, p, static_cast<const float*>(down));
            launch(cuda::down_kernel, p.rows, kRowThreads, 0, nullptr, p, static_cast<const float*>(p.slopes), 3, down);
            blurred = down;
        }
        launch(cuda::gradient_kernel, p.rows, kRowThreads, shared, nullptr, p, blurred);
        fetch();
    }
    p.sums = host.data();
    cuda::loss_found(p, found);
}

}  // namespace gpu
}  // namespace nerfscene
