// What the common code of the rasteriser shares with the code for each instruction set: a frame's memory and the table of
// entry points. Plain data, outside the instruction sets' namespaces.
#pragma once
#include <cstddef>
#include <cstdint>

#include "../include/desc.h"
#include "../include/splats.h"

namespace nerfscene {

constexpr int kTilePixels = kSplatTile * kSplatTile;

struct SplatPicture {
    SplatCamera camera;
    float background[3];
    int across, down;                   // tiles
    const Splat* splats;                // nearest first
    const SplatEntry* entries;          // of each tile, nearest first
    const uint32_t* first_entry;        // tiles + 1
    float *rgb, *alpha, *depth;         // (rows, columns[, 3])
    float* transmittance;               // (tiles, kTilePixels), for the way back
    int32_t* last;                      // the same: entries up to the last that has weight in the pixel
    int32_t* deepest;                   // (tiles): the largest of a tile's `last`
    // the way back
    const float *d_rgb, *d_alpha;
    SplatSums* sums;                    // (slots); only those that are `touched` hold anything
    uint8_t* touched;
    double* d_background;               // (tiles, 3)
};

struct SplatKernels {
    // Gaussians [first, last) → those that may be in the window; returns their number.
    int (*project)(const SplatCamera&, const SplatArrays&, int first, int last, SplatCandidate* out);
    // Colours, and the rest of what a picture needs.
    void (*finish)(const SplatCamera&, const SplatArrays&, const SplatCandidate*, const uint32_t* order, int first, int last,
                   Splat* out);
    void (*draw)(const SplatPicture&, int tile);
    void (*draw_backward)(const SplatPicture&, int tile);
    // Adds up the tiles' sums of Gaussians [first, last) in the order of depths, and takes them back to the parameters.
    void (*project_backward)(const SplatPicture&, const SplatArrays&, int first, int last, const SplatGradients&);
    // Three passes over all rows; `scratch` has loss_scratch(columns) numbers.
    void (*loss_prepare)(const PhotoLoss&, int row);
    void (*loss_windows)(const PhotoLoss&, float* scratch, int row);
    void (*loss_gradient)(const PhotoLoss&, float* scratch, int row);
    void (*adam)(const SplatAdam&, int64_t first, int64_t last);
};

}  // namespace nerfscene
