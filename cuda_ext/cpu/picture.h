// Traces the rays of a tile of a picture side by side: a step of 64 rays is a few vectors, and their samples lie near
// each other, so that they share the table's rows. Gives what trace.h gives, to the bit, unless samples share colours.
#pragma once
#include "../include/composite.h"
#include "beam.h"
#include "networks.h"

NS_BEGIN

constexpr int kGroups = kTileRays / kWidth;  // vectors of rays in a tile
constexpr int kMeetings = 64;                // most in a round
constexpr int kRoundOfPictures = 1, kLeastRound = 64;  // candidates that a round looks for: for each ray, and at least

// The candidates of a round that one vector of rays has at one step.
struct Meeting {
    float step, t;     // of the beam; its distance if it is shared
    int group, first;  // which vector; its first candidate
    uint32_t lanes;    // the rays that have a candidate
};

// The rays of a tile as vectors.
struct TileRays {
    alignas(64) float dx[kTileRays], dy[kTileRays], dz[kTileRays];
    alignas(64) float ox[kTileRays], oy[kTileRays], oz[kTileRays];
    alignas(64) float begin[kTileRays], end[kTileRays];  // the steps, of the beam, that a ray has
    alignas(64) float first[kTileRays], offset[kTileRays], t_end[kTileRays];  // as in RayState
    alignas(64) float transmittance[kTileRays], depth[kTileRays], weight[kTileRays];
    uint32_t active[kGroups];
    int row[kTileRays];      // the ray's newest colour among the survivors, or -1
    float since[kTileRays];  // the step of the first sample that shares it
};

static inline void lay_rays(const RayState* rays, int n, TileRays& tile) {
    for (int g = 0; g < kGroups; ++g) tile.active[g] = 0;
    for (int r = 0; r < kTileRays; ++r) {
        const RayState& ray = rays[r < n ? r : 0];
        tile.dx[r] = ray.d.x, tile.dy[r] = ray.d.y, tile.dz[r] = ray.d.z;
        tile.ox[r] = ray.o.x, tile.oy[r] = ray.o.y, tile.oz[r] = ray.o.z;
        tile.transmittance[r] = 1.0f;
        tile.depth[r] = tile.weight[r] = 0.0f;
        tile.row[r] = -1;
        const bool active = r < n && ray.active;
        if (active) tile.active[r / kWidth] |= 1u << (r % kWidth);
        tile.begin[r] = active ? float(ray.step + ray.offset) : 0.0f;
        tile.end[r] = active ? float(ray.steps + ray.offset) : 0.0f;
        tile.t_end[r] = active ? ray.t_end : 0.0f;
        tile.first[r] = active ? ray.law.first : 0.0f;
        tile.offset[r] = active ? float(ray.offset) : 0.0f;
    }
}

// The distances of a vector of rays at a step of the beam.
static inline vf distances(const TileRays& tile, const LiveSteps& live, const Space& space, int g, float step,
                           float shared_t) {
    if (live.shared) return vf{} + shared_t;
    const vf k = step - load(tile.offset + g * kWidth);
    return (k + kBeamJitter) * space.step + load(tile.first + g * kWidth);
}

// Finds the next candidates, of about `want` at most. Returns their number, and the number of meetings in `meetings`.
static inline int meet(const Field& f, const Space& space, TileRays& tile, LiveSteps& live, int want, Scratch& s,
                       Meeting* meeting, int& meetings) {
    int found = 0;
    meetings = 0;
    while (found < want && meetings + kGroups <= kMeetings) {
        if (live.at == live.count) {
            live.at = live.count = 0;
            if (!find_live(f, space, live)) break;
        }
        const float step = live.step[live.at], shared_t = live.t[live.at];
        ++live.at;
        for (int g = 0; g < kGroups; ++g) {
            if (!tile.active[g]) continue;
            const int i = g * kWidth;
            const vf t = distances(tile, live, space, g, step, shared_t);
            vf x = t * load(tile.dx + i) + load(tile.ox + i), y = t * load(tile.dy + i) + load(tile.oy + i),
               z = t * load(tile.dz + i) + load(tile.oz + i);
            to_unit(space, x, y, z);
            const vi cells = occupancy_cell(x, y, z, space.occupancy_resolution);
            const vf k = vf{} + step;
            const vi counts = (t < load(tile.t_end + i)) & (k >= load(tile.begin + i)) & (k < load(tile.end + i));
            const uint32_t lanes = gather_bits(f.occupancy, cells, lane_bits(counts) & tile.active[g]);
            if (!lanes) continue;
            compress(s.cx + found, x, lanes);
            compress(s.cy + found, y, lanes);
            compress(s.cz + found, z, lanes);
            meeting[meetings++] = {step, shared_t, g, found, lanes};
            found += __builtin_popcount(lanes);
        }
    }
    return found;
}

// Works out the survivors' colours and adds them to the rays'.
static inline void colour_tile(const Field& f, bool shared, const uint32_t* pairs, TileRays& tile, Scratch& s,
                               int& survivors, float* rgb) {
    const int h = f.net.hidden;
    for (int i = 0; shared && i < survivors; ++i) {
        const float inverse = 1.0f / s.sweight[i];
        float* row = s.shidden + size_t(i) * h;
        for (int k = 0; k < h; k += kWidth) store(row + k, load(row + k) * inverse);
    }
    color_forward(f, s, survivors, pairs);
    for (int i = 0; i < survivors; ++i) {
        float* to = rgb + 3 * s.sray[i];
        for (int c = 0; c < 3; ++c) to[c] += s.sweight[i] * s.scolor[i * 4 + c];
    }
    for (int r = 0; r < kTileRays; ++r) tile.row[r] = -1;
    survivors = 0;
}

// Adds a candidate to the survivors. One that shares a colour adds its hidden activations, by weight, to that survivor's.
static inline void survive(const March& march, TileRays& tile, Scratch& s, int h, int ray, int candidate, float weight,
                           float step, int& survivors) {
    const float* from = s.chidden + size_t(candidate) * h;
    const bool share = march.shared_steps > 0.0f;
    int row = tile.row[ray];
    if (share && row >= 0 && step - tile.since[ray] < march.shared_steps) {
        float* to = s.shidden + size_t(row) * h;
        for (int k = 0; k < h; k += kWidth) store(to + k, load(to + k) + load(from + k) * weight);
        s.sweight[row] += weight;
        return;
    }
    row = tile.row[ray] = survivors++;
    tile.since[ray] = step;
    const float factor = share ? weight : 1.0f;
    float* to = s.shidden + size_t(row) * h;
    for (int k = 0; k < h; k += kWidth) store(to + k, load(from + k) * factor);
    s.sweight[row] = weight;
    s.sray[row] = ray;
}

// Composites a round's candidates, whose densities have been evaluated.
static inline void composite(const March& march, const Space& space, int h, const Meeting* meeting, int meetings,
                             const LiveSteps& live, TileRays& tile, Scratch& s, int& survivors) {
    for (int m = 0; m < meetings; ++m) {
        const Meeting& now = meeting[m];
        const int g = now.group, i = g * kWidth;
        const uint32_t lanes = now.lanes & tile.active[g];
        if (!lanes) continue;
        const vf t = distances(tile, live, space, g, now.step, now.t);
        const vf length = ns_max(vf{} + space.step, t * space.cone);
        const vf alpha = step_alpha(expand(s.calpha + now.first, now.lanes), length);
        const vf before = load(tile.transmittance + i), weight = before * alpha;
        const vi here = lanes_mask(lanes);
        const vf after = here ? before * (1.0f - alpha) : before;
        store(tile.transmittance + i, after);
        tile.active[g] &= ~lane_bits(after < vf{} + march.stop_transmittance);
        const vi strong = here & (weight > vf{} + march.min_weight);
        uint32_t bits = lane_bits(strong);
        if (!bits) continue;
        const vf counted = strong ? weight : vf{};
        store(tile.depth + i, load(tile.depth + i) + counted * t);
        store(tile.weight + i, load(tile.weight + i) + counted);
        alignas(64) float weights[kWidth];
        store(weights, weight);
        for (; bits; bits &= bits - 1) {
            const int lane = __builtin_ctz(bits);
            const int candidate = now.first + __builtin_popcount(now.lanes & ((1u << lane) - 1u));
            survive(march, tile, s, h, i + lane, candidate, weights[lane], now.step, survivors);
        }
    }
}

// The weights of the first two layers as products in bfloat16 take them; null: these are in float.
struct Pairs {
    const uint32_t *hidden, *colour;
};

// Renders n rays that have been started and have joined their beam. backgrounds, rgb: (n, 3); depth, accumulation: (n).
static inline void trace_tile(const RenderJob& job, const Space& space, const Pairs& pairs, const RayState* rays, int n,
                              Scratch& s, LiveSteps& live, const float* backgrounds, float* rgb, float* depth,
                              float* accumulation) {
    const Field& f = job.field;
    const March& march = job.march;
    TileRays tile;
    Meeting meeting[kMeetings];
    const bool shared = march.shared_steps > 0.0f;
    lay_rays(rays, n, tile);
    for (int i = 0; i < 3 * n; ++i) rgb[i] = 0.0f;
    live.at = 0;
    int survivors = 0;
    for (;;) {
        int left = 0;
        for (int g = 0; g < kGroups; ++g) left += __builtin_popcount(tile.active[g]);
        if (!left) break;
        int meetings;
        const int want = ns_max(kRoundOfPictures * left, kLeastRound);
        const int candidates = meet(f, space, tile, live, want, s, meeting, meetings);
        if (!candidates) break;
        density_forward<Lie::kTogether>(f, s.cx, s.cy, s.cz, candidates, s.cencoding, s.chidden, s.calpha,
                                        pairs.hidden);
        if (survivors + candidates > kSurvivors) colour_tile(f, shared, pairs.colour, tile, s, survivors, rgb);
        composite(march, space, f.net.hidden, meeting, meetings, live, tile, s, survivors);
    }
    colour_tile(f, shared, pairs.colour, tile, s, survivors, rgb);
    for (int r = 0; r < n; ++r) {
        depth[r] = tile.weight[r] > 0.0f ? tile.depth[r] / tile.weight[r] : 0.0f;
        accumulation[r] = 1.0f - tile.transmittance[r];
        for (int c = 0; c < 3; ++c) rgb[3 * r + c] += tile.transmittance[r] * backgrounds[3 * r + c];
    }
}

NS_END
