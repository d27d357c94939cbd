// The plain structures that Python, the drivers and the kernels hand one another. No functions: these are
// outside the instruction sets' namespaces, and the same bytes on a CPU and on a GPU.
#pragma once
#include <cstdint>

namespace nerfscene {

constexpr int kMaxLevels = 16;
constexpr int kMaxLayers = 5;
constexpr int kMaxWidth = 128;  // widest layer

// A multi-resolution hash grid; see hashgrid.h for what the numbers mean.
struct HashGrid {
    int levels, features;
    int resolution[kMaxLevels];
    uint32_t offset[kMaxLevels];  // rows before this level
    uint32_t size[kMaxLevels];    // rows in this level
    uint32_t hashed[kMaxLevels];  // 1: hashed, 0: dense
};

// The networks: encoding → hidden (ReLU) → outputs, the first of which is density. With color_layers = 0
// the other 27 outputs are spherical-harmonics coefficients of colour; otherwise all 16 outputs and the
// direction's 16 harmonics go through color_layers hidden layers (ReLU) to three colours (sigmoid).
// Layer i is stored row-major (in × out) at offset[i] in `weights`, and (out × in) in `weights_t`; every
// dimension is a multiple of 16, padding is zero.
struct Network {
    int encoding, hidden, outputs, color_hidden, color_layers;
    int layers, in[kMaxLayers], out[kMaxLayers], offset[kMaxLayers], size;
};

struct Space {
    int unbounded;
    float near_plane;  // scene units: no sample closer to the camera
    float far_plane;
    float step;  // shortest step, scene units
    float cone;  // step as a fraction of the distance, where that is longer; 0: constant steps
    int occupancy_resolution;  // cells a side
    // Rendering: nothing outside a box is seen, where `cropped`. box_from_scene, 3×4 row-major, takes the box
    // to [-1, 1]^3.
    int cropped;
    float box_from_scene[12];
};

struct Field {
    HashGrid grid;
    Network net;
    Space space;
    const uint16_t* table;  // binary16, (rows, features)
    const float *weights, *weights_t;
    const uint32_t* occupancy;  // one bit a cell
    // Derived from it: kCoarse cells a side, a bit set where anything within kCoarseReach coarse cells is
    // occupied. Null: not there, every step is tested.
    const uint32_t* coarse;
    // The same for a GPU: how many coarse cells away, by the largest coordinate, the next one is that holds anything
    // occupied; at most kRoom, 0 for one that does itself. Null: not there, every step is tested.
    const uint8_t* room;
};
constexpr int kCoarse = 32, kCoarseReach = 2, kRoom = 15;
constexpr int kCoarseCells = kCoarse * kCoarse * kCoarse, kCoarseWords = kCoarseCells / 32;

// What a camera's gradient holds: rotation (3, a turn about its centre in the scene's axes, radians), centre (3, scene
// units), then fx, fy, cx, cy and the five distortion coefficients.
constexpr int kCameraGradient = 15;

enum LensKind : int { kPerspective = 0, kFisheye = 1 };

struct CameraDesc {
    float fx, fy, cx, cy;
    float distortion[5];  // perspective: k1 k2 p1 p2 k3;  fisheye: k1 k2 k3 k4
    int lens, width, height;
    float pose[12];  // scene_from_cam, 3×4 row-major: a rotation, and the centre in scene units
    int64_t pixels;  // training: this photo's first byte in the photos' buffer
    int64_t depths;  // training: this photo's first cell among the known depths
};
constexpr int kDepthCell = 4;  // pixels a side

// The photos that a field is trained on, 8 bits a channel, one after the other.
struct Photos {
    const CameraDesc* cameras;
    const uint64_t* first_pixel;        // cameras + 1 entries: running count of pixels
    const uint8_t* pixels;
    const uint32_t* chosen;             // running numbers of the pixels to train on; null: all of them
    uint64_t n_chosen;
    // How far away what a photo shows is, for each cell of kDepthCell² pixels, row by row, photo after photo: along the
    // ray, scene units; 0: not known. Null: nowhere.
    const float* depths;
    int n, channels;
    int random_background;              // each ray its own; else `background`
    float background[3];
};

struct AdamStep {
    float rate, beta1, beta2, epsilon;
    float pull = 0;  // towards zero: times the parameter, added to its gradient
};

// How rays are marched and what is thrown away.
struct March {
    float min_weight;         // samples that weigh less take no part in colour or gradient
    float stop_transmittance; // a ray ends here
    float coarseness;         // multiplies the steps' length; 1 once training has settled
};

}  // namespace nerfscene
