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
    const int r = space.occupancy_resolution, n = kCoarse;
    std::vector<uint8_t> any(size_t(n) * n * n, 0), spread(any.size());
    const int64_t words = int64_t(r) * r * r / 32;  // r is a multiple of 32, so a word is within one row
    for (int64_t w = 0; w < words; ++w) {
        if (!occupancy[w]) continue;
        const int64_t cell = w * 32;
        const int x0 = int(cell % r), y = int(cell / r % r), z = int(cell / r / r);
        const size_t row = (size_t(generic::coarse_cell(z, r)) * n + generic::coarse_cell(y, r)) * n;
        for (uint32_t bits = occupancy[w]; bits; bits &= bits - 1)
            any[row + generic::coarse_cell(x0 + __builtin_ctz(bits), r)] = 1;
    }
    for (int step : {1, n, n * n}) {  // one axis after the other
        for (int i = 0; i < n * n * n; ++i) {
            const int at = i / step % n;
            uint8_t set = 0;
            for (int d = -kCoarseReach; d <= kCoarseReach; ++d)
                if (at + d >= 0 && at + d < n) set |= any[i + d * step];
            spread[i] = set;
        }
        any.swap(spread);
    }
    std::fill(coarse, coarse + kCoarseWords, 0u);
    for (int i = 0; i < n * n * n; ++i) coarse[i >> 5] |= uint32_t(any[i]) << (i & 31);
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
