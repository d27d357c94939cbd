// The Field class and the free functions of both Python modules: signatures and argument checks.
//
// Each module supplies a `Device` (Cpu in bind.cpp, Cuda in bind_cuda.cpp): its array types, and one function per
// operation, which is called with checked arguments. `Stream` is empty for the CPU. For CUDA it is one uint64_t, a
// cudaStream_t as an integer, and every function takes it as its last argument.
#pragma once
#include "bind_common.h"

namespace {

// Rays passed from Python: arrays (n, 3), and jitter (n).
template <class Device>
struct RayArrays {
    typename Device::RayFloats origins, directions, jitter, backgrounds;
    int n;
};
// The outputs for n rays: (n, 3), (n), (n).
template <class Device>
struct PictureArrays {
    typename Device::template Array<float> rgb, depth, accumulation;
};

template <class Device, class... Arrays>
void require_finite(const char* what, const Arrays&... arrays) {
    auto finite = [](const auto& array) {
        if (!Device::readable(array)) return true;
        bool all = true;
        for (size_t i = 0; i < array.size(); ++i) all &= array.data()[i] - array.data()[i] == 0.0f;
        return all;
    };
    require((finite(arrays) && ...), what);
}

template <class Device, class... Stream>
struct FieldBinding {
    template <class T>
    using Array = typename Device::template Array<T>;
    using Floats = Array<float>;
    using ConstFloats = Array<const float>;
    using RayFloats = typename Device::RayFloats;
    using Handle = typename Device::FieldHandle;
    using Cancel = typename Device::Cancel;

    static void bind(nb::module_& m) {
        nb::class_<Cancel>(m, "Cancel", "Stops a rendering in another thread: pass it to `render`, then call `set`.")
            .def(nb::init<>())
            .def("set", [](Cancel& c) { c.set(1); })
            .def("clear", [](Cancel& c) { c.set(0); });
        nb::class_<Handle> field(m, "Field");
        bind_construction(field);
        bind_encoding(field);
        bind_evaluation(field);
        bind_marching(field);
        bind_tracing(field);
        bind_rendering(field);
        bind_functions(m);
    }

  private:
    // Checks that points are (n, 3) and in the unit cube. Returns n.
    static int points_in(const ConstFloats& points) {
        require(points.ndim() == 2 && points.shape(1) == 3, "points must have shape (n, 3)");
        if (Device::readable(points))
            for (size_t i = 0; i < points.size(); ++i)
                require(points.data()[i] >= 0 && points.data()[i] <= 1, "points must lie in the unit cube");
        return int(points.shape(0));
    }

    static void bind_construction(nb::class_<Handle>& field) {
        field.def("__init__", [](Handle* self, int features, const std::vector<int>& resolution,
                                 const std::vector<uint32_t>& size, const std::vector<uint32_t>& hashed, int hidden,
                                 int color_hidden, int color_layers, bool unbounded, float near_plane, float far_plane,
                                 float step, float cone, int occupancy_resolution, Array<uint16_t> table, Floats weights,
                                 Floats weights_t, Array<uint32_t> occupancy, const Handle* of,
                                 const std::vector<float>& view, float share) {
            const Field f = field_desc(features, resolution, size, hashed, hidden, color_hidden, color_layers, unbounded,
                                       near_plane, far_plane, step, cone, occupancy_resolution, view, share);
            require_sizes(f, table.size(), weights.size(), weights_t.size(), occupancy.size());
            new (self) Handle(f, table, weights, weights_t, occupancy, of);
        }, "features"_a, "resolution"_a, "size"_a, "hashed"_a, "hidden"_a, "color_hidden"_a, "color_layers"_a,
           "unbounded"_a, "near"_a, "far"_a, "step"_a, "cone"_a, "occupancy_resolution"_a, "table"_a.noconvert(),
           "weights"_a.noconvert(), "weights_t"_a.noconvert(), "occupancy"_a.noconvert(), "of"_a = nullptr,
           "view"_a = std::vector<float>(), "share"_a = 1.0f,
           "`of`: another Field with the same arrays; on a GPU both then use its copies of them. `view`, `share`: a space "
           "laid out along the view (march.h), view_from_scene (3×4, row-major); empty: one laid out around the origin.");
    }

    static void bind_encoding(nb::class_<Handle>& field) {
        field.def("encode", [](const Handle& h, ConstFloats points, Floats out, Stream... stream) {
            const int n = points_in(points), e = h.field.net.encoding;
            require(out.ndim() == 2 && int(out.shape(0)) == n && int(out.shape(1)) == e, "out must be (n, encoding)");
            Device::encode(h, points, n, out, stream...);
        }, "points"_a.noconvert(), "out"_a.noconvert(), ("stream"_a = Stream(0))...,
           "Encodings (n, encoding) of unit-cube points (n, 3).");
        field.def("encode_backward", [](const Handle& h, ConstFloats points, ConstFloats d_out, Floats d_table,
                                        Stream... stream) {
            const int n = points_in(points), e = h.field.net.encoding;
            require(d_out.ndim() == 2 && int(d_out.shape(0)) == n && int(d_out.shape(1)) == e, "d_out must be (n, encoding)");
            require(d_table.size() == NS_ISA::table_rows(h.field.grid) * h.field.grid.features,
                    "d_table must have the size of the table");
            Device::encode_backward(h, points, n, d_out, d_table, stream...);
        }, "points"_a.noconvert(), "d_out"_a.noconvert(), "d_table"_a.noconvert(), ("stream"_a = Stream(0))...,
           "Adds to d_table.");
    }

    static void bind_evaluation(nb::class_<Handle>& field) {
        field.def("density", [](const Handle& h, ConstFloats points, Floats out, Stream... stream) {
            const int n = points_in(points);
            require(int(out.size()) == n, "out must be (n,)");
            Device::density(h, points, n, out, stream...);
        }, "points"_a.noconvert(), "out"_a.noconvert(), ("stream"_a = Stream(0))...);
        field.def("evaluate", [](const Handle& h, ConstFloats points, ConstFloats directions, Floats density, Floats rgb,
                                 Stream... stream) {
            const int n = points_in(points);
            require(int(directions.size()) == 3 * n && int(density.size()) == n && int(rgb.size()) == 3 * n,
                    "directions and rgb must be (n, 3), density (n,)");
            Device::evaluate(h, points, n, directions, density, rgb, stream...);
        }, "points"_a.noconvert(), "directions"_a.noconvert(), "density"_a.noconvert(), "rgb"_a.noconvert(),
           ("stream"_a = Stream(0))...);
        field.def("evaluate_backward", [](const Handle& h, ConstFloats points, ConstFloats directions,
                                          ConstFloats d_density, ConstFloats d_rgb, Floats d_encoding, Floats d_weights,
                                          Stream... stream) {
            const int n = points_in(points);
            const Network& net = h.field.net;
            require(int(directions.size()) == 3 * n && int(d_density.size()) == n && int(d_rgb.size()) == 3 * n,
                    "directions and d_rgb must be (n, 3), d_density (n,)");
            require(int(d_encoding.size()) == n * net.encoding && int(d_weights.size()) == net.size,
                    "d_encoding must be (n, encoding), and d_weights must have the size of the weights");
            Device::evaluate_backward(h, points, n, directions, d_density, d_rgb, d_encoding, d_weights, stream...);
        }, "points"_a.noconvert(), "directions"_a.noconvert(), "d_density"_a.noconvert(), "d_rgb"_a.noconvert(),
           "d_encoding"_a.noconvert(), "d_weights"_a.noconvert(), ("stream"_a = Stream(0))...,
           "Overwrites d_encoding and d_weights.");
    }

    static void bind_marching(nb::class_<Handle>& field) {
        field.def("march", [](Handle& h, ConstFloats origins, ConstFloats directions, ConstFloats jitter,
                              float coarseness, Array<int32_t> counts, Floats t, Floats length, Floats points,
                              Stream... stream) {
            const int n = int(jitter.size()), capacity = n ? int(t.size()) / n : 0;
            require(int(origins.size()) == 3 * n && int(directions.size()) == 3 * n && int(counts.size()) == n,
                    "origins and directions must be (n, 3), jitter and counts (n,)");
            require(length.size() == t.size() && points.size() == 3 * t.size(),
                    "t and length must be (n, capacity), points (n, capacity, 3)");
            require_finite<Device>("rays must be finite", origins, directions, jitter);
            Device::march(h, origins, directions, jitter, coarseness, capacity, counts, t, length, points, stream...);
        }, "origins"_a.noconvert(), "directions"_a.noconvert(), "jitter"_a.noconvert(), "coarseness"_a,
           "counts"_a.noconvert(), "t"_a.noconvert(), "length"_a.noconvert(), "points"_a.noconvert(),
           ("stream"_a = Stream(0))..., "The samples of each ray in occupied cells, at most `capacity` per ray.");
    }

    static void bind_tracing(nb::class_<Handle>& field) {
        field.def("trace", [](Handle& h, RayFloats origins, RayFloats directions, RayFloats jitter, RayFloats backgrounds,
                              float min_weight, float stop, float coarseness, Floats rgb, Floats depth,
                              Floats accumulation, int threads, const std::vector<float>& crop, Stream... stream) {
            const int n = int(jitter.size());
            require(int(origins.size()) == 3 * n && int(directions.size()) == 3 * n && int(backgrounds.size()) == 3 * n &&
                        int(rgb.size()) == 3 * n && int(depth.size()) == n && int(accumulation.size()) == n,
                    "rays and outputs must have as many entries as jitter");
            require_finite<Device>("rays must be finite", origins, directions, jitter);
            require_finite<Device>("backgrounds must be finite", backgrounds);
            require_crop(crop);
            Device::trace(h, crop, RayArrays<Device>{origins, directions, jitter, backgrounds, n},
                          {min_weight, stop, coarseness}, {rgb, depth, accumulation}, threads, stream...);
        }, "origins"_a.noconvert(), "directions"_a.noconvert(), "jitter"_a.noconvert(), "backgrounds"_a.noconvert(),
           "min_weight"_a, "stop_transmittance"_a, "coarseness"_a, "rgb"_a.noconvert(), "depth"_a.noconvert(),
           "accumulation"_a.noconvert(), "threads"_a = 1, "crop"_a = std::vector<float>(), ("stream"_a = Stream(0))...,
           "`threads`: how many CPU threads to use; a GPU ignores it.");
    }

    static void bind_rendering(nb::class_<Handle>& field) {
        field.def("render", [](Handle& h, const std::vector<float>& intrinsics, int lens, int width, int height,
                               const std::vector<float>& pose, const std::vector<float>& background, float min_weight,
                               float stop, int threads, std::tuple<int, int, int, int> rect, Floats rgb, Floats depth,
                               Floats accumulation, const Cancel* cancel, const std::vector<float>& crop,
                               float shared_steps, Stream... stream) {
            typename Device::Picture p = {};
            p.camera = camera_desc(intrinsics, lens, width, height, pose, 0);
            copy_background(background, p.background);
            std::tie(p.row0, p.row1, p.col0, p.col1) = rect;
            const int n = (p.row1 - p.row0) * (p.col1 - p.col0);
            require(0 <= p.row0 && p.row0 <= p.row1 && p.row1 <= height && 0 <= p.col0 && p.col0 <= p.col1 && p.col1 <= width,
                    "the rectangle must lie in the picture");
            require(int(rgb.size()) == 3 * n && int(depth.size()) == n && int(accumulation.size()) == n,
                    "outputs must have the rectangle's size");
            require_crop(crop);
            Device::render(h, crop, {min_weight, stop, 1.0f, shared_steps}, p, {rgb, depth, accumulation}, cancel, threads, stream...);
        }, "intrinsics"_a, "lens"_a, "width"_a, "height"_a, "pose"_a, "background"_a, "min_weight"_a,
           "stop_transmittance"_a, "threads"_a, "rect"_a, "rgb"_a.noconvert(), "depth"_a.noconvert(),
           "accumulation"_a.noconvert(), "cancel"_a = nullptr, "crop"_a = std::vector<float>(),
           "shared_steps"_a = 0.0f, ("stream"_a = Stream(0))...,
           "`threads`: how many CPU threads to use; a GPU ignores it. `shared_steps`: samples of a ray within so many "
           "steps may share one colour, that of their mean by weight; a GPU ignores this too.");
    }

    static void bind_functions(nb::module_& m) {
        m.def("to_half", [](ConstFloats from, Array<uint16_t> to, Stream... stream) {
            require(from.size() == to.size(), "source and out must have the same size");
            Device::to_half(from, to, stream...);
        }, "source"_a.noconvert(), "out"_a.noconvert(), ("stream"_a = Stream(0))...,
           "float32 → binary16, round to nearest even, saturating.");
        m.def("pixel_rays", [](const std::vector<float>& intrinsics, int lens, int width, int height,
                               const std::vector<float>& pose, ConstFloats pixels, Floats origins, Floats directions,
                               Stream... stream) {
            require(pixels.ndim() == 2 && pixels.shape(1) == 2, "pixels must be (n, 2)");
            const int n = int(pixels.shape(0));
            require(int(origins.size()) == 3 * n && int(directions.size()) == 3 * n, "outputs must be (n, 3)");
            Device::pixel_rays(camera_desc(intrinsics, lens, width, height, pose, 0), pixels, n, origins, directions,
                               stream...);
        }, "intrinsics"_a, "lens"_a, "width"_a, "height"_a, "pose"_a, "pixels"_a.noconvert(), "origins"_a.noconvert(),
           "directions"_a.noconvert(), ("stream"_a = Stream(0))...);
        m.def("adam", [](ConstFloats gradient, Floats parameters, Floats moments, float rate, float beta1, float beta2,
                         float epsilon, float pull, Stream... stream) {
            require(gradient.size() % 16 == 0 && parameters.size() == gradient.size() &&
                        moments.size() == 2 * gradient.size(),
                    "gradient and parameters must have the same size, a multiple of 16, and moments twice that");
            Device::adam({rate, beta1, beta2, epsilon, pull}, gradient, parameters, moments, stream...);
        }, "gradient"_a.noconvert(), "parameters"_a.noconvert(), "moments"_a.noconvert(), "rate"_a, "beta1"_a, "beta2"_a,
           "epsilon"_a, "pull"_a = 0.0f, ("stream"_a = Stream(0))...);
    }
};

}  // namespace
