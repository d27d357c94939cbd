#pragma once
#include "driver.h"

namespace nerfscene {

// The kernels that this machine can run, best first. `out` has room for three. Returns how many there are.
int available_kernels(const Kernels** out);

// Updates a field's coarse grid (kCoarse³ bits) from its occupancy bits.
void make_coarse(const Space& space, const uint32_t* occupancy, uint32_t* coarse);

// Makes a field's grid of half the resolution ((r / 2)³ bits) from its occupancy bits.
void make_halved(const Space& space, const uint32_t* occupancy, uint32_t* halved);

// Chooses the tiles of a picture: square, unless it is too low for that. Returns their number.
int lay_tiles(RenderJob& job);

}  // namespace nerfscene
