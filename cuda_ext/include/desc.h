// Plain structures that the bindings, the trainers and the kernels share. They are outside the instruction sets'
// namespaces and therefore have no functions. Their memory layout is the same on a CPU and on a GPU.
#pragma once
#include <cstdint>

namespace nerfscene {

constexpr int kMaxLevels = 16;
constexpr int kMaxLayers = 5;
constexpr int kMaxWidth = 128;  // widest layer

// A multi-resolution hash grid; hashgrid.h explains the fields.
struct HashGrid {
    int levels, features;
    int resolution[kMaxLevels];
    uint32_t offset[kMaxLevels];  // rows before this level
    uint32_t size[kMaxLevels];    // rows in this level
    uint32_t hashed[kMaxLevels];  // 1: hashed, 0: dense
};

// The networks: encoding → hidden (ReLU) → outputs, of which the first is density. With color_layers = 0, the next 27
// outputs are spherical-harmonics coefficients of colour. Otherwise all 16 outputs and the direction's 16 harmonics go
// through color_layers hidden layers (ReLU) to three colours (sigmoid).
// Layer i is stored row-major at offset[i]: (in × out) in `weights`, (out × in) in `weights_t`. Every dimension is a
// multiple of 16; padding is zero.
struct Network {
    int encoding, hidden, outputs, color_hidden, color_layers;
    int layers, in[kMaxLayers], out[kMaxLayers], offset[kMaxLayers], size;
};

// How a scene that was photographed from one side is laid out in the unit cube; march.h says how.
struct Ahead {
    int on;                     // 0: the scene is laid out around the origin
    float view_from_scene[12];  // 3×4, row-major: the scene as seen from the apex
    float scene_from_view[12];  // the inverse
    float share;                // how much of the cube's length the scene takes, up to infinity
    float stretch, turn;        // bounds, see unit_length; `turn` is the length of view_from_scene's last row
};

struct Space {
    int unbounded;
    float near_plane;  // scene units; no sample is closer to the camera
    float far_plane;
    float step;  // shortest step, scene units
    float cone;  // a step is at least this fraction of the distance; 0: constant steps
    int occupancy_resolution;  // cells per side
    // Rendering: if `cropped`, only the inside of a box is visible. box_from_scene (3×4, row-major) maps that box to
    // [-1, 1]^3.
    int cropped;
    float box_from_scene[12];
    Ahead ahead;  // unbounded scenes only
};

struct Field {
    HashGrid grid;
    Network net;
    Space space;
    const uint16_t* table;  // FP16 bits, (rows, features)
    const float *weights, *weights_t;
    const uint32_t* occupancy;  // one bit per cell
    // Derived from `occupancy`, for the CPU: a coarse grid of kCoarse cells per side. A bit is set if any cell within
    // kCoarseReach coarse cells is occupied. Null: not available, so every step is tested.
    const uint32_t* coarse;
    // Derived from `occupancy`, for the CPU: the same at half the resolution. A bit is set if any of its 2³ cells is
    // occupied. Null: not available.
    const uint32_t* halved;
    // Derived from `occupancy`, for a GPU: for each coarse cell, the distance in coarse cells (maximum norm, at most
    // kRoom) to the nearest one that contains an occupied cell; 0 if it does itself. Null: not available, so every step
    // is tested.
    const uint8_t* room;
};
constexpr int kCoarse = 32, kCoarseReach = 2, kRoom = 15;
constexpr int kCoarseCells = kCoarse * kCoarse * kCoarse, kCoarseWords = kCoarseCells / 32;

// The numbers in a camera's gradient: rotation (3: about the camera's centre, in the scene's axes, radians), centre (3:
// scene units), fx, fy, cx, cy, and the five distortion coefficients.
constexpr int kCameraGradient = 15;

// Photos have the first two; the others are for pictures alone.
enum LensKind : int { kPerspective = 0, kFisheye = 1, kEquirectangular = 2, kOrthographic = 3, kStereo180 = 4 };

struct CameraDesc {
    float fx, fy, cx, cy;  // pixels, of angles that grow evenly: pixels a radian; orthographic: pixels a scene unit
    float distortion[5];   // perspective: k1 k2 p1 p2 k3;  fisheye: k1 k2 k3 k4;  stereo180: the eyes' distance
    int lens, width, height;
    float pose[12];  // scene_from_cam, 3×4, row-major: the rotation, and the centre in scene units
    int64_t pixels;  // training: this photo's first byte in the photos' buffer
    int64_t depths;  // training: the index of this photo's first cell in the known depths
};
// The numbers of a photo's cell: errors added up for each channel, how many rays these are of, and whether the cell is left
// out of the loss (above 0: it is).
constexpr int kCellNumbers = 5;
constexpr int kDepthCell = 4;  // known depths: pixels per side of a cell

// The training photos, 8 bits per channel, one photo after the other.
struct Photos {
    const CameraDesc* cameras;
    const uint64_t* first_pixel;        // n + 1 entries: the number of pixels in all earlier photos
    const uint8_t* pixels;
    const uint32_t* chosen;             // the pixels to train on, as indices over all photos; null: all pixels
    uint64_t n_chosen;
    // The parts to draw from for now: each begins at one of these places among the pixels to train on, and has
    // `part_size` of them. Null: all. On the CPU only.
    const uint64_t* parts;
    uint64_t n_parts, part_size;
    // Known depths: the distance along the ray to what the photo shows, in scene units, or 0 if unknown. One for each
    // cell of kDepthCell² pixels, row by row, one photo after the other. Null: all are unknown.
    const float* depths;
    // Cells of cell_side² pixels in which training's errors are added up, or which are left out of the loss, row by row;
    // first_cell: n entries, the index of each photo's first. Null: there are none.
    const uint64_t* first_cell;
    int cell_side;
    int n, channels;
    int random_background;              // 1: a random one for each ray; 0: `background`
    float background[3];
};

struct AdamStep {
    float rate, beta1, beta2, epsilon;
    float pull = 0;  // weight decay: pull × parameter is added to the gradient
};

// How rays are marched, and which samples are dropped.
struct March {
    float min_weight;         // samples with less weight get no colour and no gradient
    float stop_transmittance; // a ray ends when its transmittance falls below this
    float coarseness;         // factor on the step length: above 1 early in training, then 1
    float shared_steps = 0;   // pictures: samples of a ray within so many steps may share one colour. 0: the picture is exact
};

}  // namespace nerfscene
