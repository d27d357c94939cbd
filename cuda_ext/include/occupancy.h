// How emptiness is learned: each cell keeps a decaying maximum of the optical thickness seen in it.
#pragma once
#include "desc.h"
#include "platform.h"
#include "rng.h"

NS_BEGIN

template <class T>
NS_HD T occupancy_decay(T value, float decay) { return value * decay; }
// A cell is kept when it is thick enough, or thicker than most while everything is still fog.
NS_HD float occupancy_threshold(float threshold, float mean) { return ns_min(threshold, mean); }

NS_HD uint64_t occupancy_cells(const Space& space) {
    const uint64_t r = uint64_t(space.occupancy_resolution);
    return r * r * r;
}

// The cell of a grid of r³ that is probed as number `drawn` since training began, and a random point in it (unit cube). Cells come in a
// random order that visits each of them once before any of them twice.
NS_HD uint64_t probed_cell(uint64_t r, uint64_t cells, const uint32_t& seed, uint64_t drawn, Vec3& point) {
    const uint64_t cell = permute(drawn % cells, cells, seed + uint32_t(drawn / cells));
    const uint32_t id = uint32_t(drawn);
    point.x = (float(cell % r) + random_unit(seed, id, 11)) / float(r);
    point.y = (float(cell / r % r) + random_unit(seed, id, 12)) / float(r);
    point.z = (float(cell / r / r) + random_unit(seed, id, 13)) / float(r);
    return cell;
}

// The cell of the coarse grid that an occupancy cell's coordinate falls in.
NS_HD int coarse_cell(int cell, int resolution) { return cell * kCoarse / resolution; }

NS_END
