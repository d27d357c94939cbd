// How the occupancy grid learns which cells are empty: each cell stores a decaying maximum of the optical thickness that
// was found in it.
#pragma once
#include "desc.h"
#include "platform.h"
#include "rng.h"

NS_BEGIN

template <class T>
NS_HD T occupancy_decay(T value, float decay) { return value * decay; }
// A cell counts as occupied above this thickness: the given threshold, or the mean over all cells where that is lower,
// as it is while everything is still fog.
NS_HD float occupancy_threshold(float threshold, float mean) { return ns_min(threshold, mean); }

NS_HD uint64_t occupancy_cells(const Space& space) {
    const uint64_t r = uint64_t(space.occupancy_resolution);
    return r * r * r;
}

// The cell to probe next, when `drawn` cells were probed since training began, and a random point in it (unit cube).
// There are r³ = `cells` of them, in a random order that visits each one once before any of them twice.
NS_HD uint64_t probed_cell(uint64_t r, uint64_t cells, const uint32_t& seed, uint64_t drawn, Vec3& point) {
    const uint64_t cell = permute(drawn % cells, cells, seed + uint32_t(drawn / cells));
    const uint32_t id = uint32_t(drawn);
    point.x = (float(cell % r) + random_unit(seed, id, 11)) / float(r);
    point.y = (float(cell / r % r) + random_unit(seed, id, 12)) / float(r);
    point.z = (float(cell / r / r) + random_unit(seed, id, 13)) / float(r);
    return cell;
}

// One coordinate of an occupancy cell → that of the coarse cell around it.
NS_HD int coarse_cell(int cell, int resolution) { return cell * kCoarse / resolution; }

NS_END
