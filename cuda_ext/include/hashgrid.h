// The multi-resolution hash grid (Müller et al., "Instant Neural Graphics Primitives", 2022).
//
// The contract, mirrored in nerfscene/ops/reference.py:
//   - a point u in [0, 1]^3 lies at  p = u * resolution + 0.5  in a level's lattice (the half cell keeps
//     the lattices of different levels from lining up); its cell is floor(p), its weights are trilinear;
//   - a level whose (resolution + 2)^3 vertices fit in 2^log2_table rows is stored densely, x fastest;
//     any other is hashed: x ^ y·2654435761 ^ z·805459861, modulo the table's size (the paper's primes);
//   - a row is `features` consecutive numbers; a level's rows start at `offset`; encodings of the levels
//     follow one another, coarse to fine.
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

// Where a point lies in one level: the cell's lower corner and the position inside it.
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

// The eight rows (relative to the level's first) and their weights; corner bits are x, y, z from the
// lowest. Both passes use it: the gradient of the encoding with respect to a row is that row's weight.
template <class T>
NS_HD void corner(const Cell<T>& c, int k, bool hashed, uint32_t size, uint32_t side,
                  typename Lanes<T>::Uint& row, T& weight) {
    using U = typename Lanes<T>::Uint;
    const U x = (U)c.x, y = (U)c.y, z = (U)c.z;
    const U cx = (k & 1) ? x + 1u : x, cy = (k & 2) ? y + 1u : y, cz = (k & 4) ? z + 1u : z;
    row = hashed ? hash_row(cx, cy, cz, size - 1) : dense_row(cx, cy, cz, side);
    weight = ((k & 1) ? c.fx : 1.0f - c.fx) * ((k & 2) ? c.fy : 1.0f - c.fy) * ((k & 4) ? c.fz : 1.0f - c.fz);
}
template <class T>
NS_HD void corners(const Cell<T>& c, bool hashed, uint32_t size, uint32_t side,
                   typename Lanes<T>::Uint row[8], T weight[8]) {
    for (int k = 0; k < 8; ++k) corner(c, k, hashed, size, side, row[k], weight[k]);
}

// The same for a cell of one level of a grid.
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

// The gradient inside a cell of a trilinear interpolation of the corners' values, by the position in it.
template <class V>
NS_HD void interpolation_gradient(const V* v, float fx, float fy, float fz, V& dx, V& dy, V& dz) {
    V across[4], along[4];  // by (y, z)
    for (int i = 0; i < 4; ++i) {
        along[i] = v[2 * i + 1] - v[2 * i];
        across[i] = v[2 * i] + along[i] * fx;
    }
    dx = (along[0] * (1.0f - fy) + along[1] * fy) * (1.0f - fz) + (along[2] * (1.0f - fy) + along[3] * fy) * fz;
    dy = (across[1] - across[0]) * (1.0f - fz) + (across[3] - across[2]) * fz;
    dz = (across[2] - across[0]) * (1.0f - fy) + (across[3] - across[1]) * fy;
}

NS_END
