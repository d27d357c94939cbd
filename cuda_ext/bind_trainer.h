// The Trainer class and its options in both Python modules: signatures and argument checks.
// Each module supplies a `Device`, as in bind_field.h.
#pragma once
#include <memory>
#include <optional>

#include "bind_field.h"

namespace nerfscene {
class Trainer;  // defined in cpu/trainer.h or cuda/driver.h
}

namespace {

// The arguments of `gradients` except the options. `photos` and `d_exposures` are both given or both missing.
template <class Device>
struct GradientArrays {
    template <class T>
    using Array = typename Device::template Array<T>;
    RayArrays<Device> rays;
    typename Device::RayFloats targets;
    Array<float> d_table, d_weights;
    std::optional<Array<int32_t>> photos;
    std::optional<Array<float>> d_exposures, d_rays;
    std::optional<typename Device::RayFloats> known;
};

template <class A>
std::optional<A> given(const nb::object& o) {
    return o.is_none() ? std::nullopt : std::optional<A>(nb::cast<A>(o, false));
}

template <class Device>
struct TrainerBinding {
    template <class T>
    using Array = typename Device::template Array<T>;
    using Floats = Array<float>;
    using ConstFloats = Array<const float>;
    using RayFloats = typename Device::RayFloats;
    using FieldHandle = typename Device::FieldHandle;

    // A trainer, and everything that it points to.
    struct Handle {
        std::vector<CameraDesc> cameras;
        std::vector<uint64_t> first_pixel, first_cell;
        int channels = 0;
        typename Device::TrainingArrays arrays;
        std::unique_ptr<Trainer> trainer;
    };

    static void bind(nb::module_& m) {
        bind_options(m);
        nb::class_<Handle> trainer(m, "Trainer");
        bind_construction(trainer);
        bind_gradients(trainer);
        bind_running(trainer);
        Device::bind_more(trainer);
    }

  private:
    static void bind_options(nb::module_& m) {
        using O = TrainOptions;
        nb::class_<O>(m, "TrainOptions")
            .def(nb::init<>())
            .def_rw("table_rate", &O::table_rate).def_rw("table_pull", &O::table_pull)
            .def_rw("pull_growth", &O::pull_growth)
            .def_rw("weight_rate", &O::weight_rate).def_rw("beta1", &O::beta1).def_rw("beta2", &O::beta2)
            .def_rw("epsilon", &O::epsilon).def_rw("min_weight", &O::min_weight)
            .def_rw("stop_transmittance", &O::stop_transmittance).def_rw("coarseness", &O::coarseness)
            .def_rw("huber_delta", &O::huber_delta).def_rw("distortion", &O::distortion)
            .def_rw("full_gradient_distance", &O::full_gradient_distance).def_rw("target_samples", &O::target_samples)
            .def_rw("occupancy_decay", &O::occupancy_decay).def_rw("occupancy_threshold", &O::occupancy_threshold)
            .def_rw("occupancy_every", &O::occupancy_every).def_rw("occupancy_cells", &O::occupancy_cells)
            .def_rw("exposure_rate", &O::exposure_rate).def_rw("exposure_pull", &O::exposure_pull)
            .def_rw("sky_pull", &O::sky_pull).def_rw("sky_distance", &O::sky_distance)
            .def_rw("depth_pull", &O::depth_pull).def_rw("depth_slack", &O::depth_slack)
            .def_rw("depth_most", &O::depth_most).def_rw("camera_every", &O::camera_every)
            .def_rw("errors_every", &O::errors_every)
            .def_rw("thinning", &O::thinning)
            .def_rw("bfloat16", &O::bfloat16);
    }

    // Returns the photos in the form that a trainer takes. `h` keeps the cameras and arrays that they point to.
    static Photos read_photos(Handle& h, const std::vector<nb::tuple>& cameras, const Array<const uint8_t>& pixels,
                              bool random_background, const std::vector<float>& background, const nb::object& chosen,
                              const nb::object& depths) {
        require(h.channels == 3 || h.channels == 4, "photos must have 3 or 4 channels");
        const uint64_t count = read_cameras(cameras, h.channels, h.cameras, h.first_pixel);
        require(!cameras.empty() && pixels.size() == count * h.channels,
                "pixels must have the size of all photos together");
        Photos p = {};
        p.n = int(h.cameras.size()), p.channels = h.channels, p.random_background = random_background;
        p.cameras = h.cameras.data(), p.first_pixel = h.first_pixel.data();
        p.pixels = h.arrays.read(pixels, "photos' pixels must be an array on the host: they are copied to the device");
        copy_background(background, p.background);
        if (const auto list = given<Array<const uint32_t>>(chosen)) {
            p.chosen = h.arrays.read(*list, "chosen pixels must be an array on the host");
            p.n_chosen = list->size();
            require_chosen(list->data(), list->size(), count);
        }
        if (const auto known = given<ConstFloats>(depths)) {
            require_depths(known->size(), h.cameras);
            p.depths = h.arrays.read(*known, "known depths must be an array on the host: they are copied to the device");
        }
        return p;
    }

    static void read_exposures(Handle& h, const nb::object& exposures, const nb::object& moments, TrainState& s) {
        const size_t photos = h.cameras.size();
        if (exposures.is_none()) {
            s.exposures = h.arrays.zeros(3 * photos), s.exposure_moments = h.arrays.zeros(6 * photos);
            return;
        }
        const auto e = nb::cast<Floats>(exposures, false), m = nb::cast<Floats>(moments, false);
        require(e.size() == 3 * photos && m.size() == 6 * photos,
                "exposures must be (photos, 3), and their moments (photos, 2, 3)");
        s.exposures = h.arrays.change_small(e), s.exposure_moments = h.arrays.change_small(m);
    }

    static void bind_construction(nb::class_<Handle>& trainer) {
        trainer.def("__init__", [](Handle* self, FieldHandle& field, Floats table, Floats table_moments,
                                   Floats weight_moments, Floats occupancy_values, nb::object allowed,
                                   const std::vector<nb::tuple>& cameras, Array<const uint8_t> pixels, int channels,
                                   bool random_background, const std::vector<float>& background, uint32_t seed,
                                   int threads, nb::object exposures, nb::object exposure_moments, nb::object chosen,
                                   nb::object camera_gradients, nb::object depths, nb::object photo_cells,
                                   int cell_side) {
            const Field& f = field.field;
            const size_t entries = NS_ISA::table_rows(f.grid) * f.grid.features, cells = NS_ISA::occupancy_cells(f.space);
            require(table.size() == entries && table_moments.size() == 2 * entries,
                    "table must have the size of the field's table, and table_moments twice that");
            require(int(weight_moments.size()) == 2 * f.net.size,
                    "weight_moments must have twice as many numbers as the weights");
            require(occupancy_values.size() == cells, "occupancy_values must have one number per cell");
            Handle h;
            h.channels = channels;
            TrainState s = {};
            const auto list = given<Array<const uint32_t>>(chosen);
            const auto known = given<ConstFloats>(depths);
            Device::require_room(f, pixels.size() + sizeof(uint32_t) * (list ? list->size() : 0) +
                                        sizeof(float) * (known ? known->size() : 0));
            Device::use_field(field, h.arrays, s);
            s.table = h.arrays.change(table), s.table_moments = h.arrays.change(table_moments);
            s.weight_moments = h.arrays.change(weight_moments), s.occupancy_values = h.arrays.change(occupancy_values);
            s.half_table = const_cast<uint16_t*>(f.table), s.occupancy = const_cast<uint32_t*>(f.occupancy);
            s.weights = const_cast<float*>(f.weights), s.weights_t = const_cast<float*>(f.weights_t);
            if (const auto bits = given<Array<const uint32_t>>(allowed)) {
                require(bits->size() * 32 == cells, "allowed must have one bit per cell");
                s.allowed = h.arrays.read(*bits, "allowed cells must be an array on the host");
            }
            Photos photos = read_photos(h, cameras, pixels, random_background, background, chosen, depths);
            if (const auto cells = given<Floats>(photo_cells)) {
                require(cell_side > 0, "a cell's side must be one pixel or more");
                require(cells->size() == kCellNumbers * count_cells(h.cameras, cell_side, h.first_cell),
                        "photo_cells must be (cells of all photos, 5)");
                photos.first_cell = h.first_cell.data(), photos.cell_side = cell_side;
                s.photo_cells = h.arrays.change_small(*cells);
            }
            read_exposures(h, exposures, exposure_moments, s);
            if (const auto g = given<Floats>(camera_gradients)) {
                require(g->size() == kCameraGradient * cameras.size(), "camera_gradients must be (photos, 15)");
                s.camera_gradients = h.arrays.change_small(*g);
            }
            h.arrays.keep.push_back(nb::find(field));
            h.trainer = Device::make_trainer(s, photos, seed, threads);
            new (self) Handle(std::move(h));
        }, "field"_a, "table"_a.noconvert(), "table_moments"_a.noconvert(), "weight_moments"_a.noconvert(),
           "occupancy_values"_a.noconvert(), "allowed"_a.none(), "cameras"_a, "pixels"_a.noconvert(), "channels"_a,
           "random_background"_a, "background"_a, "seed"_a, Device::threads_argument(), "exposures"_a = nb::none(),
           "exposure_moments"_a = nb::none(), "chosen"_a = nb::none(), "camera_gradients"_a = nb::none(),
           "depths"_a = nb::none(), "photo_cells"_a = nb::none(), "cell_side"_a = 0);
    }

    static void bind_gradients(nb::class_<Handle>& trainer) {
        trainer.def("gradients", [](Handle& h, const TrainOptions& o, RayFloats origins, RayFloats directions,
                                    RayFloats jitter, RayFloats targets, RayFloats backgrounds, Floats d_table,
                                    Floats d_weights, nb::object photos, nb::object d_exposures, nb::object d_rays,
                                    nb::object known) {
            constexpr const char* numbers = "all arrays of rays must have the same number of rays";
            const int n = int(jitter.size());
            require(int(origins.size()) == 3 * n && int(directions.size()) == 3 * n && int(targets.size()) == 3 * n &&
                        int(backgrounds.size()) == 3 * n, numbers);
            require(h.trainer->has_sizes(d_table.size(), d_weights.size()),
                    "d_table and d_weights must have the sizes of the table and the weights");
            require_finite<Device>("rays must be finite", origins, directions, jitter);
            require_finite<Device>("colours must be finite", targets, backgrounds);
            GradientArrays<Device> a = {{origins, directions, jitter, backgrounds, n}, targets, d_table, d_weights,
                                        {}, {}, given<Floats>(d_rays), given<RayFloats>(known)};
            if (a.known) {
                require(int(a.known->size()) == n, numbers);
                Device::require_on_host(*a.known, "rays' known depths must be an array on the host");
            }
            if (a.d_rays) require(int(a.d_rays->size()) == 6 * n, "d_rays must be (n, 6)");
            if (!photos.is_none()) {
                a.photos = given<Array<int32_t>>(photos), a.d_exposures = nb::cast<Floats>(d_exposures, false);
                Device::require_on_host(*a.photos, "rays' photos must be an array on the host");
                require(int(a.photos->size()) == n, numbers);
                require_photos(a.photos->data(), n, h.trainer->n_photos());
                require(int(a.d_exposures->size()) == 3 * h.trainer->n_photos(),
                        "gradients of exposures must be (photos, 3)");
            }
            h.arrays.before_run();
            return report_dict(Device::gradients(*h.trainer, o, a));
        }, "options"_a, "origins"_a.noconvert(), "directions"_a.noconvert(), "jitter"_a.noconvert(),
           "targets"_a.noconvert(), "backgrounds"_a.noconvert(), "d_table"_a.noconvert(), "d_weights"_a.noconvert(),
           "photos"_a = nb::none(), "d_exposures"_a = nb::none(), "d_rays"_a = nb::none(), "known"_a = nb::none());
    }

    static void bind_running(nb::class_<Handle>& trainer) {
        trainer
            .def("set_cameras", [](Handle& h, const std::vector<nb::tuple>& cameras) {
                replace_cameras(cameras, h.channels, h.cameras);
                nb::gil_scoped_release release;
                h.trainer->use_cameras(h.cameras.data());
            }, "cameras"_a, "Replaces the photos' cameras with refined ones.")
            .def("fetch", [](Handle& h) {
                nb::gil_scoped_release release;
                h.arrays.fetch(*h.trainer);
            }, "Brings the given arrays up to date, those of the field too. On a GPU, `run` changes copies of them, except "
               "exposures and cameras' gradients, which are up to date after each run. On the CPU, it changes copies of the "
               "table and its moments.")
            .def("refresh", [](Handle& h) {
                nb::gil_scoped_release release;
                h.arrays.refresh(*h.trainer);
            }, "To be called after changing the given arrays, other than exposures and cameras' gradients, from outside.")
            .def("run", [](Handle& h, const TrainOptions& o, int64_t steps, double seconds) {
                TrainReport r;
                {
                    nb::gil_scoped_release release;
                    h.arrays.before_run();
                    r = h.trainer->run(o, steps, seconds);
                    h.arrays.after_run();
                }
                return report_dict(r);
            }, "options"_a, "steps"_a, "seconds"_a)
            .def_prop_rw("step", [](Handle& h) { return h.trainer->step; },
                         [](Handle& h, int64_t v) { h.trainer->step = v; })
            .def_prop_rw("rays_drawn", [](Handle& h) { return h.trainer->rays_drawn; },
                         [](Handle& h, uint64_t v) { h.trainer->rays_drawn = v; })
            .def_prop_rw("survivors_per_ray", [](Handle& h) { return h.trainer->survivors_per_ray; },
                         [](Handle& h, double v) { h.trainer->survivors_per_ray = v; })
            .def_prop_rw("occupancy_mean", [](Handle& h) { return h.trainer->occupancy_mean; },
                         [](Handle& h, float v) { h.trainer->occupancy_mean = v; });
    }
};

}  // namespace
