// A grid of occupied cells with twice the resolution, for pictures: what it calls empty costs them nothing. Training's own
// grid says of a cell only whether anything in it was ever met.
#pragma once
#include "../include/march.h"
#include "networks.h"

NS_BEGIN

// Where each of the eight smaller cells in a cell is looked at, in its own sides: at the corners of a tetrahedron.
constexpr int kLooks = 4;
constexpr float kLookAt[kLooks][3] = {{0.25f, 0.25f, 0.25f}, {0.75f, 0.75f, 0.25f}, {0.75f, 0.25f, 0.75f}, {0.25f, 0.75f, 0.75f}};

// Whether a cell's six neighbours are all occupied; those beyond the grid count as such.
NS_HD bool surrounded(const uint32_t* bits, int r, int x, int y, int z) {
    const int cell = x + (y + z * r) * r;
    return (x == 0 || occupied(bits, cell - 1)) && (x == r - 1 || occupied(bits, cell + 1)) &&
           (y == 0 || occupied(bits, cell - r)) && (y == r - 1 || occupied(bits, cell + r)) &&
           (z == 0 || occupied(bits, cell - r * r)) && (z == r - 1 || occupied(bits, cell + r * r));
}

// Sets the bits of the smaller cells, of those in layer z of the field's grid, in which some density is thicker than
// `threshold`, as the grid stores it. `fine` has (2r)^3 bits, all 0. Cells that are surrounded stay whole: rays seldom get
// there, and looking would take as long as elsewhere.
static void finer_layer(const Field& f, Scratch& s, int z, float threshold, uint32_t* fine) {
    const int r = f.space.occupancy_resolution, fine_r = 2 * r;
    constexpr int most = kCandidates / kLooks;
    int cells[most], n = 0;
    const auto set = [&](int cell) { fine[cell >> 5] |= 1u << (cell & 31); };
    const auto look = [&] {
        density_forward<Lie::kTogether>(f, s.cx, s.cy, s.cz, n * kLooks, s.cencoding, s.chidden, s.calpha);
        for (int i = 0; i < n; ++i) {
            float thickest = 0.0f;
            for (int k = i * kLooks; k < (i + 1) * kLooks; ++k) {
                const Vec3 p = from_unit(f.space, {s.cx[k], s.cy[k], s.cz[k]});
                thickest = ns_max(thickest, s.calpha[k] * reference_step(f.space, p.x, p.y, p.z));
            }
            if (thickest > threshold) set(cells[i]);
        }
        n = 0;
    };
    for (int y = 0; y < r; ++y)
        for (int x = 0; x < r; ++x) {
            if (!occupied(f.occupancy, x + (y + z * r) * r)) continue;
            const bool whole = surrounded(f.occupancy, r, x, y, z);
            for (int child = 0; child < 8; ++child) {
                const int cx = 2 * x + (child & 1), cy = 2 * y + (child >> 1 & 1), cz = 2 * z + (child >> 2);
                const int cell = cx + (cy + cz * fine_r) * fine_r;
                if (whole) {
                    set(cell);
                    continue;
                }
                for (int k = 0; k < kLooks; ++k) {
                    const int to = n * kLooks + k;
                    s.cx[to] = (float(cx) + kLookAt[k][0]) / float(fine_r);
                    s.cy[to] = (float(cy) + kLookAt[k][1]) / float(fine_r);
                    s.cz[to] = (float(cz) + kLookAt[k][2]) / float(fine_r);
                }
                cells[n++] = cell;
                if (n == most) look();
            }
        }
    if (n) look();
}

NS_END
