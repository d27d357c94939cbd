// What the common code shares with the code for each instruction set: the arguments of a step, a worker's memory, and
// the table of entry points. Plain data, outside the instruction sets' namespaces.
#pragma once
#include <cstddef>
#include <cstdint>

#include "../include/desc.h"

namespace nerfscene {

constexpr int kTileRays = 64;           // rays that one thread traces together
constexpr int kRoundSamples = 8;        // at most this many samples per ray and round
constexpr int kCandidates = kTileRays * kRoundSamples;
constexpr int kSurvivors = 4096;        // most surviving samples per tile; in fog a tile has fewer rays
constexpr int kBlock = 128;             // samples that go through the networks at a time
constexpr int kLiveSteps = 1024;        // most steps that a beam keeps
constexpr int kShSlots = 32;            // numbers of a ray's direction basis, for either colour model

// Rays to trace; arrays of n (or n × 3) floats. Training fills them from the photos.
struct Rays {
    float *origins, *directions;        // scene units, unit length
    float *jitter;                      // in [0, 1): the position inside each step at which the ray is sampled
    float *targets, *backgrounds;       // targets: training only; colour = Σ w rgb + T background
    int32_t* photos;                    // training: the photo whose exposure applies; null or below 0: none
    float* d_exposures;                 // training, output: the gradient of that photo's log-gains
    int n;
    float* pixels;                      // training, output: the ray's position in its photo, (n, 2)
    float* d_rays;                      // output: gradients by origin and direction, (n, 6); null: not wanted
    const float* known;                 // given rays: the distance to what each ray sees, 0: unknown; null: all unknown
    float* errors;                      // training, output: shown minus target, (n, 3); null: not wanted
};

constexpr float kNoError = 1e30f;  // the first of the errors of a ray that was dropped

struct TrainStep {
    Field field;
    March march;
    Rays rays;
    Photos photos;
    float* occupancy_values;            // (cells): decaying maxima of optical thickness; may be null
    uint32_t seed;
    uint64_t first_ray;                 // the number of rays drawn before this step
    float huber_delta, distortion, loss_scale;
    float full_gradient_distance;       // gradients of samples closer than this are scaled down; 0: none
    const float *exposures, *gains;     // (photos, 3): logarithms, and their exponentials
    float exposure_pull;
    float thinning;                     // see thin_out; 0: all samples go the way back
    float sky_pull, sky_distance;
    float depth_pull, depth_slack, depth_most;
    const float* photo_cells;           // see TrainState; null: there are none
    const uint32_t *pairs, *pairs_t;    // the weights for products in bfloat16, see bfloat.h; null: in float
};

struct Counters {
    double squared_error;               // Σ over rays and channels
    int64_t candidates, met, survivors, rays, dropped;  // survivors: of those met, the ones not thinned out
};

// The memory of one worker: pointers into one block that `scratch_layout` divides up.
struct Scratch {
    // the samples that a round evaluates
    float *cx, *cy, *cz, *ct, *clength, *cx_scene, *calpha;
    int32_t* ccell;
    float *cencoding, *chidden;
    // the tile's surviving samples
    float *sx, *sy, *sz, *st, *sweight, *stransmittance, *slength, *sdensity;
    float *slog_t, *slog_middle, *slog_width;  // training: logarithms of distance, of the step's middle, of end / start
    int32_t *sray, *snext;
    float *sencoding, *shidden, *soutput, *scolor_in, *scolor_hidden[2], *scolor;
    float *d_output, *d_color, *d_hidden_a, *d_hidden_b;  // one block each
    float* basis;                       // (kTileRays, kShSlots)
    float *live_step, *live_t;          // (kLiveSteps): see beam.h
    // for the next phase: the trained samples' positions, and ∂L/∂encoding of each
    float *gx, *gy, *gz, *g_encoding;
    float* d_place;                     // one block, (3, kBlock): gradients by unit-cube points
    int g_count, g_capacity;
    float* weight_gradient;             // (net.size)
    Counters counters;
};

// The gradients of the rows of a level that a step's samples touch, in the order in which they were touched first.
struct RowGradients {
    float* gradients;                   // (capacity, features); 0 from `count` on
    uint32_t* rows;                     // (capacity + 1), counted from the level's first
    int count;
};

// A picture to render: rows [row0, row1) × columns [col0, col1) of a camera, in tiles of rays that are near each other.
struct RenderJob {
    Field field;
    March march;
    CameraDesc camera;
    float background[3];
    int row0, row1, col0, col1;
    float *rgb, *depth, *accumulation;  // (row1-row0, col1-col0[, 3])
    int tile_height, tile_width;        // pixels, at most kTileRays together; see `lay_tiles`
    bool beams;                         // find once for all rays of a tile which steps meet nothing
    bool bfloat;                        // where samples share colours: the first two layers in bfloat16, if there is that
};

struct SplatKernels;
struct Kernels {
    const char* name;
    int width;
    // training
    void (*make_rays)(const TrainStep&, int first, int last);
    void (*train_rays)(const TrainStep&, Scratch&, int first, int last);
    void (*trace_rays)(const Field&, const March&, const Rays&, Scratch&, int first, int last, float* rgb,
                       float* depth, float* accumulation, Counters&);
    void (*scatter)(const HashGrid&, int level, uint32_t first, uint32_t last, const float* x, const float* y,
                    const float* z, int n, const float* d_out, long ld, RowGradients&, uint32_t* slots, uint32_t since);
    void (*update_rows)(const AdamStep&, int features, RowGradients&, float* state, uint16_t* half_table);
    void (*pack_rows)(int features, const float* table, const float* moments, size_t n, float* state);
    void (*unpack_rows)(int features, const float* state, size_t n, float* table, float* moments);
    void (*update_weights)(const AdamStep&, int n, const float* gradient, float* weights, float* moments);
    void (*pair_weights)(int in, int out, const float* weights, uint32_t* pairs);  // if has_bfloat()
    void (*decay_occupancy)(float* values, const uint32_t* allowed, uint32_t* bits, int64_t first, int64_t last,
                            float decay, float threshold, double* sum, int64_t* occupied);
    // rendering
    void (*render_tiles)(const RenderJob&, Scratch&, int first_tile, int last_tile);
    // single parts of the field; points in the unit cube as three arrays, padded to a multiple of 16
    void (*encode)(const HashGrid&, const uint16_t* table, const float* x, const float* y, const float* z,
                   int n, float* out, long ld);
    void (*density)(const Field&, Scratch&, const float* x, const float* y, const float* z, int n, float* out);
    void (*field)(const Field&, Scratch&, const float* x, const float* y, const float* z,
                  const float* directions, int n, float* density, float* rgb);
    void (*field_backward)(const Field&, Scratch&, const float* x, const float* y, const float* z,
                           const float* directions, int n, const float* d_density, const float* d_rgb);
    int (*march_ray)(const Field&, const March&, const float* origin, const float* direction, float jitter,
                     int capacity, float* t, float* length, float* points);
    // For n rays from one point, at most kTileRays, each with its own step 0 at offset[r]: sets live[i] of each of the
    // beam's steps i < capacity to 1 if it may hold something, otherwise to 0. Returns false if there is no beam.
    bool (*live_steps)(const Field&, Scratch&, const float* origin, const float* directions, int n, int capacity,
                       uint8_t* live, int32_t* offset);
    // Looks into the occupied cells of layer z for those of a grid with twice the resolution; see finer.h.
    void (*finer_layer)(const Field&, Scratch&, int z, float threshold, uint32_t* fine);
    // For each of n descriptors: which of m others has the largest dot product with it, that product, and the second
    // largest. `scratch` has nearest_scratch(n, m) numbers. See matching.h.
    void (*nearest)(const uint8_t* a, int n, const uint8_t* b, int m, int32_t* scratch, int32_t* index, int32_t* first,
                    int32_t* second);
    // The parts of finding features; see sift.h.
    void (*smooth)(const float* in, float* out, int width, int height, int stride, const float* taps, int radius,
                   float* line);
    void (*subtract)(const float* a, const float* b, float* out, int64_t n);
    int (*extrema)(const float* const* three, int width, int height, int stride, float least, int32_t* found, int room);
    void (*directions)(const float* picture, int width, int height, int stride, float x, float y, float scale,
                       float* histogram);
    void (*describe)(const float* picture, int width, int height, int stride, float x, float y, float scale, float angle,
                     float* descriptor);
    bool (*has_bfloat)();  // whether the instruction set and this processor have bfloat16
    void (*to_half)(const float* from, uint16_t* to, int64_t n);
    void (*pixel_rays)(const CameraDesc&, const float* pixels, int n, float* origins, float* directions);
    const SplatKernels* splats;  // pictures of Gaussians; see splats.h
};

inline size_t nearest_scratch(int n, int m) { return 64 * (size_t(m) + 64 + n); }
size_t scratch_floats(const Network& net, int g_capacity);
void scratch_layout(Scratch& s, const Network& net, int g_capacity, float* block);

}  // namespace nerfscene
