// What the common code and the per-instruction-set code share: the arguments of a step, a worker's
// memory, and the table of entry points. Plain data, outside the instruction sets' namespaces.
#pragma once
#include <cstddef>
#include <cstdint>

#include "../include/desc.h"

namespace nerfscene {

constexpr int kTileRays = 64;           // rays marched together by one thread
constexpr int kRoundSamples = 8;        // at most this many samples a ray a round
constexpr int kCandidates = kTileRays * kRoundSamples;
constexpr int kSurvivors = 4096;        // per tile; a tile of fog takes fewer rays
constexpr int kBlock = 128;             // samples through the networks at a time
constexpr int kShSlots = 32;            // per-ray direction basis, room for both uses

// Rays to trace; arrays of n (or n × 3) floats. Training fills them from the photos.
struct Rays {
    float *origins, *directions;        // scene units, unit length
    float *jitter;                      // in [0, 1): where inside its steps the ray is sampled
    float *targets, *backgrounds;       // training only; linear combination c = Σ w rgb + T background
    int32_t* photos;                    // training only: whose exposure a ray has; null or below 0: none
    float* d_exposures;                 // training only: written, the gradient of that photo's log-gains
    int n;
    float* pixels;                      // training only: written, where in its photo a ray begins, (n, 2)
    float* d_rays;                      // by origin and direction, (n, 6), written; null: not wanted
    const float* known;                 // of given rays: how far away what it sees is, 0: not known; null: of none
};

struct TrainStep {
    Field field;
    March march;
    Rays rays;
    Photos photos;
    float* occupancy_values;            // (cells): decaying maxima of optical thickness; may be null
    uint32_t seed;
    uint64_t first_ray;                 // how many rays were drawn before this step
    float huber_delta, distortion, loss_scale;
    float full_gradient_distance;       // nearer samples' gradients are scaled down; 0: none are
    const float* exposures;             // (photos, 3)
    float exposure_pull;
    float sky_pull, sky_distance;
    float depth_pull, depth_slack, depth_most;
};

struct Counters {
    double squared_error;               // Σ over rays and channels
    int64_t candidates, survivors, rays, dropped;
};

// What one worker needs; pointers into one block carved up by `scratch_layout`.
struct Scratch {
    // candidates of one round
    float *cx, *cy, *cz, *ct, *clength, *cx_scene, *calpha;
    int32_t* ccell;
    float *cencoding, *chidden;
    // survivors of the tile
    float *sx, *sy, *sz, *st, *sweight, *stransmittance, *slength, *sdensity;
    int32_t *sray, *snext;
    float *sencoding, *shidden, *soutput, *scolor_in, *scolor_hidden[2], *scolor;
    float *d_output, *d_color, *d_hidden_a, *d_hidden_b;  // one block each
    float* basis;                       // (kTileRays, kShSlots)
    // handed to the next phase: where the trained samples were, and ∂L/∂encoding there
    float *gx, *gy, *gz, *g_encoding;
    float* d_place;                     // one block, (3, kBlock): by unit-cube points
    int g_count, g_capacity;
    float* weight_gradient;             // (net.size)
    Counters counters;
};

// Pictures to render: rays of a camera, rows [row0, row1), columns [col0, col1).
struct RenderJob {
    Field field;
    March march;
    CameraDesc camera;
    float background[3];
    int row0, row1, col0, col1;
    float *rgb, *depth, *accumulation;  // (row1-row0, col1-col0[, 3])
};

struct Kernels {
    const char* name;
    int width;
    // training
    void (*make_rays)(const TrainStep&, int first, int last);
    void (*train_rays)(const TrainStep&, Scratch&, int first, int last);
    void (*trace_rays)(const Field&, const March&, const Rays&, Scratch&, int first, int last, float* rgb,
                       float* depth, float* accumulation, Counters&);
    void (*scatter)(const HashGrid&, int level, uint32_t first, uint32_t last, const float* x, const float* y,
                    const float* z, int n, const float* d_out, long ld, float* gradient, uint64_t* touched);
    void (*update_rows)(const AdamStep&, int features, uint32_t first, uint32_t last, uint64_t* touched,
                        float* gradient, float* table, float* moments, uint16_t* half_table);
    void (*update_weights)(const AdamStep&, int n, const float* gradient, float* weights, float* moments);
    void (*decay_occupancy)(float* values, const uint32_t* allowed, uint32_t* bits, int64_t first, int64_t last,
                            float decay, float threshold, double* sum, int64_t* occupied);
    // rendering
    void (*render_rows)(const RenderJob&, Scratch&, int first_ray, int last_ray);
    // the field by itself: unit points (n as three arrays, padded to 16) and directions
    void (*encode)(const HashGrid&, const uint16_t* table, const float* x, const float* y, const float* z,
                   int n, float* out, long ld);
    void (*density)(const Field&, Scratch&, const float* x, const float* y, const float* z, int n, float* out);
    void (*field)(const Field&, Scratch&, const float* x, const float* y, const float* z,
                  const float* directions, int n, float* density, float* rgb);
    void (*field_backward)(const Field&, Scratch&, const float* x, const float* y, const float* z,
                           const float* directions, int n, const float* d_density, const float* d_rgb);
    int (*march_ray)(const Field&, const March&, const float* origin, const float* direction, float jitter,
                     int capacity, float* t, float* length, float* points);
    void (*to_half)(const float* from, uint16_t* to, int64_t n);
    void (*pixel_rays)(const CameraDesc&, const float* pixels, int n, float* origins, float* directions);
};

size_t scratch_floats(const Network& net, int g_capacity);
void scratch_layout(Scratch& s, const Network& net, int g_capacity, float* block);

}  // namespace nerfscene
