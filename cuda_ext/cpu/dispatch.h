#pragma once
#include "driver.h"

namespace nerfscene {

// The kernels this machine can run, best first; `out` has room for three. Returns how many.
int available_kernels(const Kernels** out);

}  // namespace nerfscene
