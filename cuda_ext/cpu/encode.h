// The hash grid on the CPU: encode points, scatter gradients, update the rows that have a gradient.
#pragma once
#include "../include/adam.h"
#include "../include/hashgrid.h"
#include "simd.h"

NS_BEGIN

// Rows and weights of kWidth points in one level, kept in memory so that loops over points can index them.
struct Corners {
    alignas(64) uint32_t row[8][kWidth];
    alignas(64) float weight[8][kWidth];
};
NS_HD Cell<vf> find_corners(const HashGrid& grid, int level, vf x, vf y, vf z, Corners& out) {
    const Cell<vf> cell = locate(x, y, z, float(grid.resolution[level]));
    vu row[8];
    vf weight[8];
    level_corners(grid, level, cell, row, weight);
    for (int k = 0; k < 8; ++k) {
        store(out.row[k], row[k]);
        store(out.weight[k], weight[k]);
    }
    return cell;
}

// The lanes whose cell is not that of the lane before; the first always is one.
NS_HD uint32_t new_cells(const Cell<vf>& cell) {
    const vi same = (cell.x == lane_before(cell.x)) & (cell.y == lane_before(cell.y)) & (cell.z == lane_before(cell.z));
    return (~lane_bits(same) | 1u) & uint32_t((uint64_t(1) << kWidth) - 1);
}

// How points that are encoded together lie. Apart: anywhere. Together: those that follow each other are often in one
// cell, except in the finest level.
enum class Lie { kApart, kTogether };

// Writes out[i][level·F …] for n points. Their arrays x, y and z must be readable up to a multiple of kWidth. Rows are
// scattered in memory, so those of all levels are fetched before the first is used.
template <int F, Lie how>
static inline void encode_points(const HashGrid& grid, const uint16_t* table, const float* x, const float* y,
                          const float* z, int n, float* out, long ld) {
    Corners at[kMaxLevels];
    uint32_t fresh[kMaxLevels];
    const int fetched_from = how == Lie::kTogether ? grid.levels - 1 : 0;
    for (int i = 0; i < n; i += kWidth) {
        const int m = n - i < kWidth ? n - i : kWidth;
        const uint32_t there = uint32_t((uint64_t(1) << m) - 1);
        const vf px = load(x + i), py = load(y + i), pz = load(z + i);
        for (int level = 0; level < grid.levels; ++level) {
            const Cell<vf> cell = find_corners(grid, level, px, py, pz, at[level]);
            if (how == Lie::kTogether) fresh[level] = new_cells(cell) & there;
            if (level < fetched_from) continue;
            const uint16_t* rows = table + size_t(grid.offset[level]) * F;
            for (int k = 0; k < 8; ++k)
                for (int s = 0; s < m; ++s) __builtin_prefetch(rows + size_t(at[level].row[k][s]) * F);
        }
        for (int level = 0; level < grid.levels; ++level) {
            const Corners& c = at[level];
            const uint16_t* rows = table + size_t(grid.offset[level]) * F;
            float* to = out + i * ld + level * F;
            if (how == Lie::kTogether && 3 * __builtin_popcount(fresh[level]) <= m) {
                typename Row<F>::type v[8];
                uint32_t left = fresh[level];
                for (int s = 0; s < m;) {
#pragma GCC unroll 8
                    for (int k = 0; k < 8; ++k) v[k] = load_half_row<F>(rows + size_t(c.row[k][s]) * F);
                    left &= left - 1;
                    const int end = left ? __builtin_ctz(left) : m;
                    for (; s < end; ++s, to += ld) {
                        typename Row<F>::type sum = v[0] * c.weight[0][s];
#pragma GCC unroll 7
                        for (int k = 1; k < 8; ++k) sum += v[k] * c.weight[k][s];
                        store_row<F>(to, sum);
                    }
                }
                continue;
            }
            for (int s = 0; s < m; ++s, to += ld) {
                typename Row<F>::type sum = load_half_row<F>(rows + size_t(c.row[0][s]) * F) * c.weight[0][s];
#pragma GCC unroll 7
                for (int k = 1; k < 8; ++k)
                    sum += load_half_row<F>(rows + size_t(c.row[k][s]) * F) * c.weight[k][s];
                store_row<F>(to, sum);
            }
        }
    }
}

// gradient[row] += weight · d_out, for rows [first, last) of one level: threads can share a level if each takes other
// rows. Sets the bit in `touched` of each row that it adds to.
template <int F>
static inline void scatter_gradient(const HashGrid& grid, int level, uint32_t first, uint32_t last, const float* x,
                             const float* y, const float* z, int n, const float* d_out, long ld,
                             float* gradient, uint64_t* touched) {
    Corners c;
    const bool whole = first == 0 && last == grid.size[level];
    for (int i = 0; i < n; i += kWidth) {
        const int m = n - i < kWidth ? n - i : kWidth;
        find_corners(grid, level, load(x + i), load(y + i), load(z + i), c);
        const float* from = d_out + i * ld + level * F;
        for (int s = 0; s < m; ++s, from += ld) {
            const typename Row<F>::type g = load_row<F>(from);
#pragma GCC unroll 8
            for (int k = 0; k < 8; ++k) {
                const uint32_t row = c.row[k][s];
                if (!whole && (row < first || row >= last)) continue;
                float* at = gradient + size_t(row) * F;
                store_row<F>(at, load_row<F>(at) + g * c.weight[k][s]);
                touched[row >> 6] |= uint64_t(1) << (row & 63);
            }
        }
    }
}

// The encodings' gradients d_out → the gradients of the unit-cube points, (n) each. The points must be readable up to a
// multiple of kWidth.
template <int F>
static inline void position_gradients(const HashGrid& grid, const uint16_t* table, const float* x, const float* y,
                                      const float* z, int n, const float* d_out, long ld, float* d_x, float* d_y,
                                      float* d_z) {
    using V = typename Row<F>::type;
    alignas(64) uint32_t row[8][kWidth];
    alignas(64) float fx[kWidth], fy[kWidth], fz[kWidth];
    for (int i = 0; i < n; ++i) d_x[i] = d_y[i] = d_z[i] = 0.0f;
    for (int i = 0; i < n; i += kWidth) {
        const int m = n - i < kWidth ? n - i : kWidth;
        const vf px = load(x + i), py = load(y + i), pz = load(z + i);
        for (int level = 0; level < grid.levels; ++level) {
            const float resolution = float(grid.resolution[level]);
            const Cell<vf> cell = locate(px, py, pz, resolution);
            vu at[8];
            vf weight[8];
            level_corners(grid, level, cell, at, weight);
            for (int k = 0; k < 8; ++k) store(row[k], at[k]);
            store(fx, cell.fx);
            store(fy, cell.fy);
            store(fz, cell.fz);
            const uint16_t* rows = table + size_t(grid.offset[level]) * F;
            const float* from = d_out + i * ld + level * F;
            for (int s = 0; s < m; ++s, from += ld) {
                V v[8], dx, dy, dz;
#pragma GCC unroll 8
                for (int k = 0; k < 8; ++k) v[k] = load_half_row<F>(rows + size_t(row[k][s]) * F);
                interpolation_gradient(v, fx[s], fy[s], fz[s], dx, dy, dz);
                const V g = load_row<F>(from) * resolution;
                dx *= g, dy *= g, dz *= g;
                for (int f = 0; f < F; ++f) d_x[i + s] += dx[f], d_y[i + s] += dy[f], d_z[i + s] += dz[f];
            }
        }
    }
}

// Adam on the touched rows of [first, last); these limits are multiples of 64 (or the level's end). Clears the rows'
// gradients and bits, and rewrites their FP16 copies. In `moments`, a row's m and v are next to each other.
template <int F>
static inline void update_rows(const AdamStep& step, uint32_t first, uint32_t last, uint64_t* touched, float* gradient,
                        float* table, float* moments, uint16_t* half_table) {
    for (uint32_t word = first / 64; word * 64 < last; ++word) {
        uint64_t bits = touched[word];
        touched[word] = 0;
        // Touched rows are scattered in memory, so fetch the next word's rows while working on this word's.
        if ((word + 1) * 64 < last)
            for (uint64_t next = touched[word + 1]; next; next &= next - 1) {
                const size_t row = size_t(word + 1) * 64 + __builtin_ctzll(next);
                __builtin_prefetch(moments + row * 2 * F, 1);
                __builtin_prefetch(table + row * F, 1);
            }
        while (bits) {
            const size_t row = size_t(word) * 64 + __builtin_ctzll(bits);
            bits &= bits - 1;
            auto p = load_row<F>(table + row * F);
            auto m = load_row<F>(moments + row * 2 * F), v = load_row<F>(moments + row * 2 * F + F);
            adam(step, load_row<F>(gradient + row * F), p, m, v);
            store_row<F>(gradient + row * F, typename Row<F>::type{});
            store_row<F>(table + row * F, p);
            store_row<F>(moments + row * 2 * F, m);
            store_row<F>(moments + row * 2 * F + F, v);
            store_half_row<F>(half_table + row * F, p);
        }
    }
}

NS_END
