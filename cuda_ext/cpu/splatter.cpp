#include "splatter.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "../include/splat.h"

namespace nerfscene {

namespace {
constexpr int kPart = 2048;  // Gaussians that a thread takes at a time

int parts_of(int n) { return (n + kPart - 1) / kPart; }
}  // namespace

void CpuSplatter::draw(const SplatKernels& kernels, const SplatCamera& camera, const SplatArrays& arrays,
                       const float* background, const SplatOutput& to) {
    drawn_ = -1, given_ = arrays.n;
    SplatPicture& p = picture_;
    p = {};
    p.camera = camera;
    std::copy(background, background + 3, p.background);
    p.across = (camera.columns + kSplatTile - 1) / kSplatTile, p.down = (camera.rows + kSplatTile - 1) / kSplatTile;
    p.rgb = to.rgb, p.alpha = to.alpha, p.depth = to.depth, p.back = to.back;
    project(kernels, arrays);
    list(kernels);
    const int tiles = p.across * p.down;
    if (p.back) {
        p.transmittance = transmittance_.with(size_t(tiles) * kTilePixels), p.last = last_.with(size_t(tiles) * kTilePixels);
        p.deepest = deepest_.with(size_t(tiles));
    }
    uint32_t longest = 0;
    for (int tile = 0; tile < tiles; ++tile) longest = std::max(longest, p.first_entry[tile + 1] - p.first_entry[tile]);
    uint64_t* keys = keys_.with(2 * size_t(longest) * pool_.size());
    pool_.run(tiles, [&](int worker, int tile) {
        uint64_t* mine = keys + 2 * size_t(longest) * worker;
        kernels.draw(p, {mine, mine + longest}, tile);
    });
    if (!p.back) drawn_ = -1;
}

void CpuSplatter::project(const SplatKernels& kernels, const SplatArrays& arrays) {
    SplatPicture& p = picture_;
    const size_t n = size_t(arrays.n), tiles = size_t(p.across) * p.down;
    // A part of the Gaussians per turn, each with its own count of every tile: few parts, as there are many tiles.
    const int parts = std::max(1, std::min(4 * pool_.size(), parts_of(arrays.n)));
    uint32_t* counts = counts_.with(parts * tiles);
    Splat* splats = splats_.with(n);
    SplatTiles* met = met_.with(n);
    p.splats = splats;
    parts_.resize(size_t(parts));
    const auto begin = [&](int part) { return int(int64_t(arrays.n) * part / parts); };
    for (int i = 0; i < parts; ++i)
        parts_[i] = {begin(i), begin(i + 1), splats + begin(i), met + begin(i), counts + i * tiles, 0, 0};
    pool_.run(parts, [&](int, int i) { kernels.project(p, arrays, parts_[i]); });
}

void CpuSplatter::list(const SplatKernels& kernels) {
    SplatPicture& p = picture_;
    const size_t tiles = size_t(p.across) * p.down;
    uint64_t slots = 0;
    int drawn = 0;
    for (const SplatPart& part : parts_) slots += part.slots, drawn += part.found;
    if (slots >> 31) throw std::length_error("so many large Gaussians can't be drawn at this size");
    uint32_t* first = first_entry_.with(tiles + 1);
    uint32_t sum = 0;
    for (size_t tile = 0; tile < tiles; ++tile) {
        first[tile] = sum;
        for (SplatPart& part : parts_) {
            const uint32_t here = part.counts[tile];
            part.counts[tile] = sum, sum += here;
        }
    }
    first[tiles] = slots_ = uint32_t(slots);
    p.first_entry = first, p.listed = listed_.with(slots_);
    if (p.back) p.entries = entries_.with(slots_), p.places = places_.with(slots_);
    std::vector<uint32_t> slot(parts_.size(), 0);
    for (size_t i = 1; i < parts_.size(); ++i) slot[i] = slot[i - 1] + uint32_t(parts_[i - 1].slots);
    pool_.run(int(parts_.size()), [&](int, int i) { kernels.list(p, parts_[i], slot[i]); });
    drawn_ = drawn;
}

void CpuSplatter::backward(const SplatKernels& kernels, const SplatArrays& arrays, const float* d_rgb, const float* d_alpha,
                           const SplatGradients& to) {
    SplatPicture& p = picture_;
    const int tiles = p.across * p.down;
    p.d_rgb = d_rgb, p.d_alpha = d_alpha;
    p.sums = sums_.with(slots_), p.touched = touched_.with(slots_);
    p.d_background = d_background_.with(size_t(tiles) * 3);
    if (slots_) std::memset(p.touched, 0, slots_);
    pool_.run(tiles, [&](int, int tile) { kernels.draw_backward(p, tile); });
    double background[3] = {};
    for (int i = 0; i < 3 * tiles; ++i) background[i % 3] += p.d_background[i];
    for (int c = 0; c < 3; ++c) to.background[c] = float(background[c]);
    // Gaussians that the last picture showed and this one does not must have none left.
    pool_.run(parts_of(arrays.n), [&](int, int i) {
        const int first = i * kPart, last = std::min(arrays.n, first + kPart);
        for (int g = first; g < last; ++g)
            if (to.pixels[g] != 0) {
                std::fill(to.centres + 3 * size_t(g), to.centres + 3 * size_t(g) + 3, 0.0f);
                std::fill(to.log_scales + 3 * size_t(g), to.log_scales + 3 * size_t(g) + 3, 0.0f);
                std::fill(to.turns + 4 * size_t(g), to.turns + 4 * size_t(g) + 4, 0.0f);
                float* h = to.harmonics + 3 * size_t(arrays.count) * g;
                std::fill(h, h + 3 * size_t(arrays.count), 0.0f);
                to.opacities[g] = to.pull[g] = to.weight[g] = 0.0f, to.pixels[g] = 0;
            }
    });
    pool_.run(int(parts_.size()), [&](int, int i) {
        kernels.project_backward(p, arrays, parts_[i].splats, parts_[i].found, to);
    });
}

void cpu_photo_loss(const SplatKernels& kernels, ThreadPool& pool, PhotoLoss& p, float* found) {
    generic::loss_taps(p.taps);
    const size_t numbers = 3 * size_t(p.rows) * p.columns;
    static Room<float> planes;  // kept: fresh memory would take as long as the rest
    std::vector<float> scratch(loss_scratch(p.columns) * pool.size());
    std::vector<double> sums(6 * size_t(p.rows));
    p.shown = planes.with(5 * numbers), p.target = p.shown + numbers, p.slopes = p.target + numbers, p.sums = sums.data();
    p.total = 0;
    if (!p.weights) p.total = double(numbers);
    for (size_t i = 0; i < numbers / 3 && p.weights; ++i) p.total += p.weights[i] > 0.0f ? 3.0 * p.weights[i] : 0.0;
    const auto memory = [&](int worker) { return scratch.data() + loss_scratch(p.columns) * worker; };
    pool.run(p.rows, [&](int, int row) { kernels.loss_prepare(p, row); });
    if (p.share > 0.0f) pool.run(p.rows, [&](int worker, int row) { kernels.loss_windows(p, memory(worker), row); });
    pool.run(p.rows, [&](int worker, int row) { kernels.loss_gradient(p, memory(worker), row); });
    generic::loss_found(p, found);
}

void cpu_improve_splats(const SplatKernels& kernels, ThreadPool& pool, const SplatAdam* adam, int arrays) {
    for (int a = 0; a < arrays; ++a)
        pool.run(parts_of(int(adam[a].n)), [&](int, int i) {
            kernels.adam(adam[a], int64_t(i) * kPart, std::min(adam[a].n, int64_t(i + 1) * kPart));
        });
}

}  // namespace nerfscene
