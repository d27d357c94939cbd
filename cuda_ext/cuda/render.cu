// Pictures: one kernel goes from pixel to colour. A ray ends when it is opaque, and warps run until no rays are left.
#include "driver.h"
#include "launch.h"
#include "trace.h"

NS_BEGIN

namespace {

struct RenderInput {
    Field field;
    March march;
    DevicePicture picture;
    DeviceRays rays;  // if n > 0, these instead of the picture's
    float *rgb, *depth, *accumulation;
    uint32_t* counter;
};

// Hands out a picture's pixels in tiles of 8 × 4, so that a warp's rays are neighbours. Or hands out rays from arrays.
struct PixelSource {
    const RenderInput& in;
    const Space& space;
    int tiles_across, total;

    NS_D PixelSource(const RenderInput& input, const Space& s) : in(input), space(s) {
        const DevicePicture& p = in.picture;
        tiles_across = (p.col1 - p.col0 + 7) / 8;
        total = in.rays.n > 0 ? in.rays.n : tiles_across * ((p.row1 - p.row0 + 3) / 4) * kWarp;
    }
    NS_D bool next(const Group& group, bool want, LaneRay& ray) {
        const DevicePicture& p = in.picture;
        // Once the picture is cancelled, no more rays are handed out; those under way end soon by themselves. The whole
        // warp decides together, because all lanes of a group must get the same answer.
        const bool cancelled = __any_sync(kAllLanes, p.cancel && *static_cast<const volatile int*>(p.cancel) != 0);
        const uint32_t i = take_for_group(in.counter, group, want);
        if (!want) return false;
        if (i >= uint32_t(total) || cancelled) return false;
        if (in.rays.n > 0) {
            const float *o = in.rays.origins + 3 * i, *d = in.rays.directions + 3 * i;
            start(space, int(i), {o[0], o[1], o[2]}, {d[0], d[1], d[2]}, in.rays.jitter[i], ray);
            return true;
        }
        const int tile = int(i) / kWarp, within = int(i) % kWarp;
        const int col = tile % tiles_across * 8 + within % 8, row = tile / tiles_across * 4 + within / 8;
        if (col >= p.col1 - p.col0 || row >= p.row1 - p.row0) return true;  // outside the picture; ask again
        Vec3 o, d;
        pixel_ray(p.camera, float(p.col0 + col) + 0.5f, float(p.row0 + row) + 0.5f, o, d);
        start(space, row * (p.col1 - p.col0) + col, o, d, 0.5f, ray);
        return true;
    }
};

template <class S>
struct ColorSink {
    static constexpr bool kWidens = false;  // true would make a pixel's last bits depend on when other rays end
    const RenderInput& in;
    const WarpNetwork& w;
    float color[3] = {}, depth = 0, accumulation = 0;  // this lane's share of its group's ray

    NS_D ColorSink(const RenderInput& input, const WarpNetwork& network) : in(input), w(network) {}
    NS_D void sample(const Group&, bool ready, bool survives, LaneRay& ray, const LaneSample& s, float, float weight,
                     float) {
        if (__ballot_sync(kAllLanes, survives) == 0) return;
        float rgb[3];
        const Vec3 direction = ready ? ray.d : Vec3{0, 0, 1};
        warp_color<S>(in.field.net, w, direction, rgb);
        if (!survives) return;
        for (int c = 0; c < 3; ++c) color[c] += weight * rgb[c];
        depth += weight * s.t;
        accumulation += weight;
    }
    NS_D void end(const Group& group, bool ends, const LaneRay& ray) {
        const float sums[5] = {group.sum(color[0]), group.sum(color[1]), group.sum(color[2]), group.sum(depth),
                               group.sum(accumulation)};
        if (!ends) return;
        if (group.leads()) {
            const float* background = in.rays.n > 0 ? in.rays.backgrounds + 3 * ray.index : in.picture.background;
            for (int c = 0; c < 3; ++c) in.rgb[3 * ray.index + c] = sums[c] + ray.transmittance * background[c];
            in.depth[ray.index] = sums[4] > 0.0f ? sums[3] / sums[4] : 0.0f;
            in.accumulation[ray.index] = 1.0f - ray.transmittance;
        }
        color[0] = color[1] = color[2] = depth = accumulation = 0;
    }
};

template <class S>
__global__ void __launch_bounds__(128) render_kernel(RenderInput in) {
    NS_SHARED(shared);
    Carver carver = {shared, 0};
    const WarpNetwork w = carve_network(carver, in.field.net, int(blockDim.x) / kWarp, warp_index(), true);
    load_weights(in.field, w, true);
    __syncthreads();
    const Space space = coarser(in.field.space, in.march.coarseness);
    PixelSource source(in, space);
    ColorSink<S> sink(in, w);
    trace_warp<S>(in.field, in.march, space, w, source, sink);
}

__global__ void march_kernel(Field f, float coarseness, DeviceRays rays, int capacity, int* counts, float* t,
                             float* length, float* points) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= rays.n) return;
    const Space space = coarser(f.space, coarseness);
    const float *o = rays.origins + 3 * i, *d = rays.directions + 3 * i;
    LaneRay ray = {};
    LaneSample s = {};
    start(space, i, {o[0], o[1], o[2]}, {d[0], d[1], d[2]}, rays.jitter[i], ray);
    int n = 0;
    for (; n < capacity && next_sample(f, space, ray, s); ++n) {
        const size_t at = size_t(i) * capacity + n;
        t[at] = s.t, length[at] = s.length;
        points[3 * at] = s.x, points[3 * at + 1] = s.y, points[3 * at + 2] = s.z;
    }
    counts[i] = n;
}

__global__ void pixel_rays_kernel(CameraDesc camera, const float* pixels, int n, float* origins, float* directions) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= n) return;
    Vec3 o, d;
    pixel_ray(camera, pixels[2 * i], pixels[2 * i + 1], o, d);
    origins[3 * i] = o.x, origins[3 * i + 1] = o.y, origins[3 * i + 2] = o.z;
    directions[3 * i] = d.x, directions[3 * i + 1] = d.y, directions[3 * i + 2] = d.z;
}

}  // namespace

NS_END

namespace nerfscene {
namespace gpu {
namespace {

void render_with(const cuda::RenderInput& in, int rays, Stream stream) {
    const Network& net = in.field.net;
    cuda::with_sizes(net, [&](auto sizes) {
        const auto kernel = cuda::render_kernel<decltype(sizes)>;
        const cuda::LaunchShape shape = cuda::network_launch(kernel, net, true, rays);
        launch(kernel, shape.blocks, shape.threads, shape.shared, stream, in);
    });
}

}  // namespace

void render(const Field& f, const March& march, const DevicePicture& picture, Stream stream) {
    const int n = (picture.row1 - picture.row0) * (picture.col1 - picture.col0);
    if (n == 0) return;
    Buffer<uint32_t> counter(1);
    zero(counter.data(), sizeof(uint32_t), stream);
    render_with({f, march, picture, {}, picture.rgb, picture.depth, picture.accumulation, counter.data()}, n, stream);
    synchronize(stream);
}

void trace(const Field& f, const March& march, const DeviceRays& rays, float* rgb, float* depth, float* accumulation,
           Stream stream) {
    if (rays.n == 0) return;
    Buffer<uint32_t> counter(1);
    zero(counter.data(), sizeof(uint32_t), stream);
    render_with({f, march, {}, rays, rgb, depth, accumulation, counter.data()}, rays.n, stream);
    synchronize(stream);
}

void march(const Field& f, float coarseness, const DeviceRays& rays, int capacity, int* counts, float* t,
           float* length, float* points, Stream stream) {
    if (rays.n == 0) return;
    launch(cuda::march_kernel, blocks_for(rays.n, 128), 128, 0, stream, f, coarseness, rays, capacity, counts, t,
           length, points);
}

void pixel_rays(const CameraDesc& camera, const float* pixels, int n, float* origins, float* directions,
                Stream stream) {
    if (n == 0) return;
    launch(cuda::pixel_rays_kernel, blocks_for(n, 128), 128, 0, stream, camera, pixels, n, origins, directions);
}

}  // namespace gpu
}  // namespace nerfscene
