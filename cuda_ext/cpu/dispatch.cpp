// Finds the compiled instruction sets that this machine can run, and lays out a worker's memory.
#include "dispatch.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "../include/occupancy.h"

namespace nerfscene {

#if defined(NS_HAVE_AVX2)
namespace avx2 { extern const Kernels kernels; }
#endif
#if defined(NS_HAVE_AVX512)
namespace avx512 { extern const Kernels kernels; }
#endif
namespace portable { extern const Kernels kernels; }

int available_kernels(const Kernels** out) {
    int n = 0;
#if defined(NS_HAVE_AVX512)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        out[n++] = &avx512::kernels;
#endif
#if defined(NS_HAVE_AVX2)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
        __builtin_cpu_supports("bmi2")) out[n++] = &avx2::kernels;
#endif
    out[n++] = &portable::kernels;
    return n;
}

void make_coarse(const Space& space, const uint32_t* occupancy, uint32_t* coarse) {
    constexpr int n = kCoarse;  // a row of coarse cells is one word, of which bit x is the cell's
    static_assert(n == 32, "a row must be a word");
    const int r = space.occupancy_resolution;
    std::vector<uint32_t> any(n * n, 0), spread(n * n);
    std::vector<int> in(r), next(r);  // a cell's coarse cell, and the first cell of the one after that
    for (int x = 0; x < r; ++x) in[x] = generic::coarse_cell(x, r), next[x] = ((in[x] + 1) * r + n - 1) / n;
    const uint32_t* word = occupancy;  // r is a multiple of 32, so a word is within one row
    for (int z = 0; z < r; ++z)
        for (int y = 0; y < r; ++y) {
            uint32_t& row = any[in[z] * n + in[y]];
            for (int x0 = 0; x0 < r; x0 += 32, ++word)
                for (uint32_t bits = *word; bits;) {
                    const int x = x0 + __builtin_ctz(bits), past = next[x] - x0;
                    row |= 1u << in[x];
                    bits = past < 32 ? bits >> past << past : 0;  // the coarse cell's others need not be looked at
                }
        }
    for (uint32_t& row : any) {
        const uint32_t here = row;
        for (int d = 1; d <= kCoarseReach; ++d) row |= here << d | here >> d;
    }
    for (int step : {1, n}) {  // along y, then z
        for (int i = 0; i < n * n; ++i) {
            const int at = i / step % n;
            uint32_t set = 0;
            for (int d = -kCoarseReach; d <= kCoarseReach; ++d)
                if (at + d >= 0 && at + d < n) set |= any[i + d * step];
            spread[i] = set;
        }
        any.swap(spread);
    }
    std::copy(any.begin(), any.end(), coarse);
}

void make_halved(const Space& space, const uint32_t* occupancy, uint32_t* halved) {
    const int r = space.occupancy_resolution, half = r / 2;
    std::fill(halved, halved + (size_t(half) * half * half + 31) / 32, 0u);
    for (int z = 0; z < half; ++z)
        for (int y = 0; y < half; ++y) {
            const size_t row = (size_t(z) * half + y) * half;
            for (int word = 0; word < r / 32; ++word) {
                uint32_t bits = 0;
                for (int k = 0; k < 4; ++k)
                    bits |= occupancy[((size_t(2 * z + k / 2) * r + 2 * y + k % 2) * r) / 32 + word];
                for (bits = (bits | bits >> 1) & 0x55555555u; bits; bits &= bits - 1) {
                    const size_t cell = row + word * 16 + __builtin_ctz(bits) / 2;
                    halved[cell >> 5] |= 1u << (cell & 31);
                }
            }
        }
}

int lay_tiles(RenderJob& job) {
    const int height = job.row1 - job.row0, width = job.col1 - job.col0;
    if (height == 0 || width == 0) return 0;
    job.tile_height = std::min(height, 8);
    job.tile_width = kTileRays / job.tile_height;
    return (height + job.tile_height - 1) / job.tile_height * ((width + job.tile_width - 1) / job.tile_width);
}

namespace {
// Allocates pieces of a block, aligned to 64 bytes. With a null block it only adds up their sizes.
struct Carver {
    float* block;
    size_t used = 0;
    template <class T>
    void take(T*& pointer, size_t n) {
        if (block) pointer = reinterpret_cast<T*>(block + used);
        used += (n + 31) / 16 * 16;  // with room for one more vector after each array
    }
};
size_t carve(Scratch& s, const Network& net, int g_capacity, float* block) {
    Carver c{block};
    c.take(s.cx, kCandidates), c.take(s.cy, kCandidates), c.take(s.cz, kCandidates);
    c.take(s.ct, kCandidates), c.take(s.clength, kCandidates), c.take(s.cx_scene, kCandidates);
    c.take(s.calpha, kCandidates), c.take(s.ccell, kCandidates);
    c.take(s.cencoding, size_t(kCandidates) * net.encoding), c.take(s.chidden, size_t(kCandidates) * net.hidden);
    c.take(s.sx, kSurvivors), c.take(s.sy, kSurvivors), c.take(s.sz, kSurvivors), c.take(s.st, kSurvivors);
    c.take(s.sweight, kSurvivors), c.take(s.stransmittance, kSurvivors), c.take(s.slength, kSurvivors);
    c.take(s.slog_t, kSurvivors), c.take(s.slog_middle, kSurvivors), c.take(s.slog_width, kSurvivors);
    c.take(s.sdensity, kSurvivors), c.take(s.sray, kSurvivors), c.take(s.snext, kSurvivors);
    c.take(s.sencoding, size_t(kSurvivors) * net.encoding), c.take(s.shidden, size_t(kSurvivors) * net.hidden);
    c.take(s.soutput, size_t(kSurvivors) * net.outputs), c.take(s.scolor_in, size_t(kSurvivors) * 32);
    for (int i = 0; i < 2; ++i)
        c.take(s.scolor_hidden[i], net.color_layers > i ? size_t(kSurvivors) * net.color_hidden : 0);
    c.take(s.scolor, size_t(kSurvivors) * 4);
    c.take(s.d_output, size_t(kBlock) * net.outputs), c.take(s.d_color, size_t(kBlock) * 16);
    c.take(s.d_hidden_a, size_t(kBlock) * kMaxWidth), c.take(s.d_hidden_b, size_t(kBlock) * kMaxWidth);
    c.take(s.basis, size_t(kTileRays) * kShSlots);
    c.take(s.live_step, kLiveSteps), c.take(s.live_t, kLiveSteps);
    c.take(s.gx, g_capacity), c.take(s.gy, g_capacity), c.take(s.gz, g_capacity);
    c.take(s.g_encoding, size_t(g_capacity) * net.encoding);
    c.take(s.d_place, 3 * size_t(kBlock));
    c.take(s.weight_gradient, net.size);
    return c.used;
}
}  // namespace

size_t scratch_floats(const Network& net, int g_capacity) {
    Scratch s = {};
    return carve(s, net, g_capacity, nullptr);
}

void scratch_layout(Scratch& s, const Network& net, int g_capacity, float* block) {
    std::memset(block, 0, sizeof(float) * scratch_floats(net, g_capacity));
    carve(s, net, g_capacity, block);
    s.g_capacity = g_capacity;
    s.g_count = 0;
    s.counters = {};
}

}  // namespace nerfscene
