// How the occupancy grid learns which cells are empty: each cell stores a decaying maximum of the optical thickness
// found in it.
#pragma once
#include "desc.h"
#include "platform.h"
#include "rng.h"

NS_BEGIN

template <class T>
NS_HD T occupancy_decay(T value, float decay) { return value * decay; }
// The thickness above which a cell counts as occupied: the given threshold, or the mean over all cells if that is lower
// (as it is early in training, when everything is still fog).
NS_HD float occupancy_threshold(float threshold, float mean) { return ns_min(threshold, mean); }

NS_HD uint64_t occupancy_cells(const Space& space) {
    const uint64_t r = uint64_t(space.occupancy_resolution);
    return r * r * r;
}

// Returns the cell to probe next, after `drawn` cells since training began, and sets `point` to a random point in it
// (unit cube). There are r³ = `cells` cells. They come in a random order that visits each once before any is visited
// again.
NS_HD uint64_t probed_cell(uint64_t r, uint64_t cells, const uint32_t& seed, uint64_t drawn, Vec3& point) {
    const uint64_t cell = permute(drawn % cells, cells, seed + uint32_t(drawn / cells));
    const uint32_t id = uint32_t(drawn);
    point.x = (float(cell % r) + random_unit(seed, id, 11)) / float(r);
    point.y = (float(cell / r % r) + random_unit(seed, id, 12)) / float(r);
    point.z = (float(cell / r / r) + random_unit(seed, id, 13)) / float(r);
    return cell;
}

// One coordinate of an occupancy cell → the same coordinate of the coarse cell that contains it.
NS_HD int coarse_cell(int cell, int resolution) { return cell * kCoarse / resolution; }

NS_END
