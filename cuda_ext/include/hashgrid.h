// The multi-resolution hash grid (Müller et al., "Instant Neural Graphics Primitives", 2022).
//
// Its definition, which nerfscene/ops/reference.py also implements:
//   - In a level's lattice, a point u in [0, 1]^3 is at p = u * resolution + 0.5. (The offset of half a cell keeps the
//     lattices of different levels from lining up.) Its cell is floor(p), and its weights are trilinear.
//   - A level whose (resolution + 2)^3 vertices fit in 2^log2_table rows is stored densely, x fastest. Any other level
//     is hashed with the paper's primes: x ^ y·2654435761 ^ z·805459861, modulo the table's size.
//   - A row (an entry of the table) is `features` consecutive numbers. A level's rows start at `offset`. An encoding
//     concatenates all levels, from coarse to fine.
#pragma once
#include "desc.h"
#include "platform.h"

NS_BEGIN

template <class U>
NS_HD U hash_row(U x, U y, U z, uint32_t mask) {
    return (x ^ (y * 2654435761u) ^ (z * 805459861u)) & mask;
}
template <class U>
NS_HD U dense_row(U x, U y, U z, uint32_t side) {
    return x + (y + z * side) * side;
}

// The pull on a level's rows: `pull` on the coarsest, and with a power of its resolution more on a finer one.
NS_HD float level_pull(const HashGrid& g, int level, float pull, float growth) {
    return growth == 0.0f ? pull : pull * powf(float(g.resolution[level]) / float(g.resolution[0]), growth);
}

// A point's location in one level: the lower corner of its cell, and its position inside the cell.
template <class T>
struct Cell {
    typename Lanes<T>::Int x, y, z;
    T fx, fy, fz;
};
template <class T>
NS_HD Cell<T> locate(T ux, T uy, T uz, float resolution) {
    using L = Lanes<T>;
    const T px = ux * resolution + 0.5f, py = uy * resolution + 0.5f, pz = uz * resolution + 0.5f;
    Cell<T> c;
    c.x = L::to_int(px);
    c.y = L::to_int(py);
    c.z = L::to_int(pz);
    c.fx = px - L::to_float(c.x);
    c.fy = py - L::to_float(c.y);
    c.fz = pz - L::to_float(c.z);
    return c;
}

// Corner k of a cell: its row, counted from the level's first, and its weight. The bits of k, from the lowest, are the
// corner's x, y and z. The weight also serves the backward pass: it is the gradient of the encoding with respect to the
// row.
template <class T>
NS_HD void corner(const Cell<T>& c, int k, bool hashed, uint32_t size, uint32_t side,
                  typename Lanes<T>::Uint& row, T& weight) {
    using U = typename Lanes<T>::Uint;
    const U x = (U)c.x, y = (U)c.y, z = (U)c.z;
    const U cx = (k & 1) ? x + 1u : x, cy = (k & 2) ? y + 1u : y, cz = (k & 4) ? z + 1u : z;
    row = hashed ? hash_row(cx, cy, cz, size - 1) : dense_row(cx, cy, cz, side);
    weight = ((k & 1) ? c.fx : 1.0f - c.fx) * ((k & 2) ? c.fy : 1.0f - c.fy) * ((k & 4) ? c.fz : 1.0f - c.fz);
}
// All eight corners.
template <class T>
NS_HD void corners(const Cell<T>& c, bool hashed, uint32_t size, uint32_t side,
                   typename Lanes<T>::Uint row[8], T weight[8]) {
    for (int k = 0; k < 8; ++k) corner(c, k, hashed, size, side, row[k], weight[k]);
}

// All eight corners of a cell in one level of a grid.
template <class T>
NS_HD void level_corners(const HashGrid& grid, int level, const Cell<T>& c, typename Lanes<T>::Uint row[8], T weight[8]) {
    if (grid.hashed[level])
        corners(c, true, grid.size[level], 0u, row, weight);
    else
        corners(c, false, 0u, uint32_t(grid.resolution[level] + 2), row, weight);
}

// How many rows the table has.
NS_HD size_t table_rows(const HashGrid& grid) {
    return size_t(grid.offset[grid.levels - 1]) + grid.size[grid.levels - 1];
}

// The gradient of trilinear interpolation with respect to the position inside the cell. v: the values at the corners.
template <class V>
NS_HD void interpolation_gradient(const V* v, float fx, float fy, float fz, V& dx, V& dy, V& dz) {
    V across[4], along[4];  // for each (y, z): the value interpolated along x, and its slope
    for (int i = 0; i < 4; ++i) {
        along[i] = v[2 * i + 1] - v[2 * i];
        across[i] = v[2 * i] + along[i] * fx;
    }
    dx = (along[0] * (1.0f - fy) + along[1] * fy) * (1.0f - fz) + (along[2] * (1.0f - fy) + along[3] * fy) * fz;
    dy = (across[1] - across[0]) * (1.0f - fz) + (across[3] - across[2]) * fz;
    dz = (across[2] - across[0]) * (1.0f - fy) + (across[3] - across[1]) * fy;
}

NS_END
