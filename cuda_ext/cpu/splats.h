// What the common code of the rasteriser shares with the code for each instruction set: a frame's memory and the table of
// entry points. Plain data, outside the instruction sets' namespaces.
#pragma once
#include <cstddef>
#include <cstdint>

#include "../include/desc.h"
#include "../include/splats.h"

namespace nerfscene {

constexpr int kTilePixels = kSplatTile * kSplatTile;

// A Gaussian in a tile's list before it is sorted: the bits of its depth, which have the order of depths.
struct SplatListed {
    uint32_t depth, splat;
};

// The tiles that a Gaussian meets, where they lie within four rows and four columns; else `meets` is 0, and they are to be
// found anew.
struct SplatTiles {
    uint16_t left, top, meets, unused;
};

// Some of the Gaussians, one after the other in memory, and what projecting them leaves.
struct SplatPart {
    int first, last;   // of all Gaussians
    Splat* splats;     // those in the window, in their order
    SplatTiles* tiles; // theirs
    uint32_t* counts;  // (all tiles): how many of them are in each; when they are listed, where the next has its place
    int found;
    uint64_t slots;    // the sum of counts
};

struct SplatPicture {
    SplatCamera camera;
    float background[3];
    int across, down;                   // tiles
    bool back;                          // whether the way back is wanted
    const Splat* splats;                // in the Gaussians' order, with gaps
    SplatListed* listed;                // each tile's, in the Gaussians' order
    SplatEntry* entries;                // each tile's, nearest first; a slot is a place in `listed`
    const uint32_t* first_entry;        // tiles + 1
    float *rgb, *alpha, *depth;         // (rows, columns[, 3]); the last two may be null
    float* transmittance;               // (tiles, kTilePixels), for the way back
    int32_t* last;                      // the same: entries up to the last that has weight in the pixel
    int32_t* deepest;                   // (tiles): the largest of a tile's `last`
    // the way back
    uint32_t* places;                   // (slots): of each Gaussian one after the other, where in `listed` it is
    const float *d_rgb, *d_alpha;       // d_alpha may be null
    SplatSums* sums;                    // (slots), as `listed`; only those that are `touched` hold anything
    uint8_t* touched;
    double* d_background;               // (tiles, 3)
};

// A thread's memory to sort a tile's list in: `room` numbers each.
struct SplatSorting {
    uint64_t *keys, *others;
};

struct SplatKernels {
    // Projects a part's Gaussians, gives them their colours, and counts them in the tiles that their ellipses meet.
    void (*project)(const SplatPicture&, const SplatArrays&, SplatPart&);
    // Lists a part's Gaussians in their tiles. `slot`: the first one's, for the way back.
    void (*list)(const SplatPicture&, SplatPart&, uint32_t slot);
    void (*draw)(const SplatPicture&, const SplatSorting&, int tile);
    void (*draw_backward)(const SplatPicture&, int tile);
    // Adds up the tiles' sums of Gaussians [first, last) of a part, and takes them back to the parameters.
    void (*project_backward)(const SplatPicture&, const SplatArrays&, const Splat* some, int n, const SplatGradients&);
    // Three passes over all rows; `scratch` has loss_scratch(columns) numbers.
    void (*loss_prepare)(const PhotoLoss&, int row);
    void (*loss_windows)(const PhotoLoss&, float* scratch, int row);
    void (*loss_gradient)(const PhotoLoss&, float* scratch, int row);
    void (*adam)(const SplatAdam&, int64_t first, int64_t last);
};

}  // namespace nerfscene
