// The occupancy grid: its update during training, and how far each coarse cell is from occupied space.
#include "../include/occupancy.h"

#include "../include/march.h"
#include "launch.h"
#include "step.h"

NS_BEGIN

namespace {

// Evaluates the density in some cells, and raises the cells' values to it where they are lower. Cells that count as
// empty are probed too; otherwise nothing could ever appear in them. Those that are not allowed are passed over.
template <class S>
__global__ void __launch_bounds__(128) probe_kernel(TrainInput in) {
    NS_SHARED(shared);
    const Field& f = in.state.field;
    const Space& space = f.space;
    Carver carver = {shared, 0};
    const WarpNetwork w = carve_network(carver, f.net, int(blockDim.x) / kWarp, warp_index(), false);
    load_weights(f, w, false);
    __syncthreads();
    const uint64_t r = uint64_t(space.occupancy_resolution), cells = r * r * r;
    const uint32_t n = uint32_t(in.numbers->options.occupancy_cells);
    for (uint32_t base = blockIdx.x * blockDim.x; base < n; base += gridDim.x * blockDim.x) {
        const uint64_t drawn = in.numbers->cells_probed + base + threadIdx.x;
        Vec3 u;
        const uint64_t cell = probed_cell(r, cells, in.seed, drawn, u);
        encode_row(f, u.x, u.y, u.z, w.first + lane_index() * first_ld(f.net));
        const float density = density_activation(warp_density<S>(f.net, w));
        const bool allowed = !in.state.allowed || (in.state.allowed[cell / 32] >> (cell % 32) & 1);
        if (base + threadIdx.x < n && allowed) {
            const Vec3 p = from_unit(space, u);
            max_positive(in.state.occupancy_values + cell, density * reference_step(space, p.x, p.y, p.z));
        }
    }
}

// Decays all values and sets the bits by them. One lane per cell, so one warp per word of bits.
__global__ void __launch_bounds__(256) decay_kernel(TrainInput in, int cells) {
    const TrainOptions& o = in.numbers->options;
    const float threshold = occupancy_threshold(o.occupancy_threshold, in.numbers->occupancy_mean);
    float sum = 0;
    unsigned long long occupied = 0;
    for (int cell = int(blockIdx.x * blockDim.x + threadIdx.x); cell < cells; cell += int(gridDim.x * blockDim.x)) {
        const float value = occupancy_decay(in.state.occupancy_values[cell], o.occupancy_decay);
        in.state.occupancy_values[cell] = value;
        sum += value;
        unsigned bits = __ballot_sync(kAllLanes, value > threshold);
        if (in.state.allowed) bits &= in.state.allowed[cell / 32];
        if (lane_index() == 0) {
            in.state.occupancy[cell / 32] = bits;
            occupied += __popc(bits);
        }
    }
    sum = warp_sum(sum);
    if (lane_index() == 0) {
        atomicAdd(&in.numbers->occupancy_sum, double(sum));
        atomicAdd(&in.numbers->occupied_cells, occupied);
    }
}

// Turns the update's sums into the mean for the next update and the fraction that is reported. One thread.
__global__ void occupancy_control_kernel(TrainInput in, int cells, int probed) {
    if (blockIdx.x + threadIdx.x > 0) return;
    StepNumbers& s = *in.numbers;
    s.occupancy_mean = float(s.occupancy_sum / double(cells));
    s.occupied_fraction = double(s.occupied_cells) / double(cells);
    s.occupancy_sum = 0;
    s.occupied_cells = 0;
    s.cells_probed += uint64_t(probed);
}

// `room`: the distance (maximum norm, at most kRoom) of each coarse cell to the nearest one that contains an occupied
// cell. One thread per coarse cell. room_kernel writes 0 or kRoom for the cell itself; spread_kernel then takes the
// minimum along one axis, three times. This works because
//   min max(|dx|, |dy|, |dz|) = min_dz max(|dz|, min_dy max(|dy|, min_dx |dx|)).
__global__ void room_kernel(Field f, uint8_t* room) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    const int r = f.space.occupancy_resolution, fine = r / kCoarse;
    const int x0 = i % kCoarse * fine, y0 = i / kCoarse % kCoarse * fine, z0 = i / (kCoarse * kCoarse) * fine;
    bool found = false;
    for (int z = z0; z < z0 + fine && !found; ++z)
        for (int y = y0; y < y0 + fine && !found; ++y)
            for (int x = x0; x < x0 + fine; ++x) found |= occupied(f.occupancy, x + (y + z * r) * r);
    room[i] = found ? 0 : kRoom;
}
// `stride`: the index difference of neighbours along the axis.
__global__ void spread_kernel(const uint8_t* from, uint8_t* to, int stride) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x), along = i / stride % kCoarse;
    int least = kRoom;
    for (int d = -kRoom; d <= kRoom; ++d)
        if (along + d >= 0 && along + d < kCoarse)
            least = ns_min(least, ns_max(d < 0 ? -d : d, int(from[i + d * stride])));
    to[i] = uint8_t(least);
}

}  // namespace

NS_END

namespace nerfscene {
namespace gpu {

void update_room(const Field& f, uint8_t* scratch, uint8_t* room, Stream stream) {
    constexpr int blocks = kCoarseCells / 128;
    launch(cuda::room_kernel, blocks, 128, 0, stream, f, scratch);
    uint8_t *from = scratch, *to = scratch + kCoarseCells;
    // The last axis goes to `room` itself, so that whoever renders with it sees finished values only.
    for (int stride = 1; stride <= kCoarse * kCoarse; stride *= kCoarse) {
        if (stride == kCoarse * kCoarse) to = room;
        launch(cuda::spread_kernel, blocks, 128, 0, stream, static_cast<const uint8_t*>(from), to, stride);
        std::swap(from, to);
    }
}

void launch_occupancy(const cuda::TrainInput& in, int probed, uint8_t* scratch, Stream stream) {
    const Field& f = in.state.field;
    const int cells = int(cuda::occupancy_cells(f.space));
    cuda::with_sizes(f.net, [&](auto sizes) {
        const auto kernel = cuda::probe_kernel<decltype(sizes)>;
        const cuda::LaunchShape shape = cuda::network_launch(kernel, f.net, false, probed);
        launch(kernel, shape.blocks, shape.threads, shape.shared, stream, in);
    });
    const int blocks = int(cuda::ns_min<int64_t>(cells / 256, current_device().multiprocessors * 8));
    launch(cuda::decay_kernel, blocks, 256, 0, stream, in, cells);
    launch(cuda::occupancy_control_kernel, 1, 32, 0, stream, in, cells, probed);
    update_room(f, scratch, in.state.room, stream);
}

}  // namespace gpu
}  // namespace nerfscene
