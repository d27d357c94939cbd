// The hash grid on the CPU: encode points, scatter gradients, update the rows that have a gradient.
#pragma once
#include "../include/adam.h"
#include "../include/hashgrid.h"
#include "driver.h"
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

// How points that are encoded together lie. Apart: anywhere. On rays: a few at a time follow each other along a ray, often
// in one cell of the coarser levels. Together: those that follow each other are often in one cell, except in the finest
// level.
enum class Lie { kApart, kOnRays, kTogether };

// A level of at most so many numbers is taken to be in the cache.
constexpr uint32_t kCachedNumbers = 1 << 16;

// Writes out[i][level·F …] for n points. Their arrays x, y and z must be readable up to a multiple of kWidth. Rows are
// scattered in memory, so those of all levels are fetched before the first is used.
template <int F, Lie how>
static inline void encode_points(const HashGrid& grid, const uint16_t* table, const float* x, const float* y,
                          const float* z, int n, float* out, long ld) {
    Corners at[kMaxLevels];
    uint32_t fresh[kMaxLevels];
    int fetched_from = how == Lie::kTogether ? grid.levels - 1 : 0;
    if (how == Lie::kOnRays)  // small levels stay in the cache
        while (fetched_from < grid.levels && grid.size[fetched_from] * F <= kCachedNumbers) ++fetched_from;
    for (int i = 0; i < n; i += kWidth) {
        const int m = n - i < kWidth ? n - i : kWidth;
        const uint32_t there = uint32_t((uint64_t(1) << m) - 1);
        const vf px = load(x + i), py = load(y + i), pz = load(z + i);
        for (int level = 0; level < grid.levels; ++level) {
            const Cell<vf> cell = find_corners(grid, level, px, py, pz, at[level]);
            if (how != Lie::kApart) fresh[level] = new_cells(cell) & there;
            if (level < fetched_from) continue;
            const uint16_t* rows = table + size_t(grid.offset[level]) * F;
            if (how == Lie::kOnRays) {
                for (uint32_t left = fresh[level]; left; left &= left - 1) {
                    const int s = __builtin_ctz(left);
#pragma GCC unroll 8
                    for (int k = 0; k < 8; ++k) __builtin_prefetch(rows + size_t(at[level].row[k][s]) * F);
                }
                continue;
            }
            for (int k = 0; k < 8; ++k)
                for (int s = 0; s < m; ++s) __builtin_prefetch(rows + size_t(at[level].row[k][s]) * F);
        }
        for (int level = 0; level < grid.levels; ++level) {
            const Corners& c = at[level];
            const uint16_t* rows = table + size_t(grid.offset[level]) * F;
            float* to = out + i * ld + level * F;
            if ((how == Lie::kTogether && 3 * __builtin_popcount(fresh[level]) <= m) ||
                (how == Lie::kOnRays && 2 * __builtin_popcount(fresh[level]) <= m)) {
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

// Adds weight · d_out to the gradient of each row of a level that is in [first, last): threads can share a level if each
// takes other rows. slots: (rows of the level); a number below `since` is left from an earlier step.
template <int F>
static inline void scatter_gradient(const HashGrid& grid, int level, uint32_t first, uint32_t last, const float* x,
                             const float* y, const float* z, int n, const float* d_out, long ld, RowGradients& to,
                             uint32_t* slots, uint32_t since) {
    Corners both[2];
    uint32_t fresh_of[2];
    const bool whole = first == 0 && last == grid.size[level];
    // A vector of points ahead, so that their rows' slots are in the cache when they are needed.
    const auto look_up = [&](int i) {
        Corners& c = both[i / kWidth & 1];
        const int m = n - i < kWidth ? n - i : kWidth;
        const Cell<vf> cell = find_corners(grid, level, load(x + i), load(y + i), load(z + i), c);
        const uint32_t fresh = new_cells(cell) & uint32_t((uint64_t(1) << m) - 1);
        fresh_of[i / kWidth & 1] = fresh;
        for (uint32_t left = fresh; left; left &= left - 1) {
            const int s = __builtin_ctz(left);
#pragma GCC unroll 8
            for (int k = 0; k < 8; ++k) __builtin_prefetch(slots + c.row[k][s], 1);
        }
    };
    if (n > 0) look_up(0);
    uint32_t count = uint32_t(to.count);
    float* const gradients = to.gradients;
    uint32_t* const rows = to.rows;
    for (int i = 0; i < n; i += kWidth) {
        const int m = n - i < kWidth ? n - i : kWidth;
        const Corners& c = both[i / kWidth & 1];
        uint32_t fresh = fresh_of[i / kWidth & 1];
        if (i + kWidth < n) look_up(i + kWidth);
        const auto add = [&](uint32_t row, typename Row<F>::type g) {
            if (!whole && (row < first || row >= last)) return;
            // Whether a row is new is hard to predict, so there is no branch.
            const uint32_t old = slots[row], is_new = old < since;
            const uint32_t slot = old ^ ((old ^ (since + count)) & (0u - is_new));
            rows[count] = row;
            slots[row] = slot;
            count += is_new;
            float* at = gradients + size_t(slot - since) * F;
            store_row<F>(at, load_row<F>(at) + g);
        };
        const float* from = d_out + i * ld + level * F;
        if (2 * __builtin_popcount(fresh) <= m) {  // points that follow each other in one cell are added up first
            for (int s = 0; s < m;) {
                fresh &= fresh - 1;
                const int end = fresh ? __builtin_ctz(fresh) : m, start = s;
                typename Row<F>::type sum[8] = {};
                for (; s < end; ++s, from += ld) {
                    const typename Row<F>::type g = load_row<F>(from);
#pragma GCC unroll 8
                    for (int k = 0; k < 8; ++k) sum[k] += g * c.weight[k][s];
                }
#pragma GCC unroll 8
                for (int k = 0; k < 8; ++k) add(c.row[k][start], sum[k]);
            }
            continue;
        }
        for (int s = 0; s < m; ++s, from += ld) {
            const typename Row<F>::type g = load_row<F>(from);
#pragma GCC unroll 8
            for (int k = 0; k < 8; ++k) add(c.row[k][s], g * c.weight[k][s]);
        }
    }
    to.count = int(count);
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

// What training keeps of a row, in one block of 8 · F bytes, which is in one cache line: F parameters in float; F first
// moments in bfloat16; F second moments as the upper half of a float without its sign, which has 8 bits of mantissa.
template <int F>
struct RowState {
    using V = typename Row<F>::type;
    using U = typename Row<F>::bits;
    using H = typename Row<F>::halves;
    static NS_HD void unpack(const float* at, V& p, V& m, V& v) {
        p = load_row<F>(at);
        const uint16_t* halves = (const uint16_t*)(at + F);
        m = (V)(widen(halves) << 16);
        v = (V)(widen(halves + F) << 15);
    }
    // A second moment changes by 1 % a step. Rounded to the nearest of numbers that are 0.4 % apart it would not follow
    // its gradients, so it is rounded up as often as is right on average. What decides comes from the gradient's bits.
    static NS_HD void pack(float* at, V p, V m, V v, V g) {
        store_row<F>(at, p);
        uint16_t* halves = (uint16_t*)(at + F);
        narrow(halves, ((U)m + 0x8000u) >> 16);
        narrow(halves + F, ((U)v + (((U)g * 0x9e3779b1u + 0x40000000u) >> 17)) >> 15);
    }
    static NS_HD U widen(const uint16_t* p) {
        H h;
        std::memcpy(&h, p, sizeof h);
        return __builtin_convertvector(h, U);
    }
    static NS_HD void narrow(uint16_t* p, U u) {
        const H h = __builtin_convertvector(u, H);
        std::memcpy(p, &h, sizeof h);
    }
};

// Between a trainer's rows and the arrays that Python has: table (rows, F) and moments (rows, 2, F).
template <int F>
static inline void pack_rows(const float* table, const float* moments, size_t n, float* state) {
    for (size_t i = 0; i < n; ++i) {
        const auto m = load_row<F>(moments + i * 2 * F), v = load_row<F>(moments + i * 2 * F + F);
        RowState<F>::pack(state + i * 2 * F, load_row<F>(table + i * F), m, v, typename Row<F>::type{});
    }
}
template <int F>
static inline void unpack_rows(const float* state, size_t n, float* table, float* moments) {
    for (size_t i = 0; i < n; ++i) {
        typename Row<F>::type p, m, v;
        RowState<F>::unpack(state + i * 2 * F, p, m, v);
        store_row<F>(table + i * F, p);
        store_row<F>(moments + i * 2 * F, m);
        store_row<F>(moments + i * 2 * F + F, v);
    }
}

// adam() of adam.h, but for rounding.
template <int F>
NS_HD void adam_row(const AdamStep& a, typename Row<F>::type g, typename Row<F>::type& p, typename Row<F>::type& m,
                    typename Row<F>::type& v) {
    g = g + p * a.pull;
    m = m * a.beta1 + g * (1.0f - a.beta1);
    v = v * a.beta2 + g * g * (1.0f - a.beta2);
    p = p - m * a.rate * inverse_root<F>(v, a.epsilon);
}

// Adam on the rows that have a gradient, of one level. Sets their gradients to 0, forgets the rows, and rewrites their
// FP16 copies. They are scattered in memory, so they are fetched some rows ahead.
template <int F>
static inline void update_rows(const AdamStep& step, RowGradients& of, float* state, uint16_t* half_table) {
    constexpr int kAhead = 32;
    const int n = of.count;
    for (int i = 0; i < n; ++i) {
        if (i + kAhead < n) {
            const size_t next = of.rows[i + kAhead];
            __builtin_prefetch(state + next * 2 * F, 1);
            __builtin_prefetch(half_table + next * F, 1);
        }
        const size_t row = of.rows[i];
        typename Row<F>::type p, m, v;
        RowState<F>::unpack(state + row * 2 * F, p, m, v);
        const auto g = load_row<F>(of.gradients + size_t(i) * F);
        store_row<F>(of.gradients + size_t(i) * F, typename Row<F>::type{});
        adam_row<F>(step, g, p, m, v);
        RowState<F>::pack(state + row * 2 * F, p, m, v, g);
        store_half_row<F>(half_table + row * F, p);
    }
    of.count = 0;
}

NS_END
