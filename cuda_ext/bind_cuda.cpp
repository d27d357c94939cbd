// The CUDA Python module: implements the `Device` that bind_field.h and bind_trainer.h need, and adds what only a GPU
// has. Names and signatures are the same as in the CPU's module, so Python code and tests can use either.
// Arrays are numpy arrays or any DLPack arrays, on the host or on the device. `stream` is a cudaStream_t as an integer.
// Nothing here needs torch, so one build works with every version of it.
// NB_DOMAIN keeps nanobind from confusing this module's types with those of the same name in other modules.
#ifndef NB_DOMAIN
#define NB_DOMAIN nerfscene_cuda
#endif
#include <map>
#include <memory>
#include <mutex>

#include "cuda/driver.h"
#include "cuda/splats.h"

#include "bind_cuda_arrays.h"
#include "bind_splats.h"
#include "bind_trainer.h"

#ifndef NS_MODULE
#define NS_MODULE _cuda
#endif

namespace {

struct Cuda {
    template <class T>
    using Array = DeviceArray<T>;
    using Floats = Array<float>;
    using ConstFloats = Array<const float>;
    using RayFloats = ConstFloats;
    using Picture = DevicePicture;

    // A field's arrays, see bind_cuda_arrays.h.
    struct FieldArrays {
        Mirrored<uint16_t> table;
        Mirrored<float> weights, weights_t;
        Mirrored<uint32_t> occupancy;
        template <class F>
        void each(F visit) const { visit(table), visit(weights), visit(weights_t), visit(occupancy); }
    };
    // A field on the device. Those made with `of` have that field's arrays on the device, whatever arrays they are given.
    struct FieldHandle {
        Field field;
        std::shared_ptr<const FieldArrays> arrays;
        // The room around coarse cells. Work on one stream is done in order; other streams, which other threads use,
        // have arrays of their own, so that none changes while it is read.
        struct Room {
            gpu::Buffer<uint8_t> room = gpu::Buffer<uint8_t>(kCoarseCells);
            gpu::Buffer<uint8_t> scratch = gpu::Buffer<uint8_t>(2 * kCoarseCells);
        };
        std::map<gpu::Stream, Room> rooms;
        gpu::Buffer<uint8_t> training_room = gpu::Buffer<uint8_t>(kCoarseCells);  // the trainer's
        std::mutex changing;

        FieldHandle(const Field& f, const Array<uint16_t>& table, const Floats& weights, const Floats& weights_t,
                    const Array<uint32_t>& occupancy, const FieldHandle* of)
            : field(f), arrays(of ? of->arrays
                                  : std::make_shared<FieldArrays>(FieldArrays{Mirrored<uint16_t>(table), Mirrored<float>(weights),
                                                                              Mirrored<float>(weights_t),
                                                                              Mirrored<uint32_t>(occupancy)})) {
            require_sizes(field, arrays->table.size(), arrays->weights.size(), arrays->weights_t.size(),
                          arrays->occupancy.size());
            field.table = arrays->table.data(), field.weights = arrays->weights.data();
            field.weights_t = arrays->weights_t.data(), field.occupancy = arrays->occupancy.data();
            gpu::synchronize(nullptr);
        }
        // The field with its `room` up to date: the occupancy bits may have changed.
        Field ready(gpu::Stream stream) {
            std::lock_guard<std::mutex> lock(changing);
            Room& own = rooms[stream];
            Field out = field;
            out.room = own.room.data();
            gpu::update_room(out, own.scratch.data(), own.room.data(), stream);
            return out;
        }
    };
    struct Cancel {
        gpu::Buffer<int> flag = gpu::Buffer<int>(1);
        Cancel() { set(0); }
        void set(int value) { gpu::set_flag(flag.data(), value); }
    };
    // The arrays that a trainer uses, see bind_cuda_arrays.h.
    struct TrainingArrays {
        std::vector<nb::object> keep;
        std::vector<gpu::Buffer<uint8_t>> own;
        std::shared_ptr<const FieldArrays> field;
        std::vector<Mirrored<float>> large, small;
        template <class T>
        const T* read(const Array<const T>& a, const char* must_be_on_host) {
            require_host(a, must_be_on_host);
            gpu::Buffer<uint8_t> copy;
            copy_large(copy, reinterpret_cast<const uint8_t*>(a.data()), a.size() * sizeof(T));
            return reinterpret_cast<const T*>(own.emplace_back(std::move(copy)).data());
        }
        float* change(const Floats& a) { return large.emplace_back(a).data(); }
        float* change_small(const Floats& a) { return small.emplace_back(a).data(); }
        void before_run() const {
            for (const auto& array : small) array.to_device();
            gpu::synchronize(nullptr);
        }
        void after_run() const {
            for (const auto& array : small) array.to_host();
            gpu::synchronize(nullptr);
        }
        void fetch(Trainer&) const {
            field->each([](const auto& array) { array.to_host(); });
            for (const auto& array : large) array.to_host();
            gpu::synchronize(nullptr);
        }
        void refresh(Trainer&) const {
            field->each([](const auto& array) { array.to_device(); });
            for (const auto& array : large) array.to_device();
            gpu::synchronize(nullptr);
        }
        float* zeros(size_t n) {
            gpu::Buffer<uint8_t>& made = own.emplace_back(n * sizeof(float));
            gpu::zero(made.data(), made.size(), nullptr);
            gpu::synchronize(nullptr);
            return reinterpret_cast<float*>(made.data());
        }
    };

    // Values on the device are not checked: reading them would mean waiting for the device.
    template <class A>
    static bool readable(const A& a) { return !on_device(a); }
    template <class A>
    static void require_on_host(const A& a, const char* what) { require_host(a, what); }
    static nb::arg_v threads_argument() { return "threads"_a = 0; }
    template <class Handle>
    static void bind_more(nb::class_<Handle>&) {}

    static void encode(const FieldHandle& h, const ConstFloats& points, int n, const Floats& out, uint64_t handle) {
        const gpu::Stream stream = stream_of(handle);
        nb::gil_scoped_release release;
        const In<float> p(points, stream);
        Out<float> o(out, stream);
        gpu::encode(h.field, p.data(), n, o.data(), stream);
        finish(stream, o);
    }
    static void encode_backward(const FieldHandle& h, const ConstFloats& points, int n, const ConstFloats& d_out,
                                const Floats& d_table, uint64_t handle) {
        const gpu::Stream stream = stream_of(handle);
        aligned(d_table);
        nb::gil_scoped_release release;
        const In<float> p(points, stream), d(d_out, stream);
        Out<float> o(d_table, stream, true);
        gpu::encode_backward(h.field, p.data(), d.data(), n, o.data(), stream);
        finish(stream, o);
    }
    static void density(const FieldHandle& h, const ConstFloats& points, int n, const Floats& out, uint64_t handle) {
        const gpu::Stream stream = stream_of(handle);
        nb::gil_scoped_release release;
        const In<float> p(points, stream);
        Out<float> o(out, stream);
        gpu::evaluate(h.field, p.data(), nullptr, n, o.data(), nullptr, stream);
        finish(stream, o);
    }
    static void evaluate(const FieldHandle& h, const ConstFloats& points, int n, const ConstFloats& directions,
                         const Floats& density, const Floats& rgb, uint64_t handle) {
        const gpu::Stream stream = stream_of(handle);
        nb::gil_scoped_release release;
        const In<float> p(points, stream), d(directions, stream);
        Out<float> out_density(density, stream), out_rgb(rgb, stream);
        gpu::evaluate(h.field, p.data(), d.data(), n, out_density.data(), out_rgb.data(), stream);
        finish(stream, out_density, out_rgb);
    }
    static void evaluate_backward(const FieldHandle& h, const ConstFloats& points, int n, const ConstFloats& directions,
                                  const ConstFloats& d_density, const ConstFloats& d_rgb, const Floats& d_encoding,
                                  const Floats& d_weights, uint64_t handle) {
        const gpu::Stream stream = stream_of(handle);
        nb::gil_scoped_release release;
        const In<float> p(points, stream), d(directions, stream), dd(d_density, stream), dr(d_rgb, stream);
        Out<float> de(d_encoding, stream), dw(d_weights, stream);
        gpu::evaluate_backward(h.field, p.data(), d.data(), dd.data(), dr.data(), n, de.data(), dw.data(), stream);
        finish(stream, de, dw);
    }
    static void march(FieldHandle& h, const ConstFloats& origins, const ConstFloats& directions,
                      const ConstFloats& jitter, float coarseness, int capacity, const Array<int32_t>& counts,
                      const Floats& t, const Floats& length, const Floats& points, uint64_t handle) {
        const gpu::Stream stream = stream_of(handle);
        nb::gil_scoped_release release;
        const In<float> o(origins, stream), d(directions, stream), j(jitter, stream);
        Out<int32_t> out_counts(counts, stream);
        Out<float> out_t(t, stream, true), out_length(length, stream, true), out_points(points, stream, true);
        DeviceRays rays = {};
        rays.origins = o.writable(), rays.directions = d.writable(), rays.jitter = j.writable();
        rays.n = int(jitter.size());
        gpu::march(h.ready(stream), coarseness, rays, capacity, out_counts.data(), out_t.data(), out_length.data(),
                   out_points.data(), stream);
        finish(stream, out_counts, out_t, out_length, out_points);
    }
    static void trace(FieldHandle& h, const std::vector<float>& crop, const RayArrays<Cuda>& a, const March& march,
                      const PictureArrays<Cuda>& out, int, uint64_t handle) {
        const gpu::Stream stream = stream_of(handle);
        nb::gil_scoped_release release;
        const In<float> o(a.origins, stream), d(a.directions, stream), j(a.jitter, stream), b(a.backgrounds, stream);
        Out<float> rgb(out.rgb, stream), depth(out.depth, stream), accumulation(out.accumulation, stream);
        DeviceRays rays = {};
        rays.origins = o.writable(), rays.directions = d.writable(), rays.jitter = j.writable();
        rays.backgrounds = b.writable(), rays.n = a.n;
        gpu::trace(cropped(h.ready(stream), crop), march, rays, rgb.data(), depth.data(), accumulation.data(), stream);
        finish(stream, rgb, depth, accumulation);
    }
    static void render(FieldHandle& h, const std::vector<float>& crop, const March& march, DevicePicture picture,
                       const PictureArrays<Cuda>& out, const Cancel* cancel, int, uint64_t handle) {
        const gpu::Stream stream = stream_of(handle);
        nb::gil_scoped_release release;
        // The parts of a cancelled picture that were not rendered must keep their old values.
        const bool keep = cancel != nullptr;
        Out<float> rgb(out.rgb, stream, keep), depth(out.depth, stream, keep), accumulation(out.accumulation, stream, keep);
        picture.rgb = rgb.data(), picture.depth = depth.data(), picture.accumulation = accumulation.data();
        picture.cancel = cancel ? cancel->flag.data() : nullptr;
        gpu::render(cropped(h.ready(stream), crop), march, picture, stream);
        finish(stream, rgb, depth, accumulation);
    }
    static void to_half(const ConstFloats& from, const Array<uint16_t>& to, uint64_t handle) {
        const gpu::Stream stream = stream_of(handle);
        const In<float> in(from, stream);
        Out<uint16_t> out(to, stream);
        gpu::to_half(in.data(), out.data(), int64_t(from.size()), stream);
        finish(stream, out);
    }
    static void pixel_rays(const CameraDesc& camera, const ConstFloats& pixels, int n, const Floats& origins,
                           const Floats& directions, uint64_t handle) {
        const gpu::Stream stream = stream_of(handle);
        const In<float> in(pixels, stream);
        Out<float> o(origins, stream), d(directions, stream);
        gpu::pixel_rays(camera, in.data(), n, o.data(), d.data(), stream);
        finish(stream, o, d);
    }
    static void adam(const AdamStep& step, const ConstFloats& gradient, const Floats& parameters, const Floats& moments,
                     uint64_t handle) {
        const gpu::Stream stream = stream_of(handle);
        const In<float> g(gradient, stream);
        Out<float> p(parameters, stream, true), both(moments, stream, true);
        gpu::adam(step, int(gradient.size()), g.data(), p.data(), both.data(), stream);
        finish(stream, p, both);
    }

    // Numbers on the device: those at `at` if they are there, else a copy, which `finish` copies back.
    template <class T>
    struct Lent {
        T* host;
        T* data;
        size_t n;
        gpu::Buffer<T> copy;
        Lent(const T* at, size_t count, bool read) : host(const_cast<T*>(at)), data(host), n(count) {
            if (n == 0 || gpu::is_device_accessible(at)) return;
            copy.resize(n);
            if (read) gpu::copy(copy.data(), at, n * sizeof(T), nullptr);
            data = copy.data();
        }
        void finish() {
            if (data != host) gpu::copy(host, data, n * sizeof(T), nullptr);
        }
    };
    // Gaussians on the device.
    struct LentSplats {
        Lent<float> centres, log_scales, turns, opacities, harmonics;
        SplatArrays arrays;
        explicit LentSplats(const SplatArrays& a)
            : centres(a.centres, 3 * size_t(a.n), true), log_scales(a.log_scales, 3 * size_t(a.n), true),
              turns(a.turns, 4 * size_t(a.n), true), opacities(a.opacities, size_t(a.n), true),
              harmonics(a.harmonics, 3 * size_t(a.n) * a.count, true),
              arrays{centres.data, log_scales.data, turns.data, opacities.data, harmonics.data, a.n, a.count} {}
    };
    // Draws Gaussians; one thread of Python at a time. Arrays on the host are copied in each call.
    struct Splatter {
        GpuSplatter of;
        std::mutex one_at_a_time;
        explicit Splatter(int) {}
        int drawn() const { return of.drawn(); }
        int given() const { return of.given(); }
        const SplatCamera& camera() const { return of.camera(); }
    };
    static void draw_splats(Splatter& s, const SplatCamera& camera, const SplatArrays& a, const float* background,
                            bool, const Floats& rgb, const Floats& alpha, const Floats& depth) {
        nb::gil_scoped_release release;
        std::lock_guard<std::mutex> lock(s.one_at_a_time);
        const LentSplats given(a);
        Out<float> r(rgb, nullptr), o(alpha, nullptr), d(depth, nullptr);
        s.of.draw(camera, given.arrays, background, r.data(), alpha.size() ? o.data() : nullptr, depth.size() ? d.data() : nullptr);
        finish(nullptr, r, o, d);
    }
    static void splats_backward(Splatter& s, const SplatArrays& a, const ConstFloats& d_rgb, const ConstFloats& d_alpha,
                                const SplatGradients& to) {
        nb::gil_scoped_release release;
        std::lock_guard<std::mutex> lock(s.one_at_a_time);
        const LentSplats given(a);
        const In<float> rgb(d_rgb, nullptr), alpha(d_alpha, nullptr);
        const size_t n = size_t(a.n);
        Lent<float> centres(to.centres, 3 * n, false), log_scales(to.log_scales, 3 * n, false), turns(to.turns, 4 * n, false),
            opacities(to.opacities, n, false), harmonics(to.harmonics, 3 * n * a.count, false),
            background(to.background, 3, false), pull(to.pull, n, false), weight(to.weight, n, false);
        Lent<int32_t> pixels(to.pixels, n, false);
        s.of.backward(given.arrays, rgb.data(), d_alpha.size() ? alpha.data() : nullptr,
                      {centres.data, log_scales.data, turns.data, opacities.data, harmonics.data, background.data,
                       pixels.data, pull.data, weight.data});
        finish(nullptr, centres, log_scales, turns, opacities, harmonics, background, pixels, pull, weight);
    }
    static void photo_loss(const PhotoLoss& loss, int, float* found) {
        nb::gil_scoped_release release;
        const size_t n = size_t(loss.rows) * loss.columns;
        const Lent<float> rgb(loss.rgb, 3 * n, true), photo(loss.photo, loss.photo ? 3 * n : 0, true),
            weights(loss.weights, loss.weights ? n : 0, true);
        const Lent<uint8_t> bytes(loss.bytes, loss.bytes ? 3 * n : 0, true);
        Lent<float> d_rgb(loss.d_rgb, 3 * n, false);
        PhotoLoss there = loss;
        there.rgb = rgb.data, there.d_rgb = d_rgb.data;
        there.photo = loss.photo ? photo.data : nullptr, there.bytes = loss.bytes ? bytes.data : nullptr;
        there.weights = loss.weights ? weights.data : nullptr;
        gpu::photo_loss(there, found);
        finish(nullptr, d_rgb);
    }
    static void improve_splats(const SplatAdam* adam, int arrays, int) {
        nb::gil_scoped_release release;
        const Lent<int32_t> pixels(adam[0].pixels, size_t(adam[0].n), true);
        // The scales as they were before the step.
        const Lent<float> sizes(adam[0].log_scales, 3 * size_t(adam[0].n), true);
        for (int i = 0; i < arrays; ++i) {
            const size_t n = size_t(adam[i].n) * adam[i].width;
            const Lent<float> gradients(adam[i].gradients, n, true);
            Lent<float> parameters(adam[i].parameters, n, true), moments(adam[i].moments, 2 * n, true);
            SplatAdam there = adam[i];
            there.parameters = parameters.data, there.moments = moments.data, there.gradients = gradients.data;
            there.pixels = pixels.data, there.log_scales = adam[i].log_scales ? sizes.data : nullptr;
            gpu::improve_splats(&there, 1);
            finish(nullptr, parameters, moments);
        }
    }

    // Refuses a training that can't fit before anything is copied. `photos`: the bytes of all that is copied once.
    static void require_room(const Field& f, size_t photos) {
        const size_t entries = NS_ISA::table_rows(f.grid) * f.grid.features;
        const size_t needed = photos + 3 * sizeof(float) * entries + sizeof(float) * NS_ISA::occupancy_cells(f.space) +
                              Trainer::bytes(f);
        if (needed <= gpu::free_memory()) return;
        throw gpu::Error("training needs at least " + gpu::in_words(needed) + " of the GPU's memory, " + gpu::in_words(photos) +
                         " of it for the photos, and " + gpu::in_words(gpu::free_memory()) + " of its " +
                         gpu::in_words(gpu::current_device().memory) +
                         " are free; use smaller photos (--downscale 2 leaves a quarter), a smaller table (--log2-table), or "
                         "train with --backend cpu");
    }
    static void use_field(FieldHandle& h, TrainingArrays& arrays, TrainState& s) {
        arrays.field = h.arrays;
        s.field = h.field, s.room = h.training_room.data();
    }
    static std::unique_ptr<Trainer> make_trainer(const TrainState& s, const Photos& photos, uint32_t seed, int) {
        return std::make_unique<Trainer>(s, photos, seed);
    }
    static TrainReport gradients(Trainer& trainer, const TrainOptions& o, const GradientArrays<Cuda>& a) {
        aligned(a.d_table);
        nb::gil_scoped_release release;
        gpu::Buffer<int32_t> photos;
        gpu::Buffer<float> d_exposures, d_rays, known;
        const In<float> origins(a.rays.origins, nullptr), directions(a.rays.directions, nullptr),
            jitter(a.rays.jitter, nullptr), targets(a.targets, nullptr), backgrounds(a.rays.backgrounds, nullptr);
        Out<float> d_table(a.d_table, nullptr), d_weights(a.d_weights, nullptr);
        DeviceRays rays = {};
        rays.origins = origins.writable(), rays.directions = directions.writable(), rays.jitter = jitter.writable();
        rays.targets = targets.writable(), rays.backgrounds = backgrounds.writable(), rays.n = a.rays.n;
        if (a.photos) {
            copy_to_device<int32_t>(photos, a.photos->data(), a.photos->size(), nullptr);
            d_exposures.resize(a.d_exposures->size());
            rays.photos = photos.data();
        }
        if (a.d_rays) d_rays.resize(a.d_rays->size()), rays.d_rays = d_rays.data();
        if (a.known) copy_to_device(known, a.known->data(), a.known->size(), nullptr), rays.known = known.data();
        gpu::synchronize(nullptr);
        const TrainReport report =
            trainer.gradients(o, rays, d_table.data(), d_weights.data(), a.photos ? d_exposures.data() : nullptr);
        if (a.photos) gpu::copy(a.d_exposures->data(), d_exposures.data(), sizeof(float) * d_exposures.size(), nullptr);
        if (a.d_rays) gpu::copy(a.d_rays->data(), d_rays.data(), sizeof(float) * d_rays.size(), nullptr);
        finish(nullptr, d_table, d_weights);
        return report;
    }
};

std::string instruction_set() {
    const gpu::Device& d = gpu::current_device();
    return "sm_" + std::to_string(d.major * 10 + d.minor);
}

std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

void bind_devices(nb::module_& m) {
    m.def("devices", [] {
        nb::list found;
        for (const gpu::Device& d : gpu::devices()) {
            nb::dict one;
            one["name"] = d.name, one["compute_capability"] = std::to_string(d.major) + "." + std::to_string(d.minor);
            one["memory_gib"] = double(d.memory) / double(size_t(1) << 30);
            one["multiprocessors"] = d.multiprocessors, one["memory_pools"] = d.pools;
            one["driver"] = version(d.driver), one["runtime"] = version(d.runtime);
            found.append(one);
        }
        return found;
    }, "The NVIDIA GPUs that can be used. Raises DeviceError if the driver reports an error.");
    m.def("instruction_sets", [] { return std::vector<std::string>{instruction_set()}; });
    m.def("instruction_set", [] { return instruction_set(); });
    m.def("use_instruction_set", [](const std::string&) {}, "name"_a, "Does nothing: there is only the GPU's own.");
    m.def("device_name", [] { return gpu::current_device().name; });
}

}  // namespace

NB_MODULE(NS_MODULE, m) {
    m.doc() = "nerfscene's kernels on an NVIDIA GPU.";
    nb::exception<gpu::Error>(m, "DeviceError", PyExc_RuntimeError);
    bind_devices(m);
    FieldBinding<Cuda, uint64_t>::bind(m);
    TrainerBinding<Cuda>::bind(m);
    SplatBinding<Cuda>::bind(m);
}
