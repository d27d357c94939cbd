#include "splatter.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "../include/splat.h"

namespace nerfscene {

namespace {
constexpr int kPart = 2048;  // Gaussians that a thread takes at a time

int parts_of(int n) { return (n + kPart - 1) / kPart; }

// Calls meet(tile) for each tile that a Gaussian's ellipse meets, row by row.
template <class Meet>
void each_tile(const Splat& s, const SplatCamera& k, int across, int down, Meet meet) {
    int top, bottom, left, right;
    if (!generic::splat_tile_rows(s, k, down, top, bottom)) return;
    for (int row = top; row <= bottom; ++row)
        if (generic::splat_tiles(s, k, across, row, left, right))
            for (int column = left; column <= right; ++column) meet(row * across + column);
}
}  // namespace

void CpuSplatter::draw(const SplatKernels& kernels, const SplatCamera& camera, const SplatArrays& arrays,
                       const float* background, float* rgb, float* alpha, float* depth) {
    drawn_ = -1, given_ = arrays.n;
    SplatPicture& p = picture_;
    p = {};
    p.camera = camera;
    std::copy(background, background + 3, p.background);
    p.across = (camera.columns + kSplatTile - 1) / kSplatTile, p.down = (camera.rows + kSplatTile - 1) / kSplatTile;
    p.rgb = rgb, p.alpha = alpha, p.depth = depth;
    project(kernels, arrays);
    sort();
    const int n = drawn_;
    Splat* splats = splats_.with(size_t(n));
    pool_.run(parts_of(n), [&](int, int i) {
        kernels.finish(camera, arrays, candidates_.data(), order_.data(), i * kPart, std::min(n, (i + 1) * kPart), splats);
    });
    p.splats = splats;
    list_tiles();
    const int tiles = p.across * p.down;
    p.transmittance = transmittance_.with(size_t(tiles) * kTilePixels), p.last = last_.with(size_t(tiles) * kTilePixels);
    p.deepest = deepest_.with(size_t(tiles));
    pool_.run(tiles, [&](int, int tile) { kernels.draw(p, tile); });
}

void CpuSplatter::project(const SplatKernels& kernels, const SplatArrays& arrays) {
    parts_ = parts_of(arrays.n);
    found_.assign(size_t(parts_), 0);
    SplatCandidate* candidates = candidates_.with(size_t(parts_) * kPart);
    pool_.run(parts_, [&](int, int i) {
        found_[i] = kernels.project(picture_.camera, arrays, i * kPart, std::min(arrays.n, (i + 1) * kPart),
                                    candidates + size_t(i) * kPart);
    });
    drawn_ = 0;
    for (const int found : found_) drawn_ += found;
}

// By depth; of equal depths, in their own order. Depths are positive, so that their bits have their order.
void CpuSplatter::sort() {
    constexpr int kBits = 11, kBuckets = 1 << kBits;
    const size_t n = size_t(drawn_);
    uint64_t *from = keys_.with(n), *to = other_keys_.with(n);
    size_t at = 0;
    std::vector<uint32_t> counts(3 * kBuckets, 0);
    for (int part = 0; part < parts_; ++part)
        for (int i = 0; i < found_[part]; ++i) {
            const uint32_t place = uint32_t(part) * kPart + uint32_t(i);
            uint32_t bits;
            std::memcpy(&bits, &candidates_.data()[place].depth, 4);
            from[at++] = uint64_t(bits) << 32 | place;
            for (int pass = 0; pass < 3; ++pass) ++counts[pass * kBuckets + (bits >> pass * kBits & (kBuckets - 1))];
        }
    for (int pass = 0; pass < 3; ++pass) {
        uint32_t* count = counts.data() + pass * kBuckets;
        uint32_t sum = 0;
        for (int b = 0; b < kBuckets; ++b) {
            const uint32_t here = count[b];
            count[b] = sum, sum += here;
        }
        for (size_t i = 0; i < n; ++i) to[count[from[i] >> (32 + pass * kBits) & (kBuckets - 1)]++] = from[i];
        std::swap(from, to);
    }
    uint32_t* order = order_.with(n);
    for (size_t i = 0; i < n; ++i) order[i] = uint32_t(from[i]);
}

void CpuSplatter::list_tiles() {
    SplatPicture& p = picture_;
    const int n = drawn_, tiles = p.across * p.down;
    // A part of the Gaussians per turn, each with its own count of every tile: few parts, as there are many tiles.
    const int parts = std::max(1, std::min(4 * pool_.size(), parts_of(n)));
    const auto begin = [&](int part) { return int(int64_t(n) * part / parts); };
    uint32_t* counts = counts_.with(size_t(parts) * tiles);
    Splat* splats = splats_.data();
    met_.resize(std::max(met_.size(), size_t(parts)));
    pool_.run(parts, [&](int, int part) {
        uint32_t* count = counts + size_t(part) * tiles;
        std::fill(count, count + tiles, 0u);
        std::vector<uint32_t>& met = met_[part];
        met.clear();
        for (int i = begin(part); i < begin(part + 1); ++i) {
            const size_t before = met.size();
            each_tile(splats[i], p.camera, p.across, p.down, [&](int tile) { ++count[tile], met.push_back(uint32_t(tile)); });
            splats[i].slots = uint32_t(met.size() - before);
        }
    });
    uint32_t* first = first_entry_.with(size_t(tiles) + 1);
    uint64_t sum = 0;
    for (int tile = 0; tile < tiles; ++tile) {
        first[tile] = uint32_t(sum);
        for (int part = 0; part < parts; ++part) {
            uint32_t& count = counts[size_t(part) * tiles + tile];
            const uint32_t here = count;
            count = uint32_t(sum), sum += here;
        }
    }
    if (sum >> 31) drawn_ = -1;  // nothing to go back from
    if (drawn_ < 0) throw std::length_error("so many large Gaussians can't be drawn at this size");
    first[tiles] = slots_ = uint32_t(sum);
    uint32_t slot = 0;
    for (int i = 0; i < n; ++i) splats[i].first_slot = slot, slot += splats[i].slots;
    SplatEntry* entries = entries_.with(size_t(sum));
    pool_.run(parts, [&](int, int part) {
        uint32_t* next = counts + size_t(part) * tiles;
        const uint32_t* tile = met_[part].data();
        for (int i = begin(part); i < begin(part + 1); ++i)
            for (uint32_t slot = splats[i].first_slot, past = slot + splats[i].slots; slot < past; ++slot)
                entries[next[*tile++]++] = {uint32_t(i), slot};
    });
    p.first_entry = first, p.entries = entries;
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
    pool_.run(parts_of(drawn_), [&](int, int i) {
        kernels.project_backward(p, arrays, i * kPart, std::min(drawn_, (i + 1) * kPart), to);
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
    for (size_t i = 0; i < numbers / 3; ++i) p.total += p.weights[i] > 0.0f ? 3.0 * p.weights[i] : 0.0;
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
