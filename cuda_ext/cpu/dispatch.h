#pragma once
#include "driver.h"

namespace nerfscene {

// The kernels this machine can run, best first; `out` has room for three. Returns how many.
int available_kernels(const Kernels** out);

// Renews a field's coarse grid (kCoarse³ bits) from its occupancy bits.
void make_coarse(const Space& space, const uint32_t* occupancy, uint32_t* coarse);

}  // namespace nerfscene
