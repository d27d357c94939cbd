// The schedules that the trainer records as graphs. step.cu and occupancy.cu define them.
#pragma once
#include "samples.h"

namespace nerfscene {
namespace gpu {

// One step, from drawing rays to the optimiser. Without `update` it only computes gradients and changes no parameters.
void launch_step(const cuda::TrainInput& in, bool update, Stream stream);
// One update of the occupancy grid, which evaluates the density in `probed` cells. `scratch`: kCoarseCells bytes.
void launch_occupancy(const cuda::TrainInput& in, int probed, uint8_t* scratch, Stream stream);
// Makes the total squared error NaN if any weight is infinite or NaN.
void launch_weight_check(const cuda::TrainInput& in, Stream stream);

}  // namespace gpu
}  // namespace nerfscene
