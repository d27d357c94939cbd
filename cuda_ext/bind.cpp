// Python ↔ kernels: check, unwrap, call. Arrays come in by the buffer and DLPack protocols (numpy, torch),
// must already have the right type and layout, and are only borrowed; the GIL is released while computing.
// Types of one name live in this module and in others: nanobind must not take them for the same.
#ifndef NB_DOMAIN
#define NB_DOMAIN nerfscene_cpu
#endif
#include <atomic>
#include <cstring>
#include <memory>

#include "bind_common.h"
#include "cpu/dispatch.h"
#include "cpu/trainer.h"
#include "include/refine.h"

namespace {

template <class T>
using Array = nb::ndarray<T, nb::c_contig, nb::device::cpu>;
using Floats = Array<float>;
using ConstFloats = Array<const float>;

template <class A>
void require_finite(const A& array, const char* what) {
    bool finite = true;
    for (size_t i = 0; i < array.size(); ++i) finite &= array.data()[i] - array.data()[i] == 0.0f;
    require(finite, what);
}

const Kernels* g_kernels = nullptr;
const Kernels& kernels() {
    if (!g_kernels) {
        const Kernels* all[3];
        available_kernels(all);
        g_kernels = all[0];
    }
    return *g_kernels;
}

// A field, and the arrays that it points into.
struct FieldHandle {
    Field field{};
    std::vector<uint32_t> coarse = std::vector<uint32_t>(kCoarseWords);
    nb::object keep_table, keep_weights, keep_weights_t, keep_occupancy;
    // The field with its coarse grid renewed: Python may have changed the occupancy bits.
    const Field& ready() {
        make_coarse(field.space, field.occupancy, coarse.data());
        field.coarse = coarse.data();
        return field;
    }
};

// A worker's memory outside training.
struct Workspace {
    std::unique_ptr<float[]> block;
    Scratch scratch{};
    Workspace(const Network& net, int capacity) {
        const size_t n = scratch_floats(net, capacity);
        block.reset(new float[n + 16]);
        auto address = reinterpret_cast<uintptr_t>(block.get());
        scratch_layout(scratch, net, capacity, reinterpret_cast<float*>((address + 63) / 64 * 64));
    }
};

// (n, 3) points → three padded arrays.
struct Points {
    std::vector<float> x, y, z;
    int n;
    explicit Points(const ConstFloats& p) {
        require(p.ndim() == 2 && p.shape(1) == 3, "points must have shape (n, 3)");
        n = int(p.shape(0));
        x.assign(n + 16, 0.5f), y.assign(n + 16, 0.5f), z.assign(n + 16, 0.5f);
        for (int i = 0; i < n; ++i) {
            x[i] = p.data()[3 * i], y[i] = p.data()[3 * i + 1], z[i] = p.data()[3 * i + 2];
            require(x[i] >= 0 && x[i] <= 1 && y[i] >= 0 && y[i] <= 1 && z[i] >= 0 && z[i] <= 1,
                    "points must lie in the unit cube");
        }
    }
};

// Lets one thread stop a picture that another is rendering.
struct Cancel {
    std::atomic<int> flag{0};
};

struct TrainerHandle {
    std::vector<CameraDesc> cameras;
    std::vector<uint64_t> first_pixel;
    std::vector<nb::object> keep;
    std::vector<float> exposures, exposure_moments;  // where Python gave none
    int channels = 0;
    std::unique_ptr<Trainer> trainer;
};

// Shares n rays out to threads: part(scratch, first, last), some rays at a time. Without Python's lock.
template <class Part>
void share_rays(const Network& net, int threads, int n, Part part) {
    static std::mutex one_at_a_time;
    static std::unique_ptr<ThreadPool> pool;
    std::lock_guard<std::mutex> lock(one_at_a_time);
    if (!pool || pool->size() != threads) pool = std::make_unique<ThreadPool>(threads);
    std::vector<std::unique_ptr<Workspace>> work;
    for (int i = 0; i < pool->size(); ++i) work.push_back(std::make_unique<Workspace>(net, 16));
    constexpr int kChunk = 512;
    pool->run((n + kChunk - 1) / kChunk, [&](int worker, int i) {
        part(work[worker]->scratch, i * kChunk, std::min((i + 1) * kChunk, n));
    });
}

}  // namespace

NB_MODULE(_cpu, m) {
    m.doc() = "nerfscene's kernels on the CPU.";

    m.def("instruction_sets", [] {
        const Kernels* all[3];
        const int n = available_kernels(all);
        std::vector<std::string> names;
        for (int i = 0; i < n; ++i) names.push_back(all[i]->name);
        return names;
    }, "Instruction sets that were compiled in and that this machine runs, best first.");
    m.def("instruction_set", [] { return std::string(kernels().name); });
    m.def("use_instruction_set", [](const std::string& name) {
        const Kernels* all[3];
        const int n = available_kernels(all);
        for (int i = 0; i < n; ++i)
            if (name == all[i]->name) {
                g_kernels = all[i];
                return;
            }
        throw nb::value_error(("no such instruction set here: " + name).c_str());
    }, "name"_a, "Choose one, for tests and measurements; the best is the default.");

    nb::class_<Cancel>(m, "Cancel", "Stops a picture that another thread renders: pass it to `render`, then `set` it.")
        .def(nb::init<>())
        .def("set", [](Cancel& c) { c.flag = 1; })
        .def("clear", [](Cancel& c) { c.flag = 0; });

    nb::class_<FieldHandle>(m, "Field")
        .def("__init__", [](FieldHandle* self, int features, const std::vector<int>& resolution,
                            const std::vector<uint32_t>& size, const std::vector<uint32_t>& hashed, int hidden,
                            int color_hidden, int color_layers, bool unbounded, float near_plane, float far_plane,
                            float step, float cone, int occupancy_resolution, Array<uint16_t> table, Floats weights,
                            Floats weights_t, Array<uint32_t> occupancy) {
            new (self) FieldHandle();
            Field& f = self->field;
            f = field_desc(features, resolution, size, hashed, hidden, color_hidden, color_layers, unbounded, near_plane,
                           far_plane, step, cone, occupancy_resolution);
            require_sizes(f, table.size(), weights.size(), weights_t.size(), occupancy.size());
            f.table = table.data(), f.weights = weights.data(), f.weights_t = weights_t.data();
            f.occupancy = occupancy.data();
            self->keep_table = nb::cast(table), self->keep_weights = nb::cast(weights);
            self->keep_weights_t = nb::cast(weights_t), self->keep_occupancy = nb::cast(occupancy);
        }, "features"_a, "resolution"_a, "size"_a, "hashed"_a, "hidden"_a, "color_hidden"_a, "color_layers"_a,
             "unbounded"_a, "near"_a, "far"_a, "step"_a, "cone"_a, "occupancy_resolution"_a, "table"_a.noconvert(),
             "weights"_a.noconvert(), "weights_t"_a.noconvert(), "occupancy"_a.noconvert())
        .def("encode", [](const FieldHandle& h, ConstFloats points, Floats out) {
            const Points p(points);
            const int e = h.field.net.encoding;
            require(out.ndim() == 2 && int(out.shape(0)) == p.n && int(out.shape(1)) == e, "out must be (n, encoding)");
            nb::gil_scoped_release release;
            kernels().encode(h.field.grid, h.field.table, p.x.data(), p.y.data(), p.z.data(), p.n, out.data(), e);
        }, "points"_a.noconvert(), "out"_a.noconvert(), "Encodings (n, encoding) of unit-cube points (n, 3).")
        .def("encode_backward", [](const FieldHandle& h, ConstFloats points, ConstFloats d_out, Floats d_table) {
            const Points p(points);
            const HashGrid& g = h.field.grid;
            const int e = h.field.net.encoding;
            require(d_out.ndim() == 2 && int(d_out.shape(0)) == p.n && int(d_out.shape(1)) == e, "d_out must be (n, encoding)");
            require(d_table.size() == table_rows(g) * g.features, "d_table must be like the table");
            std::vector<uint64_t> touched(table_rows(g) / 64 + 2, 0);
            nb::gil_scoped_release release;
            for (int l = 0; l < g.levels; ++l)
                kernels().scatter(g, l, 0, g.size[l], p.x.data(), p.y.data(), p.z.data(), p.n, d_out.data(), e,
                                  d_table.data() + size_t(g.offset[l]) * g.features, touched.data());
        }, "points"_a.noconvert(), "d_out"_a.noconvert(), "d_table"_a.noconvert(), "Accumulates into d_table.")
        .def("density", [](const FieldHandle& h, ConstFloats points, Floats out) {
            const Points p(points);
            require(int(out.size()) == p.n, "out must be (n,)");
            Workspace w(h.field.net, 16);
            nb::gil_scoped_release release;
            kernels().density(h.field, w.scratch, p.x.data(), p.y.data(), p.z.data(), p.n, out.data());
        }, "points"_a.noconvert(), "out"_a.noconvert())
        .def("evaluate", [](const FieldHandle& h, ConstFloats points, ConstFloats directions, Floats density, Floats rgb) {
            const Points p(points);
            require(int(directions.size()) == 3 * p.n && int(density.size()) == p.n && int(rgb.size()) == 3 * p.n,
                    "directions and rgb must be (n, 3), density (n,)");
            Workspace w(h.field.net, 16);
            nb::gil_scoped_release release;
            kernels().field(h.field, w.scratch, p.x.data(), p.y.data(), p.z.data(), directions.data(), p.n,
                            density.data(), rgb.data());
        }, "points"_a.noconvert(), "directions"_a.noconvert(), "density"_a.noconvert(), "rgb"_a.noconvert())
        .def("evaluate_backward", [](const FieldHandle& h, ConstFloats points, ConstFloats directions, ConstFloats d_density,
                                     ConstFloats d_rgb, Floats d_encoding, Floats d_weights) {
            const Points p(points);
            const Network& net = h.field.net;
            require(int(directions.size()) == 3 * p.n && int(d_density.size()) == p.n && int(d_rgb.size()) == 3 * p.n,
                    "directions and d_rgb must be (n, 3), d_density (n,)");
            require(int(d_encoding.size()) == p.n * net.encoding && int(d_weights.size()) == net.size, "outputs' sizes");
            Workspace w(net, p.n);
            nb::gil_scoped_release release;
            kernels().field_backward(h.field, w.scratch, p.x.data(), p.y.data(), p.z.data(), directions.data(), p.n,
                                     d_density.data(), d_rgb.data());
            std::memcpy(d_encoding.data(), w.scratch.g_encoding, sizeof(float) * size_t(p.n) * net.encoding);
            std::memcpy(d_weights.data(), w.scratch.weight_gradient, sizeof(float) * net.size);
        }, "points"_a.noconvert(), "directions"_a.noconvert(), "d_density"_a.noconvert(), "d_rgb"_a.noconvert(),
             "d_encoding"_a.noconvert(), "d_weights"_a.noconvert(), "Overwrites d_encoding and d_weights.")
        .def("march", [](FieldHandle& h, ConstFloats origins, ConstFloats directions, ConstFloats jitter,
                         float coarseness, Array<int32_t> counts, Floats t, Floats length, Floats points) {
            const int n = int(jitter.size()), capacity = n ? int(t.size()) / n : 0;
            require(int(origins.size()) == 3 * n && int(directions.size()) == 3 * n && int(counts.size()) == n,
                    "origins and directions must be (n, 3), jitter and counts (n,)");
            require(length.size() == t.size() && points.size() == 3 * t.size(), "t, length (n, capacity), points (…, 3)");
            require_finite(origins, "rays must be finite"), require_finite(directions, "rays must be finite");
            require_finite(jitter, "rays must be finite");
            const March march = {0, 0, coarseness};
            const Field& field = h.ready();
            nb::gil_scoped_release release;
            for (int i = 0; i < n; ++i)
                counts.data()[i] = kernels().march_ray(
                    field, march, origins.data() + 3 * i, directions.data() + 3 * i, jitter.data()[i], capacity,
                    t.data() + size_t(i) * capacity, length.data() + size_t(i) * capacity,
                    points.data() + size_t(i) * capacity * 3);
        }, "origins"_a.noconvert(), "directions"_a.noconvert(), "jitter"_a.noconvert(), "coarseness"_a,
             "counts"_a.noconvert(), "t"_a.noconvert(), "length"_a.noconvert(), "points"_a.noconvert(),
             "Samples of each ray in occupied cells, at most `capacity` a ray.")
        .def("trace", [](FieldHandle& h, Floats origins, Floats directions, Floats jitter, Floats backgrounds,
                         float min_weight, float stop, float coarseness, Floats rgb, Floats depth, Floats accumulation,
                         int threads) {
            const int n = int(jitter.size());
            require(int(origins.size()) == 3 * n && int(directions.size()) == 3 * n && int(backgrounds.size()) == 3 * n &&
                        int(rgb.size()) == 3 * n && int(depth.size()) == n && int(accumulation.size()) == n,
                    "rays and outputs differ in number");
            require_finite(origins, "rays must be finite"), require_finite(directions, "rays must be finite");
            require_finite(jitter, "rays must be finite"), require_finite(backgrounds, "backgrounds must be finite");
            const Rays rays = {origins.data(), directions.data(), jitter.data(), nullptr, backgrounds.data(), nullptr, nullptr, n,
                               nullptr, nullptr};
            const Field& field = h.ready();
            nb::gil_scoped_release release;
            share_rays(field.net, threads, n, [&](Scratch& scratch, int first, int last) {
                const int m = last - first;
                const Rays some = {rays.origins + 3 * first, rays.directions + 3 * first, rays.jitter + first, nullptr,
                                   rays.backgrounds + 3 * first, nullptr, nullptr, m, nullptr, nullptr};
                Counters ignored = {};
                kernels().trace_rays(field, {min_weight, stop, coarseness}, some, scratch, 0, m, rgb.data() + 3 * first,
                                     depth.data() + first, accumulation.data() + first, ignored);
            });
        }, "origins"_a.noconvert(), "directions"_a.noconvert(), "jitter"_a.noconvert(), "backgrounds"_a.noconvert(),
             "min_weight"_a, "stop_transmittance"_a, "coarseness"_a, "rgb"_a.noconvert(), "depth"_a.noconvert(),
             "accumulation"_a.noconvert(), "threads"_a = 1)
        .def("render", [](FieldHandle& h, const std::vector<float>& intrinsics, int lens, int width, int height,
                          const std::vector<float>& pose, const std::vector<float>& background, float min_weight,
                          float stop, int threads, std::tuple<int, int, int, int> rect, Floats rgb, Floats depth,
                          Floats accumulation, const Cancel* cancel, const std::vector<float>& crop) {
            RenderJob job = {};
            job.field = cropped(h.ready(), crop);
            job.march = {min_weight, stop, 1.0f};
            job.camera = camera_desc(intrinsics, lens, width, height, pose, 0);
            require(background.size() == 3, "background is three numbers");
            for (int c = 0; c < 3; ++c) job.background[c] = background[c];
            std::tie(job.row0, job.row1, job.col0, job.col1) = rect;
            const int n = (job.row1 - job.row0) * (job.col1 - job.col0);
            require(0 <= job.row0 && job.row0 <= job.row1 && job.row1 <= height && 0 <= job.col0 && job.col0 <= job.col1 &&
                        job.col1 <= width, "the rectangle must lie in the picture");
            require(int(rgb.size()) == 3 * n && int(depth.size()) == n && int(accumulation.size()) == n,
                    "outputs must have the rectangle's size");
            job.rgb = rgb.data(), job.depth = depth.data(), job.accumulation = accumulation.data();
            nb::gil_scoped_release release;
            share_rays(h.field.net, threads, n, [&](Scratch& scratch, int first, int last) {
                if (cancel && cancel->flag.load(std::memory_order_relaxed)) return;
                kernels().render_rows(job, scratch, first, last);
            });
        }, "intrinsics"_a, "lens"_a, "width"_a, "height"_a, "pose"_a, "background"_a, "min_weight"_a,
             "stop_transmittance"_a, "threads"_a, "rect"_a, "rgb"_a.noconvert(), "depth"_a.noconvert(),
             "accumulation"_a.noconvert(), "cancel"_a = nullptr, "crop"_a = std::vector<float>());

    bind_train_options(m);

    nb::class_<TrainerHandle> trainer(m, "Trainer");
    trainer
        .def("__init__", [](TrainerHandle* self, FieldHandle& field, Floats table, Floats table_moments,
                            Floats weight_moments, Floats occupancy_values, nb::object allowed,
                            const std::vector<nb::tuple>& cameras, Array<const uint8_t> pixels, int channels,
                            bool random_background, const std::vector<float>& background, uint32_t seed, int threads,
                            nb::object exposures, nb::object exposure_moments, nb::object chosen,
                            nb::object camera_gradients, nb::object depths) {
            new (self) TrainerHandle();
            self->channels = channels;
            const Field& f = field.ready();
            const HashGrid& g = f.grid;
            const size_t entries = table_rows(g) * g.features;
            require(table.size() == entries && table_moments.size() == 2 * entries, "table and its moments' sizes");
            require(int(weight_moments.size()) == 2 * f.net.size, "weight moments' size");
            const size_t cells = size_t(f.space.occupancy_resolution) * f.space.occupancy_resolution * f.space.occupancy_resolution;
            require(occupancy_values.size() == cells, "one occupancy value a cell");
            require(channels == 3 || channels == 4, "photos have 3 or 4 channels");
            require(background.size() == 3, "background is three numbers");
            TrainState s = {};
            s.field = f;
            s.table = table.data(), s.half_table = const_cast<uint16_t*>(f.table);
            s.table_moments = table_moments.data();
            s.weights = const_cast<float*>(f.weights), s.weights_t = const_cast<float*>(f.weights_t);
            s.weight_moments = weight_moments.data();
            s.occupancy_values = occupancy_values.data(), s.occupancy = const_cast<uint32_t*>(f.occupancy);
            s.coarse = field.coarse.data();
            if (!allowed.is_none()) {
                auto bits = nb::cast<Array<const uint32_t>>(allowed, false);
                require(bits.size() * 32 == cells, "one allowed bit a cell");
                s.allowed = bits.data();
            }
            const uint64_t count = read_cameras(cameras, channels, self->cameras, self->first_pixel);
            require(!cameras.empty() && pixels.size() == count * channels, "photos' sizes and pixels disagree");
            Photos ph = {};
            ph.cameras = self->cameras.data(), ph.first_pixel = self->first_pixel.data(), ph.pixels = pixels.data();
            ph.n = int(self->cameras.size()), ph.channels = channels, ph.random_background = random_background;
            for (int c = 0; c < 3; ++c) ph.background[c] = background[c];
            if (!chosen.is_none()) {
                auto list = nb::cast<Array<const uint32_t>>(chosen, false);
                require_chosen(list.data(), list.size(), count);
                ph.chosen = list.data(), ph.n_chosen = list.size();
            }
            if (!depths.is_none()) {
                auto known = nb::cast<ConstFloats>(depths, false);
                require_depths(known.size(), self->cameras);
                ph.depths = known.data();
            }
            self->exposures.resize(3 * cameras.size()), self->exposure_moments.resize(6 * cameras.size());
            s.exposures = self->exposures.data(), s.exposure_moments = self->exposure_moments.data();
            if (!exposures.is_none()) {
                auto e = nb::cast<Floats>(exposures, false), m = nb::cast<Floats>(exposure_moments, false);
                require(e.size() == 3 * cameras.size() && m.size() == 6 * cameras.size(), "exposures are (photos, 3)");
                s.exposures = e.data(), s.exposure_moments = m.data();
            }
            if (!camera_gradients.is_none()) {
                auto g = nb::cast<Floats>(camera_gradients, false);
                require(g.size() == kCameraGradient * cameras.size(), "cameras' gradients are (photos, 15)");
                s.camera_gradients = g.data();
            }
            self->keep = {nb::find(field), nb::cast(table), nb::cast(table_moments), nb::cast(weight_moments),
                          nb::cast(occupancy_values), allowed, nb::cast(pixels), exposures, exposure_moments, chosen,
                          camera_gradients, depths};
            self->trainer = std::make_unique<Trainer>(kernels(), s, ph, seed, threads);
        }, "field"_a, "table"_a.noconvert(), "table_moments"_a.noconvert(), "weight_moments"_a.noconvert(),
             "occupancy_values"_a.noconvert(), "allowed"_a.none(), "cameras"_a, "pixels"_a.noconvert(), "channels"_a,
             "random_background"_a, "background"_a, "seed"_a, "threads"_a, "exposures"_a = nb::none(),
             "exposure_moments"_a = nb::none(), "chosen"_a = nb::none(), "camera_gradients"_a = nb::none(),
             "depths"_a = nb::none())
        .def("set_cameras", [](TrainerHandle& h, const std::vector<nb::tuple>& cameras) {
            replace_cameras(cameras, h.channels, h.cameras);
            h.trainer->use_cameras(h.cameras.data());
        }, "cameras"_a, "The same photos' cameras, refined.")
        .def("gradients", [](TrainerHandle& h, const TrainOptions& o, Floats origins, Floats directions, Floats jitter,
                             Floats targets, Floats backgrounds, Floats d_table, Floats d_weights, nb::object photos,
                             nb::object d_exposures, nb::object d_rays, nb::object known) {
            const int n = int(jitter.size());
            require(int(origins.size()) == 3 * n && int(directions.size()) == 3 * n && int(targets.size()) == 3 * n &&
                        int(backgrounds.size()) == 3 * n, "rays differ in number");
            require(h.trainer->has_sizes(d_table.size(), d_weights.size()), "gradients are like the table and the weights");
            require_finite(origins, "rays must be finite"), require_finite(directions, "rays must be finite");
            require_finite(jitter, "rays must be finite"), require_finite(targets, "colours must be finite");
            require_finite(backgrounds, "colours must be finite");
            Rays rays = {origins.data(), directions.data(), jitter.data(), targets.data(), backgrounds.data(), nullptr,
                         nullptr, n, nullptr, nullptr};
            if (!known.is_none()) {
                auto depths = nb::cast<Floats>(known, false);
                require(int(depths.size()) == n, "rays differ in number");
                rays.known = depths.data();
            }
            if (!d_rays.is_none()) {
                auto to = nb::cast<Floats>(d_rays, false);
                require(int(to.size()) == 6 * n, "gradients of rays are (n, 6)");
                rays.d_rays = to.data();
            }
            float* to_exposures = nullptr;
            if (!photos.is_none()) {
                auto of = nb::cast<Array<int32_t>>(photos, false);
                auto to = nb::cast<Floats>(d_exposures, false);
                require_photos(of.data(), of.size(), n, h.trainer->n_photos());
                require(int(to.size()) == 3 * h.trainer->n_photos(), "gradients of exposures are (photos, 3)");
                rays.photos = of.data(), to_exposures = to.data();
            }
            TrainReport r;
            {
                nb::gil_scoped_release release;
                r = h.trainer->gradients(o, rays, d_table.data(), d_weights.data(), to_exposures);
            }
            return report_dict(r);
        }, "options"_a, "origins"_a.noconvert(), "directions"_a.noconvert(), "jitter"_a.noconvert(),
             "targets"_a.noconvert(), "backgrounds"_a.noconvert(), "d_table"_a.noconvert(), "d_weights"_a.noconvert(),
             "photos"_a = nb::none(), "d_exposures"_a = nb::none(), "d_rays"_a = nb::none(),
             "known"_a = nb::none())
        .def("refresh", [](TrainerHandle& h) { h.trainer->refresh_weights(); });
    bind_running(trainer);

    m.def("to_half", [](ConstFloats from, Array<uint16_t> to) {
        require(from.size() == to.size(), "sizes differ");
        kernels().to_half(from.data(), to.data(), int64_t(from.size()));
    }, "source"_a.noconvert(), "out"_a.noconvert(), "float32 → binary16, round to nearest even, saturating.");

    m.def("pixel_rays", [](const std::vector<float>& intrinsics, int lens, int width, int height,
                           const std::vector<float>& pose, ConstFloats pixels, Floats origins, Floats directions) {
        require(pixels.ndim() == 2 && pixels.shape(1) == 2, "pixels must be (n, 2)");
        const int n = int(pixels.shape(0));
        require(int(origins.size()) == 3 * n && int(directions.size()) == 3 * n, "outputs must be (n, 3)");
        kernels().pixel_rays(camera_desc(intrinsics, lens, width, height, pose, 0), pixels.data(), n, origins.data(),
                             directions.data());
    }, "intrinsics"_a, "lens"_a, "width"_a, "height"_a, "pose"_a, "pixels"_a.noconvert(), "origins"_a.noconvert(),
       "directions"_a.noconvert());

    m.def("camera_gradient", [](const std::vector<float>& intrinsics, int lens, int width, int height,
                                const std::vector<float>& pose, ConstFloats pixels, ConstFloats d_rays, Floats out) {
        require(pixels.ndim() == 2 && pixels.shape(1) == 2, "pixels must be (n, 2)");
        const int n = int(pixels.shape(0));
        require(int(d_rays.size()) == 6 * n && int(out.size()) == kCameraGradient * n, "d_rays is (n, 6), out (n, 15)");
        const CameraDesc camera = camera_desc(intrinsics, lens, width, height, pose, 0);
        for (int i = 0; i < n; ++i)
            generic::camera_gradient(camera, pixels.data()[2 * i], pixels.data()[2 * i + 1], d_rays.data() + 6 * i,
                                     out.data() + kCameraGradient * i);
    }, "intrinsics"_a, "lens"_a, "width"_a, "height"_a, "pose"_a, "pixels"_a.noconvert(), "d_rays"_a.noconvert(),
       "out"_a.noconvert(), "Rays' gradients (n, 6) → their camera's, each ray's by itself (n, 15).");

    m.def("adam", [](ConstFloats gradient, Floats parameters, Floats moments, float rate, float beta1, float beta2,
                     float epsilon, float pull) {
        require(gradient.size() % 16 == 0 && parameters.size() == gradient.size() && moments.size() == 2 * gradient.size(),
                "parameters like gradient, a multiple of 16; moments twice that");
        kernels().update_weights({rate, beta1, beta2, epsilon, pull}, int(gradient.size()), gradient.data(), parameters.data(),
                                 moments.data());
    }, "gradient"_a.noconvert(), "parameters"_a.noconvert(), "moments"_a.noconvert(), "rate"_a, "beta1"_a, "beta2"_a,
       "epsilon"_a, "pull"_a = 0.0f);
}
