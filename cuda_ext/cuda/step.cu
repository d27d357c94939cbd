// The schedule of a training step: `launch_step`, at the end of this file. The kernels of its stages are in the headers
// included here and in backward.cu. The trainer records the schedule as a graph, so nothing here waits for the device
// or reads results back.
#include "step.h"

#include "../include/hashgrid.h"
#include "camera_gradients.h"
#include "launch.h"
#include "loss.h"
#include "optimiser.h"
#include "sampling.h"

NS_BEGIN

namespace {

// The end of a step: adds its sums to the totals, and derives the next step's number of rays. One thread.
__global__ void control_kernel(TrainInput in) {
    if (blockIdx.x + threadIdx.x > 0) return;
    StepNumbers& s = *in.numbers;
    const int n = rays_of(in);
    const uint32_t kept = ns_min(s.samples, in.samples.capacity);
    s.total_rays += n, s.total_candidates += s.candidates, s.total_samples += kept, s.total_dropped += s.dropped;
    s.total_squared_error += s.squared_error;
    if (in.given.n == 0) {
        s.rays_drawn += uint64_t(n);
        // Samples that were dropped for lack of room count too, so that the next step has fewer rays.
        const float ratio = ns_max(float(s.samples) / float(n), 0.05f);
        s.survivors_per_ray = s.survivors_per_ray > 0 ? 0.8f * s.survivors_per_ray + 0.2f * ratio : ratio;
        s.n_rays = rays_for(s.options.target_samples, s.survivors_per_ray);
    }
    s.meeting = s.next_meeting = s.samples = s.dropped = 0;
    s.candidates = 0;
    s.squared_error = 0;
}

// Makes the total squared error NaN if any weight is infinite or NaN. The error alone would not show it, because the
// activations turn such numbers into finite ones.
__global__ void finite_kernel(TrainInput in) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= in.state.field.net.size) return;
    const float off = in.state.weights[i] - in.state.weights[i];
    if (off != 0.0f) in.numbers->total_squared_error = off;
}

}  // namespace

NS_END

namespace nerfscene {
namespace gpu {

void launch_step(const cuda::TrainInput& in, bool update, Stream stream) {
    const Field& f = in.state.field;
    const Network& net = f.net;
    const int64_t expected = int64_t(in.samples.capacity) / 2;
    const int camera_blocks = current_device().multiprocessors * 8;
    // 1. Draw rays; 2. trace them and keep the samples that have weight; 3. the samples' colours.
    launch(cuda::rays_kernel, cuda::resident_blocks(cuda::rays_kernel, cuda::kMaxRays, 128, 128, 0), 128, 0, stream, in);
    cuda::with_sizes(net, [&](auto sizes) {
        const auto kernel = cuda::trace_kernel<decltype(sizes)>;
        const cuda::LaunchShape shape = cuda::network_launch(kernel, net, false, cuda::kMaxRays);
        launch(kernel, shape.blocks, shape.threads, shape.shared, stream, in);
    });
    color_forward(f, in.samples, in.rays.directions, expected, stream);
    // 4. The loss and its gradients at the samples; 5. back through the networks and into the table; 6. to the rays.
    launch(cuda::ray_backward_kernel,
           cuda::resident_blocks(cuda::ray_backward_kernel, int64_t(cuda::kMaxRays) * cuda::kChainLanes, 128, 128, 0), 128, 0,
           stream, in);
    network_backward({f, in.samples, in.rays.directions, in.half_weights, in.half_weights_t, in.weight_gradient,
                      in.table_gradient, in.d_rays ? in.d_encoding : nullptr}, expected, stream);
    if (in.d_rays) launch(cuda::ray_gradient_kernel, camera_blocks, 128, 0, stream, in);
    // 7. The optimiser; 8. the cameras' gradients.
    if (update) {
        const int rows = int(cuda::table_rows(f.grid));
        switch (f.grid.features) {
            case 2: launch(cuda::table_kernel<2>, blocks_for(rows, 256), 256, 0, stream, in, rows); break;
            case 4: launch(cuda::table_kernel<4>, blocks_for(rows, 256), 256, 0, stream, in, rows); break;
            default: launch(cuda::table_kernel<8>, blocks_for(rows, 256), 256, 0, stream, in, rows);
        }
        launch(cuda::weight_kernel, blocks_for(net.size, 128), 128, 0, stream, in);
        launch(cuda::exposure_kernel, 1, 32, 0, stream, in);
        if (in.d_rays) launch(cuda::camera_gradient_kernel, camera_blocks, 128, 0, stream, in);
    }
    // 9. The step's totals, and how many rays the next one has.
    launch(cuda::control_kernel, 1, 32, 0, stream, in);
}

void launch_weight_check(const cuda::TrainInput& in, Stream stream) {
    launch(cuda::finite_kernel, blocks_for(in.state.field.net.size, 128), 128, 0, stream, in);
}

}  // namespace gpu
}  // namespace nerfscene
