// SIFT, step by step: smoothed pictures, features where their differences are largest, directions, descriptors.
#include "sift_steps.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace nerfscene {
namespace {

constexpr int kLevels = 3, kPictures = kLevels + 3;  // of an octave, in which the scale doubles
constexpr float kFirst = 1.6f, kCamera = 0.5f;       // smoothness of an octave's first picture, and of a photo
constexpr int kOctaves = 4, kSmallest = 16;          // octaves at most; pixels of the shorter side
constexpr int kRounds = 5;                           // in which a feature is moved to the pixel nearest to it

struct Octave {
    int width, height, stride;
    std::vector<float> pictures[kPictures], differences[kPictures - 1];

    void make(int w, int h) {
        width = w, height = h, stride = (w + 15) / 16 * 16;
        const size_t size = size_t(stride) * h + 64;
        for (auto& picture : pictures)
            if (picture.size() != size) picture.assign(size, 0.0f);
        for (auto& difference : differences)
            if (difference.size() != size) difference.assign(size, 0.0f);
    }
};

struct Found {
    int octave, level;
    float x, y, scale;  // in the octave's pixels
    float size() const { return scale * float(1 << octave); }
};

void blur(const Kernels& kernels, const Octave& o, const float* in, float* out, float sigma) {
    const int radius = std::max(1, int(std::ceil(4 * sigma)));
    std::vector<float> taps(radius + 1), line(o.stride + 2 * radius + 96);
    float sum = 0;
    for (int k = 0; k <= radius; ++k) {
        taps[k] = std::exp(-0.5f * float(k * k) / (sigma * sigma));
        sum += (k ? 2 : 1) * taps[k];
    }
    for (float& tap : taps) tap /= sum;
    kernels.smooth(in, out, o.width, o.height, o.stride, taps.data(), radius, line.data());
}

// The pictures of an octave after its first, and their differences.
void fill(const Kernels& kernels, Octave& o) {
    for (int i = 1; i < kPictures; ++i) {
        const float before = kFirst * std::exp2(float(i - 1) / kLevels), now = kFirst * std::exp2(float(i) / kLevels);
        blur(kernels, o, o.pictures[i - 1].data(), o.pictures[i].data(), std::sqrt(now * now - before * before));
        kernels.subtract(o.pictures[i].data(), o.pictures[i - 1].data(), o.differences[i - 1].data(),
                         int64_t(o.stride) * o.height);
    }
}

// Where exactly the differences are largest, by a quadratic function through the pixels around it. False if that isn't
// near, if it is too faint, or on an edge.
bool refine(const Octave& o, int level, int x, int y, const SiftOptions& options, Found& found) {
    float off[3] = {}, value = 0, dxx = 0, dyy = 0, dxy = 0;
    for (int round = 1;; ++round) {
        const auto at = [&](int dx, int dy, int dl) {
            return o.differences[level + dl][size_t(y + dy) * o.stride + x + dx];
        };
        const float g[3] = {(at(1, 0, 0) - at(-1, 0, 0)) / 2, (at(0, 1, 0) - at(0, -1, 0)) / 2,
                            (at(0, 0, 1) - at(0, 0, -1)) / 2};
        const float middle = at(0, 0, 0);
        dxx = at(1, 0, 0) + at(-1, 0, 0) - 2 * middle, dyy = at(0, 1, 0) + at(0, -1, 0) - 2 * middle;
        const float dll = at(0, 0, 1) + at(0, 0, -1) - 2 * middle;
        dxy = (at(1, 1, 0) + at(-1, -1, 0) - at(-1, 1, 0) - at(1, -1, 0)) / 4;
        const float dxl = (at(1, 0, 1) + at(-1, 0, -1) - at(-1, 0, 1) - at(1, 0, -1)) / 4;
        const float dyl = (at(0, 1, 1) + at(0, -1, -1) - at(0, -1, 1) - at(0, 1, -1)) / 4;
        // Cramer's rule for H off = -g.
        const double a = double(dyy) * dll - double(dyl) * dyl, b = double(dxl) * dyl - double(dxy) * dll;
        const double c = double(dxy) * dyl - double(dxl) * dyy, d = double(dxx) * dll - double(dxl) * dxl;
        const double e = double(dxy) * dxl - double(dxx) * dyl, f = double(dxx) * dyy - double(dxy) * dxy;
        const double determinant = dxx * a + dxy * b + dxl * c;
        if (determinant == 0) return false;
        off[0] = float(-(a * g[0] + b * g[1] + c * g[2]) / determinant);
        off[1] = float(-(b * g[0] + d * g[1] + e * g[2]) / determinant);
        off[2] = float(-(c * g[0] + e * g[1] + f * g[2]) / determinant);
        value = middle + 0.5f * (g[0] * off[0] + g[1] * off[1] + g[2] * off[2]);
        const int sx = off[0] > 0.6f && x + 2 < o.width ? 1 : off[0] < -0.6f && x > 1 ? -1 : 0;
        const int sy = off[1] > 0.6f && y + 2 < o.height ? 1 : off[1] < -0.6f && y > 1 ? -1 : 0;
        // Some would go back and forth between two pixels for ever. The last offset is from where it was found.
        if ((!sx && !sy) || round == kRounds) break;
        x += sx, y += sy;
    }
    const float trace = dxx + dyy, determinant = dxx * dyy - dxy * dxy, limit = options.edge + 1;
    if (std::fabs(value) <= options.contrast || determinant <= 0) return false;
    if (trace * trace * options.edge >= limit * limit * determinant) return false;
    if (!(std::fabs(off[0]) < 1.5f && std::fabs(off[1]) < 1.5f && std::fabs(off[2]) < 1.5f)) return false;
    found.x = float(x) + off[0], found.y = float(y) + off[1];
    found.scale = kFirst * std::exp2((float(level) + off[2]) / kLevels);
    found.level = level;
    return found.x >= 0 && found.y >= 0 && found.x <= float(o.width - 1) && found.y <= float(o.height - 1);
}

void find(const Kernels& kernels, const Octave& o, int octave, const SiftOptions& options, std::vector<int32_t>& places,
          std::vector<Found>& all) {
    places.resize(size_t(o.width) * o.height / 4 + 2);
    for (int level = 1; level <= kLevels; ++level) {
        const float* three[3];
        for (int k = 0; k < 3; ++k) three[k] = o.differences[level - 1 + k].data();
        const int n = kernels.extrema(three, o.width, o.height, o.stride, 0.8f * options.contrast, places.data(),
                                      int(places.size() / 2));
        for (int i = 0; i < n; ++i) {
            Found found{octave, level, 0, 0, 0};
            if (refine(o, level, places[2 * i], places[2 * i + 1], options, found)) all.push_back(found);
        }
    }
}

// The direction, in radians, of the strongest gradients.
float strongest(float* histogram, int n) {
    std::vector<float> before(n);
    for (int round = 0; round < 6; ++round) {
        std::copy(histogram, histogram + n, before.begin());
        for (int i = 0; i < n; ++i) histogram[i] = (before[(i + n - 1) % n] + before[i] + before[(i + 1) % n]) / 3;
    }
    const int best = int(std::max_element(histogram, histogram + n) - histogram);
    const float low = histogram[(best + n - 1) % n], high = histogram[(best + 1) % n];
    const float bend = low + high - 2 * histogram[best];
    const float off = bend == 0 ? 0.0f : 0.5f * (low - high) / bend;
    return (float(best) + off + 0.5f) / float(n) * 6.28318531f;
}

// Limits what a single gradient contributes, then takes roots of shares (Arandjelović and Zisserman, Three Things
// Everyone Should Know, 2012), as bytes: 512 times.
void to_bytes(float* descriptor, uint8_t* out) {
    float length = 0, sum = 0;
    for (int i = 0; i < 128; ++i) length += descriptor[i] * descriptor[i];
    length = std::sqrt(length) + 1e-20f;
    for (int i = 0; i < 128; ++i) sum += descriptor[i] = std::min(descriptor[i] / length, 0.2f);
    for (int i = 0; i < 128; ++i)
        out[i] = uint8_t(std::min(512.0f * std::sqrt(descriptor[i] / (sum + 1e-20f)) + 0.5f, 255.0f));
}

}  // namespace

int sift(const Kernels& kernels, const uint8_t* image, int width, int height, const SiftOptions& options,
         float* keypoints, uint8_t* descriptors) {
    // A thread keeps its memory for the next photo.
    thread_local std::vector<Octave> octaves(kOctaves);
    thread_local std::vector<int32_t> places;
    thread_local std::vector<float> photo;
    std::vector<Found> all;
    int used = 0;
    for (; used < kOctaves; ++used) {
        const int w = (width - 1) / (1 << used) + 1, h = (height - 1) / (1 << used) + 1;
        if (std::min(w, h) < kSmallest) break;
        Octave& o = octaves[used];
        o.make(w, h);
        if (used == 0) {
            photo.assign(size_t(o.stride) * h + 64, 0.0f);
            for (int y = 0; y < h; ++y)
                for (int x = 0; x < w; ++x) photo[size_t(y) * o.stride + x] = float(image[size_t(y) * w + x]) / 255.0f;
            blur(kernels, o, photo.data(), o.pictures[0].data(), std::sqrt(kFirst * kFirst - kCamera * kCamera));
        } else {
            const Octave& finer = octaves[used - 1];  // its last but two is twice as smooth as its first
            for (int y = 0; y < h; ++y) {
                const float* from = finer.pictures[kLevels].data() + size_t(2 * y) * finer.stride;
                for (int x = 0; x < w; ++x) o.pictures[0][size_t(y) * o.stride + x] = from[2 * x];
            }
        }
        fill(kernels, o);
        find(kernels, o, used, options, places, all);
    }
    std::stable_sort(all.begin(), all.end(), [](const Found& a, const Found& b) { return a.size() > b.size(); });
    const int count = std::min(int(all.size()), options.most);
    for (int i = 0; i < count; ++i) {
        const Found& f = all[i];
        const Octave& o = octaves[f.octave];
        const float* picture = o.pictures[f.level].data();
        float histogram[64], descriptor[128];
        kernels.directions(picture, o.width, o.height, o.stride, f.x, f.y, f.scale, histogram);
        const float angle = strongest(histogram, 36), step = float(1 << f.octave);
        kernels.describe(picture, o.width, o.height, o.stride, f.x, f.y, f.scale, angle, descriptor);
        to_bytes(descriptor, descriptors + size_t(i) * 128);
        float* keypoint = keypoints + size_t(i) * 4;
        keypoint[0] = f.x * step + 0.5f, keypoint[1] = f.y * step + 0.5f;  // in COLMAP pixels' middles are at halves
        keypoint[2] = f.size(), keypoint[3] = angle;
    }
    return count;
}

}  // namespace nerfscene
