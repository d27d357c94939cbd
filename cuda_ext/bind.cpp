// The CPU's Python module: implements the `Device` that bind_field.h and bind_trainer.h need. Arrays are passed by the
// buffer and DLPack protocols (numpy, torch). They must already have the right type and layout, and are used without a
// copy. The GIL is released during computations.
// NB_DOMAIN keeps nanobind from confusing this module's types with those of the same name in other modules.
#ifndef NB_DOMAIN
#define NB_DOMAIN nerfscene_cpu
#endif
#include <atomic>
#include <cstring>
#include <memory>

#include "cpu/dispatch.h"
#include "cpu/sift_steps.h"
#include "cpu/splatter.h"
#include "cpu/trainer.h"
#include "include/refine.h"

#include "bind_splats.h"
#include "bind_trainer.h"

namespace {

const Kernels* g_kernels = nullptr;
const Kernels& kernels() {
    if (!g_kernels) {
        const Kernels* all[3];
        available_kernels(all);
        g_kernels = all[0];
    }
    return *g_kernels;
}

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

// Points (n, 3) → three arrays, padded to whole vectors.
struct Points {
    std::vector<float> x, y, z;
    Points(const float* from, int n) : x(n + 16, 0.5f), y(n + 16, 0.5f), z(n + 16, 0.5f) {
        for (int i = 0; i < n; ++i) x[i] = from[3 * i], y[i] = from[3 * i + 1], z[i] = from[3 * i + 2];
    }
};

bool g_beams = true, g_bfloat = true;

// Lends the module's threads to work(pool). The caller must have released the GIL.
void share_among(int threads, const std::function<void(ThreadPool&)>& work) {
    static std::mutex one_at_a_time;
    static std::unique_ptr<ThreadPool> pool;
    std::lock_guard<std::mutex> lock(one_at_a_time);
    if (!pool || pool->size() != threads) pool = std::make_unique<ThreadPool>(threads);
    work(*pool);
}

// Divides n rays or tiles among threads, calling part(scratch, first, last) for a range of `chunk` at a time. The caller
// must have released the GIL.
template <class Part>
void share(const Network& net, int threads, int n, int chunk, Part part) {
    share_among(threads, [&](ThreadPool& pool) {
        std::vector<std::unique_ptr<Workspace>> work;
        for (int i = 0; i < pool.size(); ++i) work.push_back(std::make_unique<Workspace>(net, 16));
        pool.run((n + chunk - 1) / chunk, [&](int worker, int i) {
            part(work[worker]->scratch, i * chunk, std::min((i + 1) * chunk, n));
        });
    });
}

struct Cpu {
    template <class T>
    using Array = nb::ndarray<T, nb::c_contig, nb::device::cpu>;
    using Floats = Array<float>;
    using ConstFloats = Array<const float>;
    using RayFloats = Floats;
    using Picture = RenderJob;

    using Coarse = std::vector<uint32_t>;
    // A field with its coarse grid, and what keeps that grid alive.
    struct ReadyField {
        Field field;
        std::shared_ptr<const Coarse> coarse;
    };
    // A field, and references that keep its arrays alive.
    struct FieldHandle {
        Field field;
        std::shared_ptr<const Coarse> coarse;
        Coarse halved;  // empty until the field is settled
        Coarse training_coarse = Coarse(kCoarseWords);  // the trainer's, which changes while pictures are rendered
        std::mutex changing;
        std::vector<nb::object> keep;
        FieldHandle(const Field& f, const Array<uint16_t>& table, const Floats& weights, const Floats& weights_t,
                    const Array<uint32_t>& occupancy, const FieldHandle*)
            : field(f), keep{nb::cast(table), nb::cast(weights), nb::cast(weights_t), nb::cast(occupancy)} {
            field.table = table.data(), field.weights = weights.data(), field.weights_t = weights_t.data();
            field.occupancy = occupancy.data();
        }
        // The field with an up-to-date coarse grid: Python may have changed the occupancy bits. Other threads may be
        // rendering with the grid as it was, so that one is never written to.
        ReadyField ready() {
            if (!halved.empty()) {
                ReadyField out = {field, coarse};
                out.field.coarse = coarse->data(), out.field.halved = halved.data();
                return out;
            }
            auto fresh = std::make_shared<Coarse>(kCoarseWords);
            make_coarse(field.space, field.occupancy, fresh->data());
            std::lock_guard<std::mutex> lock(changing);
            if (!coarse || *coarse != *fresh) coarse = std::move(fresh);
            ReadyField out = {field, coarse};
            out.field.coarse = coarse->data();
            return out;
        }
        // From now on nobody changes the occupancy bits, so what is derived from them is made only once. Nothing may be
        // rendering yet.
        void settle() {
            coarse = ready().coarse;
            const size_t half = size_t(field.space.occupancy_resolution / 2);
            Coarse made((half * half * half + 31) / 32);
            make_halved(field.space, field.occupancy, made.data());
            halved = std::move(made);
        }
    };
    struct Cancel {
        std::atomic<int> flag{0};
        void set(int value) { flag = value; }
    };
    // The arrays that a trainer uses: those passed from Python, in place, and those allocated here.
    struct TrainingArrays {
        std::vector<nb::object> keep;
        std::vector<std::vector<float>> own;
        template <class T>
        const T* read(const Array<const T>& a, const char*) {
            keep.push_back(nb::cast(a));
            return a.data();
        }
        float* change(const Floats& a) {
            keep.push_back(nb::cast(a));
            return a.data();
        }
        float* change_small(const Floats& a) { return change(a); }
        float* zeros(size_t n) { return own.emplace_back(n).data(); }
        void before_run() const {}
        void after_run() const {}
        void fetch(Trainer& trainer) const { trainer.write_back(); }
        void refresh(Trainer& trainer) const { trainer.refresh(); }
    };

    template <class A>
    static bool readable(const A&) { return true; }
    template <class A>
    static void require_on_host(const A&, const char*) {}
    static nb::arg threads_argument() { return "threads"_a; }
    // Pixels need not all be in memory here, as on a GPU.
    template <class Handle>
    static void bind_more(nb::class_<Handle>& trainer) {
        trainer.def("draw_from", [](Handle& h, const Array<const uint64_t>& parts, uint64_t size) {
            const uint64_t pixels = h.trainer->n_pixels();
            require(size > 0 && size <= pixels, "parts must have one pixel or more, and fit into the photos");
            std::vector<uint64_t> begin(parts.data(), parts.data() + parts.size());
            for (const uint64_t at : begin) require(at <= pixels - size, "parts must lie in the photos");
            h.trainer->draw_from(std::move(begin), size);
        }, "parts"_a.noconvert(), "size"_a, "From now on draws pixels only from these parts, given by where they begin.");
    }

    static void encode(const FieldHandle& h, const ConstFloats& points, int n, const Floats& out) {
        const Points p(points.data(), n);
        nb::gil_scoped_release release;
        kernels().encode(h.field.grid, h.field.table, p.x.data(), p.y.data(), p.z.data(), n, out.data(),
                         h.field.net.encoding);
    }
    static void encode_backward(const FieldHandle& h, const ConstFloats& points, int n, const ConstFloats& d_out,
                                const Floats& d_table) {
        const Points p(points.data(), n);
        const HashGrid& g = h.field.grid;
        nb::gil_scoped_release release;
        std::vector<uint32_t> slots(generic::table_rows(g), 0);
        RowGradientsMemory memory;
        for (int l = 0; l < g.levels; ++l) {
            RowGradients& rows = memory.with_room(std::min(8 * size_t(n), size_t(g.size[l])), g.features);
            kernels().scatter(g, l, 0, g.size[l], p.x.data(), p.y.data(), p.z.data(), n, d_out.data(),
                              h.field.net.encoding, rows, slots.data() + g.offset[l], 1);
            take_gradients(rows, g.features, d_table.data() + size_t(g.offset[l]) * g.features);
        }
    }
    static void density(const FieldHandle& h, const ConstFloats& points, int n, const Floats& out) {
        const Points p(points.data(), n);
        Workspace w(h.field.net, 16);
        nb::gil_scoped_release release;
        kernels().density(h.field, w.scratch, p.x.data(), p.y.data(), p.z.data(), n, out.data());
    }
    static void evaluate(const FieldHandle& h, const ConstFloats& points, int n, const ConstFloats& directions,
                         const Floats& density, const Floats& rgb) {
        const Points p(points.data(), n);
        Workspace w(h.field.net, 16);
        nb::gil_scoped_release release;
        kernels().field(h.field, w.scratch, p.x.data(), p.y.data(), p.z.data(), directions.data(), n, density.data(),
                        rgb.data());
    }
    static void evaluate_backward(const FieldHandle& h, const ConstFloats& points, int n, const ConstFloats& directions,
                                  const ConstFloats& d_density, const ConstFloats& d_rgb, const Floats& d_encoding,
                                  const Floats& d_weights) {
        const Points p(points.data(), n);
        const Network& net = h.field.net;
        Workspace w(net, n);
        nb::gil_scoped_release release;
        kernels().field_backward(h.field, w.scratch, p.x.data(), p.y.data(), p.z.data(), directions.data(), n,
                                 d_density.data(), d_rgb.data());
        std::memcpy(d_encoding.data(), w.scratch.g_encoding, sizeof(float) * size_t(n) * net.encoding);
        std::memcpy(d_weights.data(), w.scratch.weight_gradient, sizeof(float) * net.size);
    }
    static void march(FieldHandle& h, const ConstFloats& origins, const ConstFloats& directions,
                      const ConstFloats& jitter, float coarseness, int capacity, const Array<int32_t>& counts,
                      const Floats& t, const Floats& length, const Floats& points) {
        const March march = {0, 0, coarseness};
        const ReadyField ready = h.ready();
        const Field& field = ready.field;
        nb::gil_scoped_release release;
        for (size_t i = 0; i < jitter.size(); ++i)
            counts.data()[i] = kernels().march_ray(field, march, origins.data() + 3 * i, directions.data() + 3 * i,
                                                   jitter.data()[i], capacity, t.data() + i * capacity,
                                                   length.data() + i * capacity, points.data() + i * capacity * 3);
    }
    static void trace(FieldHandle& h, const std::vector<float>& crop, const RayArrays<Cpu>& rays, const March& march,
                      const PictureArrays<Cpu>& out, int threads) {
        const ReadyField ready = h.ready();
        const Field field = cropped(ready.field, crop);
        nb::gil_scoped_release release;
        share(field.net, threads, rays.n, 8 * kTileRays, [&](Scratch& scratch, int first, int last) {
            Rays some = {};
            some.origins = rays.origins.data() + 3 * first, some.directions = rays.directions.data() + 3 * first;
            some.jitter = rays.jitter.data() + first, some.backgrounds = rays.backgrounds.data() + 3 * first;
            some.n = last - first;
            Counters ignored = {};
            kernels().trace_rays(field, march, some, scratch, 0, some.n, out.rgb.data() + 3 * first,
                                 out.depth.data() + first, out.accumulation.data() + first, ignored);
        });
    }
    static void render(FieldHandle& h, const std::vector<float>& crop, const March& march, RenderJob job,
                       const PictureArrays<Cpu>& out, const Cancel* cancel, int threads) {
        const ReadyField ready = h.ready();
        job.field = cropped(ready.field, crop), job.march = march;
        job.rgb = out.rgb.data(), job.depth = out.depth.data(), job.accumulation = out.accumulation.data();
        job.beams = g_beams, job.bfloat = g_bfloat;
        const int tiles = lay_tiles(job);
        nb::gil_scoped_release release;
        share(h.field.net, threads, tiles, 8, [&](Scratch& scratch, int first, int last) {
            if (cancel && cancel->flag.load(std::memory_order_relaxed)) return;
            kernels().render_tiles(job, scratch, first, last);
        });
    }
    static void to_half(const ConstFloats& from, const Array<uint16_t>& to) {
        kernels().to_half(from.data(), to.data(), int64_t(from.size()));
    }
    static void pixel_rays(const CameraDesc& camera, const ConstFloats& pixels, int n, const Floats& origins,
                           const Floats& directions) {
        kernels().pixel_rays(camera, pixels.data(), n, origins.data(), directions.data());
    }
    static void adam(const AdamStep& step, const ConstFloats& gradient, const Floats& parameters, const Floats& moments) {
        kernels().update_weights(step, int(gradient.size()), gradient.data(), parameters.data(), moments.data());
    }

    // An array's numbers; null of an empty one.
    template <class Numbers>
    static auto given(const Numbers& numbers) {
        return numbers.size() ? numbers.data() : nullptr;
    }

    // Draws Gaussians; one thread of Python at a time.
    struct Splatter {
        CpuSplatter of;
        std::mutex one_at_a_time;
        explicit Splatter(int threads) : of(threads) {}
        int drawn() const { return of.drawn(); }
        int given() const { return of.given(); }
        const SplatCamera& camera() const { return of.camera(); }
    };
    static void draw_splats(Splatter& s, const SplatCamera& camera, const SplatArrays& arrays, const float* background,
                            bool back, const Floats& rgb, const Floats& alpha, const Floats& depth) {
        nb::gil_scoped_release release;
        std::lock_guard<std::mutex> lock(s.one_at_a_time);
        const SplatOutput to = {rgb.data(), given(alpha), given(depth), back};
        s.of.draw(*kernels().splats, camera, arrays, background, to);
    }
    static void splats_backward(Splatter& s, const SplatArrays& arrays, const ConstFloats& d_rgb, const ConstFloats& d_alpha,
                                const SplatGradients& to) {
        nb::gil_scoped_release release;
        std::lock_guard<std::mutex> lock(s.one_at_a_time);
        s.of.backward(*kernels().splats, arrays, d_rgb.data(), given(d_alpha), to);
    }
    static void photo_loss(PhotoLoss& loss, int threads, float* found) {
        nb::gil_scoped_release release;
        share_among(threads, [&](ThreadPool& pool) { cpu_photo_loss(*kernels().splats, pool, loss, found); });
    }
    static void improve_splats(const SplatAdam* adam, int n, int threads) {
        nb::gil_scoped_release release;
        share_among(threads, [&](ThreadPool& pool) { cpu_improve_splats(*kernels().splats, pool, adam, n); });
    }

    static void require_room(const Field&, size_t) {}
    static void use_field(FieldHandle& h, TrainingArrays&, TrainState& s) {
        make_coarse(h.field.space, h.field.occupancy, h.training_coarse.data());
        s.field = h.field, s.coarse = h.training_coarse.data();
        s.field.coarse = s.coarse;
    }
    static std::unique_ptr<Trainer> make_trainer(const TrainState& s, const Photos& photos, uint32_t seed, int threads) {
        return std::make_unique<Trainer>(kernels(), s, photos, seed, threads);
    }
    static TrainReport gradients(Trainer& trainer, const TrainOptions& o, const GradientArrays<Cpu>& a) {
        Rays rays = {};
        rays.origins = a.rays.origins.data(), rays.directions = a.rays.directions.data();
        rays.jitter = a.rays.jitter.data(), rays.backgrounds = a.rays.backgrounds.data();
        rays.targets = a.targets.data(), rays.n = a.rays.n;
        if (a.photos) rays.photos = a.photos->data();
        if (a.d_rays) rays.d_rays = a.d_rays->data();
        if (a.known) rays.known = a.known->data();
        float* const d_exposures = a.d_exposures ? a.d_exposures->data() : nullptr;
        nb::gil_scoped_release release;
        return trainer.gradients(o, rays, a.d_table.data(), a.d_weights.data(), d_exposures);
    }
};

void bind_instruction_sets(nb::module_& m) {
    m.def("instruction_sets", [] {
        const Kernels* all[3];
        const int n = available_kernels(all);
        std::vector<std::string> names;
        for (int i = 0; i < n; ++i) names.push_back(all[i]->name);
        return names;
    }, "The compiled instruction sets that this machine can run, best first.");
    m.def("instruction_set", [] { return std::string(kernels().name); });
    m.def("use_instruction_set", [](const std::string& name) {
        const Kernels* all[3];
        const int n = available_kernels(all);
        for (int i = 0; i < n; ++i)
            if (name == all[i]->name) {
                g_kernels = all[i];
                return;
            }
        throw nb::value_error(("instruction set not available on this machine: " + name).c_str());
    }, "name"_a, "Selects one, for tests and benchmarks. The default is the best one.");
}

void bind_beams(nb::module_& m) {
    m.def("use_beams", [](bool use) { g_beams = use; }, "use"_a,
          "Whether `Field.render` judges steps for tiles of rays together, for tests and benchmarks. By default it does. "
          "The pictures are the same.");
    m.def("use_bfloat16", [](bool use) {
        g_bfloat = use;
        return kernels().has_bfloat();
    }, "use"_a, "Whether `Field.render` computes the first two layers in bfloat16 where samples may share colours, for tests "
                "and benchmarks. By default it does, on processors that can. Returns whether this one can.");
    m.def("live_steps", [](Cpu::FieldHandle& h, Cpu::ConstFloats origin, Cpu::ConstFloats directions,
                           Cpu::Array<uint8_t> live, Cpu::Array<int32_t> offset) {
        const int n = int(offset.size());
        require(origin.size() == 3 && int(directions.size()) == 3 * n, "origin must be (3,), directions (n, 3)");
        require(0 < n && n <= kTileRays, "a beam has 1 to 64 rays");
        require_finite<Cpu>("rays must be finite", origin, directions);
        const Cpu::ReadyField ready = h.ready();
        Workspace w(h.field.net, 16);
        return kernels().live_steps(ready.field, w.scratch, origin.data(), directions.data(), n, int(live.size()),
                                    live.data(), offset.data());
    }, "field"_a, "origin"_a.noconvert(), "directions"_a.noconvert(), "live"_a.noconvert(), "offset"_a.noconvert(),
       "Marks the steps at which rays from one point may meet something: ray r's step k is live[k + offset[r]]. Returns "
       "False if these rays have no beam.");
}

void bind_finer_grid(nb::module_& m) {
    m.def("finer_occupancy", [](const Cpu::FieldHandle& h, float threshold, int threads, Cpu::Array<uint32_t> out) {
        const int r = h.field.space.occupancy_resolution;
        require(out.size() == size_t(2 * r) * (2 * r) * (2 * r) / 32, "out must have (2 · occupancy_resolution)³ bits");
        require(r <= 512, "the grid is too fine already");
        std::memset(out.data(), 0, out.size() * 4);
        nb::gil_scoped_release release;
        share(h.field.net, threads, r, 1, [&](Scratch& scratch, int z, int) {
            kernels().finer_layer(h.field, scratch, z, threshold, out.data());
        });
    }, "field"_a, "threshold"_a, "threads"_a, "out"_a.noconvert(),
       "The occupancy bits of a grid with twice the resolution: set in the smaller cells of occupied cells in which "
       "something is thicker than `threshold`.");
    m.def("settle", [](Cpu::FieldHandle& h) { h.settle(); }, "field"_a,
          "Promises that the occupancy bits will not change, which saves some time for every picture.");
}

void bind_matching(nb::module_& m) {
    m.def("nearest_descriptors", [](const Cpu::Array<const uint8_t>& a, const Cpu::Array<const uint8_t>& b,
                                    const Cpu::Array<int32_t>& out) {
        require(a.ndim() == 2 && b.ndim() == 2 && a.shape(1) == 128 && b.shape(1) == 128, "descriptors must be (n, 128)");
        const int n = int(a.shape(0)), count = int(b.shape(0));
        require(count > 0 && out.ndim() == 2 && out.shape(0) == 3 && int(out.shape(1)) == n, "out must be (3, n), of some");
        nb::gil_scoped_release release;
        std::vector<int32_t> scratch(nearest_scratch(n, count));
        kernels().nearest(a.data(), n, b.data(), count, scratch.data(), out.data(), out.data() + n, out.data() + 2 * n);
    }, "a"_a.noconvert(), "b"_a.noconvert(), "out"_a.noconvert(),
       "For each descriptor of `a`, 128 bytes: the index of the one of `b` with the largest dot product, that product, and "
       "the second largest (0 if there is no second).");
    m.def("sift", [](const Cpu::Array<const uint8_t>& image, float contrast, float edge, const Cpu::Array<float>& keypoints,
                     const Cpu::Array<uint8_t>& descriptors) {
        require(image.ndim() == 2 && image.size() > 0, "image must be (height, width), of some");
        const size_t most = keypoints.shape(0);
        require(keypoints.ndim() == 2 && keypoints.shape(1) == 4, "keypoints must be (n, 4)");
        require(descriptors.ndim() == 2 && descriptors.shape(0) == most && descriptors.shape(1) == 128,
                "descriptors must be (n, 128)");
        nb::gil_scoped_release release;
        return sift(kernels(), image.data(), int(image.shape(1)), int(image.shape(0)), {contrast, edge, int(most)},
                    keypoints.data(), descriptors.data());
    }, "image"_a.noconvert(), "contrast"_a, "edge"_a, "keypoints"_a.noconvert(), "descriptors"_a.noconvert(),
       "Finds SIFT's features in a grey picture, the largest first and at most as many as there is room for: x, y, scale and "
       "direction (radians) of each, and 128 bytes that describe it. Returns their number.");
}

}  // namespace

NB_MODULE(_cpu, m) {
    m.doc() = "nerfscene's kernels on the CPU.";
    bind_instruction_sets(m);
    FieldBinding<Cpu>::bind(m);
    TrainerBinding<Cpu>::bind(m);
    bind_beams(m);
    bind_finer_grid(m);
    bind_matching(m);
    SplatBinding<Cpu>::bind(m);
    m.def("camera_gradient", [](const std::vector<float>& intrinsics, int lens, int width, int height,
                                const std::vector<float>& pose, Cpu::ConstFloats pixels, Cpu::ConstFloats d_rays,
                                Cpu::Floats out) {
        require(pixels.ndim() == 2 && pixels.shape(1) == 2, "pixels must be (n, 2)");
        const int n = int(pixels.shape(0));
        require(int(d_rays.size()) == 6 * n && int(out.size()) == kCameraGradient * n, "d_rays must be (n, 6), out (n, 15)");
        require(lens <= kFisheye, "only photos' cameras have gradients");
        const CameraDesc camera = camera_desc(intrinsics, lens, width, height, pose, 0);
        for (int i = 0; i < n; ++i)
            generic::camera_gradient(camera, pixels.data()[2 * i], pixels.data()[2 * i + 1], d_rays.data() + 6 * i,
                                     out.data() + kCameraGradient * i);
    }, "intrinsics"_a, "lens"_a, "width"_a, "height"_a, "pose"_a, "pixels"_a.noconvert(), "d_rays"_a.noconvert(),
       "out"_a.noconvert(), "Gradients of rays (n, 6) → gradients of their camera, one for each ray (n, 15).");
}
