// Python ↔ the CUDA kernels: check, unwrap, call. The same names and signatures as the CPU's module (bind.cpp), so
// that Python code and tests need not know which they hold. Arrays are numpy's or any DLPack array's, on the host
// or on the device: the device's are used in place, the host's are copied there and back. `stream` is a
// cudaStream_t as an integer. No torch here, so one build serves every torch.
// Types of one name live in this module and in others: nanobind must not take them for the same.
#ifndef NB_DOMAIN
#define NB_DOMAIN nerfscene_cuda
#endif
#include <optional>
#include <cstring>
#include <memory>

#include "bind_common.h"
#include "cuda/driver.h"

#ifndef NS_MODULE
#define NS_MODULE _cuda
#endif

namespace {

template <class T>
using Array = nb::ndarray<T, nb::c_contig>;
using Floats = Array<float>;
using ConstFloats = Array<const float>;

gpu::Stream stream_of(uint64_t handle) { return reinterpret_cast<gpu::Stream>(handle); }

template <class A>
bool on_device(const A& a) {
    const int type = a.device_type();
    return type == nb::device::cuda::value || type == nb::device::cuda_managed::value ||
           gpu::is_device_accessible(a.data());
}

// For what is looked at here: not memory of the device alone, which numpy's never is.
template <class A>
const A& on_host(const A& a, const char* what) {
    require(a.device_type() != nb::device::cuda::value, what);
    return a;
}
// Kernels read and write four numbers at once. Copies that are made here are aligned.
template <class A>
const A& aligned(const A& a) {
    require(!on_device(a) || reinterpret_cast<uintptr_t>(a.data()) % 16 == 0,
            "arrays that the device uses in place must begin at a multiple of 16 bytes: hand in a copy of this slice");
    return a;
}

template <class A>
void require_finite(const A& array, const char* what) {
    if (on_device(array)) return;  // looking would mean waiting for the device
    bool finite = true;
    for (size_t i = 0; i < array.size(); ++i) finite &= array.data()[i] - array.data()[i] == 0.0f;
    require(finite, what);
}

// An input on the device: the array itself, or a copy that lives as long as this.
template <class T>
class In {
  public:
    In(const Array<const T>& a, gpu::Stream stream) : data_(a.data()) {
        if (on_device(a) || a.size() == 0) return;
        copy_.resize(a.size());
        gpu::copy(copy_.data(), a.data(), a.size() * sizeof(T), stream);
        data_ = copy_.data();
    }
    const T* data() const { return data_; }

  private:
    const T* data_;
    gpu::Buffer<T> copy_;
};
// An output: the array itself, or device memory that `finish` copies back (and waits for).
template <class T>
class Out {
  public:
    Out(const Array<T>& a, gpu::Stream stream, bool keep = false) : host_(a.data()), data_(a.data()), n_(a.size()), stream_(stream) {
        if (on_device(a) || n_ == 0) return;
        copy_.resize(n_);
        if (keep) gpu::copy(copy_.data(), host_, n_ * sizeof(T), stream);
        data_ = copy_.data();
    }
    T* data() const { return data_; }
    void finish() {
        if (data_ == host_) return;
        gpu::copy(host_, data_, n_ * sizeof(T), stream_);
        gpu::synchronize(stream_);
    }

  private:
    T *host_, *data_;
    size_t n_;
    gpu::Stream stream_;
    gpu::Buffer<T> copy_;
};

// Temporaries must outlive the kernels that read them.
template <class... O>
void finish(gpu::Stream stream, O&... outputs) {
    (outputs.finish(), ...);
    gpu::synchronize(stream);
}

int points_in(const ConstFloats& p) {
    require(p.ndim() == 2 && p.shape(1) == 3, "points must have shape (n, 3)");
    if (!on_device(p))
        for (size_t i = 0; i < p.size(); ++i) require(p.data()[i] >= 0 && p.data()[i] <= 1, "points must lie in the unit cube");
    return int(p.shape(0));
}

// A field on the device. Arrays that the device can reach (`shared`, torch's CUDA tensors) are borrowed, so that
// changes are seen on both sides; of others this keeps copies.
struct FieldHandle {
    Field field{};
    bool borrowed = false;
    gpu::Buffer<uint16_t> table;
    gpu::Buffer<float> weights, weights_t;
    gpu::Buffer<uint32_t> occupancy;
    gpu::Buffer<uint8_t> room = gpu::Buffer<uint8_t>(kCoarseCells), aside = gpu::Buffer<uint8_t>(kCoarseCells);
    std::vector<nb::object> keep;

    // With its room renewed: the occupancy bits may have changed.
    const Field& ready(gpu::Stream stream) {
        field.room = room.data();
        gpu::update_room(field, aside.data(), room.data(), stream);
        return field;
    }
    template <class T>
    const T* bring(const Array<T>& a, gpu::Buffer<T>& own) {
        if (on_device(a)) {
            keep.push_back(nb::cast(aligned(a)));
            return a.data();
        }
        borrowed = false;
        own.resize(a.size());
        gpu::copy(own.data(), a.data(), a.size() * sizeof(T), nullptr);
        gpu::synchronize(nullptr);
        return own.data();
    }
};

// Lets one thread stop a picture that another is rendering.
struct Cancel {
    gpu::Buffer<int> flag = gpu::Buffer<int>(1);
    Cancel() { gpu::set_flag(flag.data(), 0); }
};

struct TrainerHandle {
    std::vector<CameraDesc> cameras;
    std::vector<uint64_t> first_pixel;
    gpu::Buffer<uint8_t> pixels;
    gpu::Buffer<uint32_t> allowed, chosen;
    gpu::Buffer<float> depths;
    gpu::Buffer<float> exposures, exposure_moments;  // where Python gave none
    std::vector<nb::object> keep;
    std::unique_ptr<Trainer> trainer;
    size_t weights = 0;
    int channels = 0;
};

template <class T>
T* reachable(const Array<T>& a, const char* what) {
    require(on_device(a), what);
    return const_cast<T*>(aligned(a).data());
}

}  // namespace

NB_MODULE(NS_MODULE, m) {
    m.doc() = "nerfscene's kernels on an NVIDIA GPU.";

    nb::exception<gpu::Error>(m, "DeviceError", PyExc_RuntimeError);

    m.def("devices", [] {
        nb::list found;
        for (const gpu::Device& d : gpu::devices()) {
            nb::dict one;
            one["name"] = d.name, one["compute_capability"] = std::to_string(d.major) + "." + std::to_string(d.minor);
            one["memory_gib"] = double(d.memory) / double(size_t(1) << 30);
            one["multiprocessors"] = d.multiprocessors, one["shares_memory"] = d.shares_memory;
            one["driver"] = std::to_string(d.driver / 1000) + "." + std::to_string(d.driver % 1000 / 10);
            one["runtime"] = std::to_string(d.runtime / 1000) + "." + std::to_string(d.runtime % 1000 / 10);
            found.append(one);
        }
        return found;
    }, "The NVIDIA GPUs that can be used. Raises DeviceError where the driver says no.");
    m.def("instruction_sets", [] {
        const gpu::Device& d = gpu::current_device();
        return std::vector<std::string>{"sm_" + std::to_string(d.major * 10 + d.minor)};
    });
    m.def("instruction_set", [] {
        const gpu::Device& d = gpu::current_device();
        return "sm_" + std::to_string(d.major * 10 + d.minor);
    });
    m.def("use_instruction_set", [](const std::string&) {}, "name"_a, "There is only the card's own.");
    m.def("device_name", [] { return gpu::current_device().name; });

    m.def("shared", [](nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu> from) {
        const size_t bytes = from.size() * from.itemsize();
        void* memory = gpu::allocate_managed(bytes);
        std::memcpy(memory, from.data(), bytes);
        nb::capsule owner(memory, [](void* p) noexcept { gpu::release_managed(p); });
        std::vector<size_t> shape;
        for (size_t i = 0; i < from.ndim(); ++i) shape.push_back(from.shape(i));
        return nb::ndarray<nb::numpy>(memory, from.ndim(), shape.data(), owner, nullptr, from.dtype());
    }, "source"_a, "A copy of a numpy array that both the host and the device read and write in place.");

    nb::class_<Cancel>(m, "Cancel", "Stops a picture that another thread renders: pass it to `render`, then `set` it.")
        .def(nb::init<>())
        .def("set", [](Cancel& c) { gpu::set_flag(c.flag.data(), 1); })
        .def("clear", [](Cancel& c) { gpu::set_flag(c.flag.data(), 0); });

    nb::class_<FieldHandle>(m, "Field")
        .def("__init__", [](FieldHandle* self, int features, const std::vector<int>& resolution,
                            const std::vector<uint32_t>& size, const std::vector<uint32_t>& hashed, int hidden,
                            int color_hidden, int color_layers, bool unbounded, float near_plane, float far_plane,
                            float step, float cone, int occupancy_resolution, Array<uint16_t> table, Floats weights,
                            Floats weights_t, Array<uint32_t> occupancy) {
            const Field f = field_desc(features, resolution, size, hashed, hidden, color_hidden, color_layers, unbounded,
                                       near_plane, far_plane, step, cone, occupancy_resolution);
            require_sizes(f, table.size(), weights.size(), weights_t.size(), occupancy.size());
            new (self) FieldHandle();
            self->field = f;
            self->borrowed = true;
            self->field.table = self->bring(table, self->table);
            self->field.weights = self->bring(weights, self->weights);
            self->field.weights_t = self->bring(weights_t, self->weights_t);
            self->field.occupancy = self->bring(occupancy, self->occupancy);
        }, "features"_a, "resolution"_a, "size"_a, "hashed"_a, "hidden"_a, "color_hidden"_a, "color_layers"_a,
             "unbounded"_a, "near"_a, "far"_a, "step"_a, "cone"_a, "occupancy_resolution"_a, "table"_a.noconvert(),
             "weights"_a.noconvert(), "weights_t"_a.noconvert(), "occupancy"_a.noconvert())
        .def("encode", [](const FieldHandle& h, ConstFloats points, Floats out, uint64_t handle) {
            const int n = points_in(points), e = h.field.net.encoding;
            require(out.ndim() == 2 && int(out.shape(0)) == n && int(out.shape(1)) == e, "out must be (n, encoding)");
            const gpu::Stream stream = stream_of(handle);
            nb::gil_scoped_release release;
            const In<float> p(points, stream);
            Out<float> o(out, stream);
            gpu::encode(h.field, p.data(), n, o.data(), stream);
            finish(stream, o);
        }, "points"_a.noconvert(), "out"_a.noconvert(), "stream"_a = 0, "Encodings (n, encoding) of unit-cube points (n, 3).")
        .def("encode_backward", [](const FieldHandle& h, ConstFloats points, ConstFloats d_out, Floats d_table, uint64_t handle) {
            const int n = points_in(points), e = h.field.net.encoding;
            const HashGrid& g = h.field.grid;
            require(d_out.ndim() == 2 && int(d_out.shape(0)) == n && int(d_out.shape(1)) == e, "d_out must be (n, encoding)");
            require(aligned(d_table).size() == table_rows(g) * g.features, "d_table must be like the table");
            const gpu::Stream stream = stream_of(handle);
            nb::gil_scoped_release release;
            const In<float> p(points, stream), d(d_out, stream);
            Out<float> o(d_table, stream, true);
            gpu::encode_backward(h.field, p.data(), d.data(), n, o.data(), stream);
            finish(stream, o);
        }, "points"_a.noconvert(), "d_out"_a.noconvert(), "d_table"_a.noconvert(), "stream"_a = 0, "Accumulates into d_table.")
        .def("density", [](const FieldHandle& h, ConstFloats points, Floats out, uint64_t handle) {
            const int n = points_in(points);
            require(int(out.size()) == n, "out must be (n,)");
            const gpu::Stream stream = stream_of(handle);
            nb::gil_scoped_release release;
            const In<float> p(points, stream);
            Out<float> o(out, stream);
            gpu::evaluate(h.field, p.data(), nullptr, n, o.data(), nullptr, stream);
            finish(stream, o);
        }, "points"_a.noconvert(), "out"_a.noconvert(), "stream"_a = 0)
        .def("evaluate", [](const FieldHandle& h, ConstFloats points, ConstFloats directions, Floats density, Floats rgb,
                            uint64_t handle) {
            const int n = points_in(points);
            require(int(directions.size()) == 3 * n && int(density.size()) == n && int(rgb.size()) == 3 * n,
                    "directions and rgb must be (n, 3), density (n,)");
            const gpu::Stream stream = stream_of(handle);
            nb::gil_scoped_release release;
            const In<float> p(points, stream), d(directions, stream);
            Out<float> out_density(density, stream), out_rgb(rgb, stream);
            gpu::evaluate(h.field, p.data(), d.data(), n, out_density.data(), out_rgb.data(), stream);
            finish(stream, out_density, out_rgb);
        }, "points"_a.noconvert(), "directions"_a.noconvert(), "density"_a.noconvert(), "rgb"_a.noconvert(), "stream"_a = 0)
        .def("evaluate_backward", [](const FieldHandle& h, ConstFloats points, ConstFloats directions, ConstFloats d_density,
                                     ConstFloats d_rgb, Floats d_encoding, Floats d_weights, uint64_t handle) {
            const int n = points_in(points);
            const Network& net = h.field.net;
            require(int(directions.size()) == 3 * n && int(d_density.size()) == n && int(d_rgb.size()) == 3 * n,
                    "directions and d_rgb must be (n, 3), d_density (n,)");
            require(int(d_encoding.size()) == n * net.encoding && int(d_weights.size()) == net.size, "outputs' sizes");
            const gpu::Stream stream = stream_of(handle);
            nb::gil_scoped_release release;
            const In<float> p(points, stream), d(directions, stream), dd(d_density, stream), dr(d_rgb, stream);
            Out<float> de(d_encoding, stream), dw(d_weights, stream);
            gpu::evaluate_backward(h.field, p.data(), d.data(), dd.data(), dr.data(), n, de.data(), dw.data(), stream);
            finish(stream, de, dw);
        }, "points"_a.noconvert(), "directions"_a.noconvert(), "d_density"_a.noconvert(), "d_rgb"_a.noconvert(),
             "d_encoding"_a.noconvert(), "d_weights"_a.noconvert(), "stream"_a = 0, "Overwrites d_encoding and d_weights.")
        .def("march", [](FieldHandle& h, ConstFloats origins, ConstFloats directions, ConstFloats jitter,
                         float coarseness, Array<int32_t> counts, Floats t, Floats length, Floats points, uint64_t handle) {
            const int n = int(jitter.size()), capacity = n ? int(t.size()) / n : 0;
            require(int(origins.size()) == 3 * n && int(directions.size()) == 3 * n && int(counts.size()) == n,
                    "origins and directions must be (n, 3), jitter and counts (n,)");
            require(length.size() == t.size() && points.size() == 3 * t.size(), "t, length (n, capacity), points (…, 3)");
            require_finite(origins, "rays must be finite"), require_finite(directions, "rays must be finite");
            require_finite(jitter, "rays must be finite");
            const gpu::Stream stream = stream_of(handle);
            nb::gil_scoped_release release;
            const In<float> o(origins, stream), d(directions, stream), j(jitter, stream);
            Out<int32_t> out_counts(counts, stream);
            Out<float> out_t(t, stream, true), out_length(length, stream, true), out_points(points, stream, true);
            const DeviceRays rays = {const_cast<float*>(o.data()), const_cast<float*>(d.data()),
                                     const_cast<float*>(j.data()), nullptr, nullptr, n};
            gpu::march(h.ready(stream), coarseness, rays, capacity, out_counts.data(), out_t.data(), out_length.data(),
                       out_points.data(), stream);
            finish(stream, out_counts, out_t, out_length, out_points);
        }, "origins"_a.noconvert(), "directions"_a.noconvert(), "jitter"_a.noconvert(), "coarseness"_a,
             "counts"_a.noconvert(), "t"_a.noconvert(), "length"_a.noconvert(), "points"_a.noconvert(), "stream"_a = 0,
             "Samples of each ray in occupied cells, at most `capacity` a ray.")
        .def("trace", [](FieldHandle& h, ConstFloats origins, ConstFloats directions, ConstFloats jitter, ConstFloats backgrounds,
                         float min_weight, float stop, float coarseness, Floats rgb, Floats depth, Floats accumulation,
                         int, uint64_t handle) {
            const int n = int(jitter.size());
            require(int(origins.size()) == 3 * n && int(directions.size()) == 3 * n && int(backgrounds.size()) == 3 * n &&
                        int(rgb.size()) == 3 * n && int(depth.size()) == n && int(accumulation.size()) == n,
                    "rays and outputs differ in number");
            require_finite(origins, "rays must be finite"), require_finite(directions, "rays must be finite");
            require_finite(jitter, "rays must be finite"), require_finite(backgrounds, "backgrounds must be finite");
            const gpu::Stream stream = stream_of(handle);
            nb::gil_scoped_release release;
            const In<float> o(origins, stream), d(directions, stream), j(jitter, stream), b(backgrounds, stream);
            Out<float> out_rgb(rgb, stream), out_depth(depth, stream), out_accumulation(accumulation, stream);
            const DeviceRays rays = {const_cast<float*>(o.data()), const_cast<float*>(d.data()),
                                     const_cast<float*>(j.data()), nullptr, const_cast<float*>(b.data()), n};
            gpu::trace(h.ready(stream), {min_weight, stop, coarseness}, rays, out_rgb.data(), out_depth.data(),
                       out_accumulation.data(), stream);
            finish(stream, out_rgb, out_depth, out_accumulation);
        }, "origins"_a.noconvert(), "directions"_a.noconvert(), "jitter"_a.noconvert(), "backgrounds"_a.noconvert(),
             "min_weight"_a, "stop_transmittance"_a, "coarseness"_a, "rgb"_a.noconvert(), "depth"_a.noconvert(),
             "accumulation"_a.noconvert(), "threads"_a = 1, "stream"_a = 0, "`threads` is for the CPU's module.")
        .def("render", [](FieldHandle& h, const std::vector<float>& intrinsics, int lens, int width, int height,
                          const std::vector<float>& pose, const std::vector<float>& background, float min_weight,
                          float stop, int, std::tuple<int, int, int, int> rect, Floats rgb, Floats depth,
                          Floats accumulation, const Cancel* cancel, const std::vector<float>& crop, uint64_t handle) {
            DevicePicture p = {};
            p.camera = camera_desc(intrinsics, lens, width, height, pose, 0);
            require(background.size() == 3, "background is three numbers");
            for (int c = 0; c < 3; ++c) p.background[c] = background[c];
            std::tie(p.row0, p.row1, p.col0, p.col1) = rect;
            const int n = (p.row1 - p.row0) * (p.col1 - p.col0);
            require(0 <= p.row0 && p.row0 <= p.row1 && p.row1 <= height && 0 <= p.col0 && p.col0 <= p.col1 && p.col1 <= width,
                    "the rectangle must lie in the picture");
            require(int(rgb.size()) == 3 * n && int(depth.size()) == n && int(accumulation.size()) == n,
                    "outputs must have the rectangle's size");
            const gpu::Stream stream = stream_of(handle);
            cropped(h.field, crop);  // checked while Python can still be told
            nb::gil_scoped_release release;
            // What a cancelled picture never reached stays as it was.
            Out<float> out_rgb(rgb, stream, cancel), out_depth(depth, stream, cancel), out_accumulation(accumulation, stream, cancel);
            p.rgb = out_rgb.data(), p.depth = out_depth.data(), p.accumulation = out_accumulation.data();
            p.cancel = cancel ? cancel->flag.data() : nullptr;
            gpu::render(cropped(h.ready(stream), crop), {min_weight, stop, 1.0f}, p, stream);
            finish(stream, out_rgb, out_depth, out_accumulation);
        }, "intrinsics"_a, "lens"_a, "width"_a, "height"_a, "pose"_a, "background"_a, "min_weight"_a,
             "stop_transmittance"_a, "threads"_a, "rect"_a, "rgb"_a.noconvert(), "depth"_a.noconvert(),
             "accumulation"_a.noconvert(), "cancel"_a = nullptr, "crop"_a = std::vector<float>(), "stream"_a = 0, "`threads` is for the CPU's module.");

    bind_train_options(m);

    nb::class_<TrainerHandle> trainer(m, "Trainer");
    trainer
        .def("__init__", [](TrainerHandle* self, FieldHandle& field, Floats table, Floats table_moments,
                            Floats weight_moments, Floats occupancy_values, nb::object allowed,
                            const std::vector<nb::tuple>& cameras, Array<const uint8_t> pixels, int channels,
                            bool random_background, const std::vector<float>& background, uint32_t seed, int,
                            nb::object exposures, nb::object exposure_moments, nb::object chosen,
                            nb::object camera_gradients, nb::object depths) {
            const Field& f = field.field;
            const size_t entries = table_rows(f.grid) * f.grid.features, cells = occupancy_cells(f.space);
            require(table.size() == entries && table_moments.size() == 2 * entries, "table and its moments' sizes");
            require(int(weight_moments.size()) == 2 * f.net.size, "weight moments' size");
            require(occupancy_values.size() == cells, "one occupancy value a cell");
            require(channels == 3 || channels == 4, "photos have 3 or 4 channels");
            require(background.size() == 3, "background is three numbers");
            const char* why = "what training changes must be reachable by the device: make such arrays with `shared`";
            require(field.borrowed, why);
            new (self) TrainerHandle();
            self->channels = channels;
            TrainState s = {};
            s.field = f;
            s.table = reachable(table, why), s.table_moments = reachable(table_moments, why);
            s.weight_moments = reachable(weight_moments, why), s.occupancy_values = reachable(occupancy_values, why);
            s.half_table = const_cast<uint16_t*>(f.table);
            s.weights = const_cast<float*>(f.weights), s.weights_t = const_cast<float*>(f.weights_t);
            s.occupancy = const_cast<uint32_t*>(f.occupancy);
            s.room = field.room.data();
            if (!allowed.is_none()) {
                auto bits = nb::cast<Array<const uint32_t>>(allowed, false);
                on_host(bits, "allowed cells must be an array on the host");
                require(bits.size() * 32 == cells, "one allowed bit a cell");
                self->allowed.resize(bits.size());
                gpu::copy(self->allowed.data(), bits.data(), bits.size() * sizeof(uint32_t), nullptr);
                s.allowed = self->allowed.data();
            }
            const uint64_t count = read_cameras(cameras, channels, self->cameras, self->first_pixel);
            on_host(pixels, "photos' pixels must be an array on the host: they are copied to the device");
            require(!cameras.empty() && pixels.size() == count * channels, "photos' sizes and pixels disagree");
            self->pixels.resize(pixels.size());
            gpu::copy(self->pixels.data(), pixels.data(), pixels.size(), nullptr);
            gpu::synchronize(nullptr);
            Photos ph = {};
            ph.cameras = self->cameras.data(), ph.first_pixel = self->first_pixel.data(), ph.pixels = self->pixels.data();
            ph.n = int(self->cameras.size()), ph.channels = channels, ph.random_background = random_background;
            for (int c = 0; c < 3; ++c) ph.background[c] = background[c];
            if (!chosen.is_none()) {
                auto list = nb::cast<Array<const uint32_t>>(chosen, false);
                on_host(list, "chosen pixels must be an array on the host");
                require_chosen(list.data(), list.size(), count);
                self->chosen.resize(list.size());
                gpu::copy(self->chosen.data(), list.data(), list.size() * sizeof(uint32_t), nullptr);
                gpu::synchronize(nullptr);
                ph.chosen = self->chosen.data(), ph.n_chosen = list.size();
            }
            if (!depths.is_none()) {
                auto known = nb::cast<ConstFloats>(depths, false);
                on_host(known, "known depths must be an array on the host: they are copied to the device");
                require_depths(known.size(), self->cameras);
                self->depths.resize(known.size());
                gpu::copy(self->depths.data(), known.data(), known.size() * sizeof(float), nullptr);
                gpu::synchronize(nullptr);
                ph.depths = self->depths.data();
            }
            if (exposures.is_none()) {
                self->exposures.resize(3 * cameras.size()), self->exposure_moments.resize(6 * cameras.size());
                gpu::zero(self->exposures.data(), sizeof(float) * 3 * cameras.size(), nullptr);
                gpu::zero(self->exposure_moments.data(), sizeof(float) * 6 * cameras.size(), nullptr);
                gpu::synchronize(nullptr);
                s.exposures = self->exposures.data(), s.exposure_moments = self->exposure_moments.data();
            } else {
                auto e = nb::cast<Floats>(exposures, false), m = nb::cast<Floats>(exposure_moments, false);
                require(e.size() == 3 * cameras.size() && m.size() == 6 * cameras.size(), "exposures are (photos, 3)");
                s.exposures = reachable(e, why), s.exposure_moments = reachable(m, why);
            }
            self->keep = {nb::find(field), nb::cast(table), nb::cast(table_moments), nb::cast(weight_moments),
                          nb::cast(occupancy_values), exposures, exposure_moments, camera_gradients};
            if (!camera_gradients.is_none()) {
                auto g = nb::cast<Floats>(camera_gradients, false);
                require(g.size() == kCameraGradient * cameras.size(), "cameras' gradients are (photos, 15)");
                s.camera_gradients = reachable(g, why);
            }
            self->weights = size_t(f.net.size);
            self->trainer = std::make_unique<Trainer>(s, ph, seed);
        }, "field"_a, "table"_a.noconvert(), "table_moments"_a.noconvert(), "weight_moments"_a.noconvert(),
             "occupancy_values"_a.noconvert(), "allowed"_a.none(), "cameras"_a, "pixels"_a.noconvert(), "channels"_a,
             "random_background"_a, "background"_a, "seed"_a, "threads"_a = 0,
             "exposures"_a = nb::none(), "exposure_moments"_a = nb::none(), "chosen"_a = nb::none(),
             "camera_gradients"_a = nb::none(), "depths"_a = nb::none())
        .def("set_cameras", [](TrainerHandle& h, const std::vector<nb::tuple>& cameras) {
            replace_cameras(cameras, h.channels, h.cameras);
            nb::gil_scoped_release release;
            h.trainer->use_cameras(h.cameras.data());
        }, "cameras"_a, "The same photos' cameras, refined.")
        .def("gradients", [](TrainerHandle& h, const TrainOptions& o, ConstFloats origins, ConstFloats directions,
                             ConstFloats jitter, ConstFloats targets, ConstFloats backgrounds, Floats d_table, Floats d_weights,
                             nb::object photos, nb::object d_exposures, nb::object d_rays, nb::object known) {
            const int n = int(jitter.size());
            require(int(origins.size()) == 3 * n && int(directions.size()) == 3 * n && int(targets.size()) == 3 * n &&
                        int(backgrounds.size()) == 3 * n, "rays differ in number");
            require(h.trainer->has_sizes(aligned(d_table).size(), d_weights.size()),
                    "gradients are like the table and the weights");
            require_finite(origins, "rays must be finite"), require_finite(directions, "rays must be finite");
            require_finite(jitter, "rays must be finite"), require_finite(targets, "colours must be finite");
            require_finite(backgrounds, "colours must be finite");
            std::optional<Array<int32_t>> of;
            std::optional<Floats> to, to_rays;
            std::optional<ConstFloats> depths;
            if (!known.is_none()) {
                depths = nb::cast<ConstFloats>(known, false);
                require(int(depths->size()) == n, "rays differ in number");
                on_host(*depths, "rays' known depths must be an array on the host");
            }
            if (!d_rays.is_none()) {
                to_rays = nb::cast<Floats>(d_rays, false);
                require(int(to_rays->size()) == 6 * n, "gradients of rays are (n, 6)");
            }
            if (!photos.is_none()) {
                of = nb::cast<Array<int32_t>>(photos, false), to = nb::cast<Floats>(d_exposures, false);
                on_host(*of, "rays' photos must be an array on the host");
                require_photos(of->data(), of->size(), n, h.trainer->n_photos());
                require(int(to->size()) == 3 * h.trainer->n_photos(), "gradients of exposures are (photos, 3)");
            }
            TrainReport r;
            {
                nb::gil_scoped_release release;
                gpu::Buffer<int32_t> ids;
                gpu::Buffer<float> exposures, by_rays, ends;
                if (depths) {
                    ends.resize(depths->size());
                    gpu::copy(ends.data(), depths->data(), sizeof(float) * depths->size(), nullptr);
                }
                if (to_rays) by_rays.resize(to_rays->size());
                if (of) {
                    ids.resize(of->size()), exposures.resize(to->size());
                    gpu::copy(ids.data(), of->data(), sizeof(int32_t) * of->size(), nullptr);
                }
                const In<float> io(origins, nullptr), id(directions, nullptr), ij(jitter, nullptr), it(targets, nullptr),
                    ib(backgrounds, nullptr);
                Out<float> table(d_table, nullptr), weights(d_weights, nullptr);
                gpu::synchronize(nullptr);
                const DeviceRays rays = {const_cast<float*>(io.data()), const_cast<float*>(id.data()),
                                         const_cast<float*>(ij.data()), const_cast<float*>(it.data()),
                                         const_cast<float*>(ib.data()), n, of ? ids.data() : nullptr, to_rays ? by_rays.data() : nullptr,
                                         depths ? ends.data() : nullptr};
                r = h.trainer->gradients(o, rays, table.data(), weights.data(), of ? exposures.data() : nullptr);
                if (of) {
                    gpu::copy(to->data(), exposures.data(), sizeof(float) * to->size(), nullptr);
                    gpu::synchronize(nullptr);
                }
                if (to_rays) {
                    gpu::copy(to_rays->data(), by_rays.data(), sizeof(float) * to_rays->size(), nullptr);
                    gpu::synchronize(nullptr);
                }
                finish(nullptr, table, weights);
            }
            return report_dict(r);
        }, "options"_a, "origins"_a.noconvert(), "directions"_a.noconvert(), "jitter"_a.noconvert(),
             "targets"_a.noconvert(), "backgrounds"_a.noconvert(), "d_table"_a.noconvert(), "d_weights"_a.noconvert(),
             "photos"_a = nb::none(), "d_exposures"_a = nb::none(), "d_rays"_a = nb::none(),
             "known"_a = nb::none())
        .def("refresh", [](TrainerHandle&) {}, "Nothing to do: `run` reads the weights anew.");
    bind_running(trainer);

    m.def("to_half", [](ConstFloats from, Array<uint16_t> to, uint64_t handle) {
        require(from.size() == to.size(), "sizes differ");
        const gpu::Stream stream = stream_of(handle);
        const In<float> in(from, stream);
        Out<uint16_t> out(to, stream);
        gpu::to_half(in.data(), out.data(), int64_t(from.size()), stream);
        finish(stream, out);
    }, "source"_a.noconvert(), "out"_a.noconvert(), "stream"_a = 0, "float32 → binary16, round to nearest even, saturating.");

    m.def("pixel_rays", [](const std::vector<float>& intrinsics, int lens, int width, int height,
                           const std::vector<float>& pose, ConstFloats pixels, Floats origins, Floats directions, uint64_t handle) {
        require(pixels.ndim() == 2 && pixels.shape(1) == 2, "pixels must be (n, 2)");
        const int n = int(pixels.shape(0));
        require(int(origins.size()) == 3 * n && int(directions.size()) == 3 * n, "outputs must be (n, 3)");
        const gpu::Stream stream = stream_of(handle);
        const In<float> in(pixels, stream);
        Out<float> o(origins, stream), d(directions, stream);
        gpu::pixel_rays(camera_desc(intrinsics, lens, width, height, pose, 0), in.data(), n, o.data(), d.data(), stream);
        finish(stream, o, d);
    }, "intrinsics"_a, "lens"_a, "width"_a, "height"_a, "pose"_a, "pixels"_a.noconvert(), "origins"_a.noconvert(),
       "directions"_a.noconvert(), "stream"_a = 0);

    m.def("adam", [](ConstFloats gradient, Floats parameters, Floats moments, float rate, float beta1, float beta2,
                     float epsilon, float pull, uint64_t handle) {
        require(gradient.size() % 16 == 0 && parameters.size() == gradient.size() && moments.size() == 2 * gradient.size(),
                "parameters like gradient, a multiple of 16; moments twice that");
        const gpu::Stream stream = stream_of(handle);
        const In<float> g(gradient, stream);
        Out<float> p(parameters, stream, true), both(moments, stream, true);
        gpu::adam({rate, beta1, beta2, epsilon, pull}, int(gradient.size()), g.data(), p.data(), both.data(), stream);
        finish(stream, p, both);
    }, "gradient"_a.noconvert(), "parameters"_a.noconvert(), "moments"_a.noconvert(), "rate"_a, "beta1"_a, "beta2"_a,
       "epsilon"_a, "pull"_a = 0.0f, "stream"_a = 0);
}
