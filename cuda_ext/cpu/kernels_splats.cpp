// The rasteriser's entry points. Compiled once per instruction set, as kernels.cpp, under the same rules.
#include "splat_back.h"
#include "splat_draw.h"
#include "splat_loss.h"
#include "splat_project.h"

NS_BEGIN

extern const SplatKernels splat_kernels;
const SplatKernels splat_kernels = {
    splat_project_some, splat_list,   splat_draw,    splat_draw_backward, splat_project_backward_some,
    loss_prepare,       loss_windows, loss_gradient, splat_adam,
};

NS_END
