// Plain structures of the rasteriser of Gaussians, shared by bindings, drivers and kernels.
#pragma once
#include <cstddef>
#include <cstdint>

#include "desc.h"

namespace nerfscene {

constexpr int kSplatTile = 16;                 // pixels along a tile's side
constexpr int kMostHarmonics = 16;             // of degree 3
constexpr float kSplatBlur = 0.3f;             // square pixels that the low-pass filter adds to the variance
constexpr float kMostAlpha = 0.999f;
constexpr float kLeastAlpha = 1.0f / 255.0f;   // a Gaussian with less in a pixel has no part in it
constexpr float kLeastTransmittance = 1e-4f;   // a pixel is done with the Gaussian that would leave no more than this
constexpr float kMostDeterminant = 1e30f;      // of a covariance in the picture, pixels⁴: a larger Gaussian is not drawn
constexpr float kBeyond = 0.3f;  // the Jacobian is taken at most this share of half a picture beyond its edges

// A camera without distortion, and the window of its picture to draw. All in pixels of the whole picture.
struct SplatCamera {
    float pose[12];  // camera_from_world, 3×4, row-major
    float fx, fy, cx, cy;
    int width, height;
    int left, top, columns, rows;  // the window
    float near_plane;
};

// Gaussians as they are fitted; arrays of (n, 3), (n, 3), (n, 4), (n) and (n, harmonics, 3).
struct SplatArrays {
    const float *centres, *log_scales, *turns, *opacities, *harmonics;
    int n, count;  // count: harmonics per channel, 1, 4, 9 or 16
};

// The gradients by these arrays, and what a picture showed of each Gaussian. See nerfscene/ops/splatting.py.
struct SplatGradients {
    float *centres, *log_scales, *turns, *opacities, *harmonics, *background;
    int32_t* pixels;
    float *pull, *weight;
};

// A Gaussian that may be in the window, before it has its place in the order of depths.
struct SplatCandidate {
    float x, y, half_a, lean, half_c, opacity, depth, reach_x, reach_y, limit;
    uint32_t index;
};

// A Gaussian in the picture: one cache line. Its exponent at an offset (dx, dy) is -(half_a e² + half_c dy²) with
// e = dx + lean · dy, which cancels nothing even for needles.
struct alignas(64) Splat {
    float x, y;                   // pixels
    float half_a, lean, half_c;
    float opacity, limit;         // limit: exponents beyond -limit are below kLeastAlpha; below 0: not drawn
    float color[3];
    float depth;
    float reach_x, reach_y;       // pixels: how far the ellipse reaches at which alpha is kLeastAlpha
    uint32_t index;               // among all Gaussians
    uint32_t first_slot, slots;   // its entries in tiles, counted through all Gaussians in order
};

// What one tile adds to one Gaussian's gradient: sums over its pixels, with s for the gradient by the exponent's
// negative. One cache line.
struct alignas(64) SplatSums {
    float s, se, see, sey, sy, syy;
    float color[3];
    float pull_x, pull_y;
    float weight;
    int32_t pixels;
};

// One Gaussian in one tile.
struct SplatEntry {
    uint32_t splat, slot;
};

constexpr int kLossTaps = 11, kLossReach = kLossTaps / 2;  // pixels of the structural similarity's window
constexpr int kLossPad = 64;                               // numbers beyond the ends of a row in a worker's memory

// A picture beside a photo. Rows have three numbers for each pixel.
struct PhotoLoss {
    int rows, columns;
    const float *rgb, *photo;           // (rows, columns, 3)
    const uint8_t* bytes;               // the photo as bytes of 0 to 255, where `photo` is null
    const float* weights;               // (rows, columns); null: all are 1
    float gains[3], share;
    float taps[kLossTaps];
    double total;                       // 3 Σ weights
    float *shown, *target;              // the picture as the photo would show it, and the photo; 0 where nothing counts
    float* slopes;                      // (3, rows, columns, 3): of the similarity, by the windows' sums of a, a² and a b
    float* d_rgb;
    double* sums;                       // (rows, 6): absolute, squared, similarity, and the gains' gradients
};
inline size_t loss_scratch(int columns) { return 6 * (3 * size_t(columns) + 2 * kLossPad); }

struct SplatAdam {
    float *parameters, *moments;        // (n, width), (2, n, width)
    const float* gradients;
    const int32_t* pixels;
    int64_t n;
    int width, constant;                // the first `constant` numbers of each have another rate
    AdamStep first, rest;
    const float* log_scales;            // (n, 3): the rates are shares of each Gaussian's largest scale; null: they are not
};

}  // namespace nerfscene
