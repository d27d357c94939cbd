// Pictures of Gaussians for both Python modules: signatures and checks. Each `Device` has a Splatter, draw_splats,
// splats_backward, photo_loss and improve_splats, which are called with checked arguments.
#pragma once
#include "bind_common.h"
#include "include/splats.h"

namespace {

template <class Device>
struct SplatBinding {
    using Floats = typename Device::Floats;
    using ConstFloats = typename Device::ConstFloats;
    using Splatter = typename Device::Splatter;
    using Ints = typename Device::template Array<int32_t>;
    using ConstBytes = typename Device::template Array<const uint8_t>;
    using ConstInts = typename Device::template Array<const int32_t>;

    static void bind(nb::module_& m) {
        nb::class_<Splatter> splatter(m, "Splatter");
        bind_splatter(splatter);
        bind_fitting(m);
    }

  private:
    static SplatArrays arrays_of(const ConstFloats& centres, const ConstFloats& log_scales, const ConstFloats& turns,
                                 const ConstFloats& opacities, const ConstFloats& harmonics) {
        const size_t n = opacities.size();
        require(opacities.ndim() == 1 && centres.ndim() == 2 && centres.size() == 3 * n && log_scales.ndim() == 2 &&
                    log_scales.size() == 3 * n && turns.ndim() == 2 && turns.size() == 4 * n,
                "centres and log_scales must be (n, 3), turns (n, 4), opacities (n,)");
        require(harmonics.ndim() == 3 && harmonics.shape(0) == n && harmonics.shape(2) == 3, "harmonics must be (n, k, 3)");
        const size_t k = harmonics.shape(1);
        require(k == 1 || k == 4 || k == 9 || k == 16, "harmonics must be 1, 4, 9 or 16 for each Gaussian");
        require(n < (size_t(1) << 30), "there are too many Gaussians");
        return {centres.data(), log_scales.data(), turns.data(), opacities.data(), harmonics.data(), int(n), int(k)};
    }

    static SplatCamera camera_of(const std::vector<float>& numbers, const std::tuple<int, int>& size,
                                 const std::tuple<int, int, int, int>& window, float near_plane) {
        SplatCamera k = {};
        require(numbers.size() == 16, "a camera has 16 numbers: camera_from_world by rows, fx, fy, cx and cy");
        for (const float x : numbers) require(x - x == 0.0f, "a camera's numbers must be finite");
        std::copy(numbers.begin(), numbers.begin() + 12, k.pose);
        k.fx = numbers[12], k.fy = numbers[13], k.cx = numbers[14], k.cy = numbers[15];
        require(k.fx > 0 && k.fy > 0, "focal lengths must be positive");
        require(near_plane > 0, "the near plane must be before the camera");
        std::tie(k.width, k.height) = size;
        std::tie(k.left, k.top, k.columns, k.rows) = window;
        require(k.left >= 0 && k.top >= 0 && k.columns >= 0 && k.rows >= 0 && k.left <= k.width - k.columns &&
                    k.top <= k.height - k.rows,
                "the window must lie in the picture");
        require(k.width <= 65536 && k.height <= 65536, "the picture is too large");
        k.near_plane = near_plane;
        return k;
    }

    static void bind_splatter(nb::class_<Splatter>& splatter) {
        splatter.def(nb::init<int>(), "threads"_a, "`threads`: how many CPU threads to use; a GPU ignores it.");
        splatter.def("draw", [](Splatter& s, ConstFloats centres, ConstFloats log_scales, ConstFloats turns,
                                ConstFloats opacities, ConstFloats harmonics, const std::vector<float>& camera,
                                std::tuple<int, int> size, std::tuple<int, int, int, int> window,
                                const std::vector<float>& background, float near_plane, bool back, Floats rgb,
                                Floats alpha, Floats depth) {
            const SplatArrays a = arrays_of(centres, log_scales, turns, opacities, harmonics);
            const SplatCamera k = camera_of(camera, size, window, near_plane);
            const size_t n = size_t(k.columns) * k.rows;
            require(rgb.size() == 3 * n && (alpha.size() == n || !alpha.size()) && (depth.size() == n || !depth.size()),
                    "outputs must have the window's size");
            float behind[3];
            copy_background(background, behind);
            Device::draw_splats(s, k, a, behind, back, rgb, alpha, depth);
        }, "centres"_a.noconvert(), "log_scales"_a.noconvert(), "turns"_a.noconvert(), "opacities"_a.noconvert(),
           "harmonics"_a.noconvert(), "camera"_a, "size"_a, "window"_a, "background"_a, "near"_a, "back"_a,
           "rgb"_a.noconvert(), "alpha"_a.noconvert(), "depth"_a.noconvert(),
           "alpha and depth may be empty: then they aren't made. back: keep what `backward` needs.");
        splatter.def("backward", [](Splatter& s, ConstFloats centres, ConstFloats log_scales, ConstFloats turns,
                                    ConstFloats opacities, ConstFloats harmonics, ConstFloats d_rgb, ConstFloats d_alpha,
                                    Floats d_centres, Floats d_log_scales, Floats d_turns, Floats d_opacities,
                                    Floats d_harmonics, Floats d_background, Ints pixels, Floats pull, Floats weight) {
            const SplatArrays a = arrays_of(centres, log_scales, turns, opacities, harmonics);
            require(s.drawn() >= 0, "nothing was drawn yet");
            require(s.given() == a.n, "these are not the Gaussians that were drawn");
            const size_t n = size_t(s.camera().columns) * s.camera().rows, count = size_t(a.n);
            require(d_rgb.size() == 3 * n && (d_alpha.size() == n || !d_alpha.size()), "d_rgb and d_alpha must have the window's size");
            require(d_centres.size() == 3 * count && d_log_scales.size() == 3 * count && d_turns.size() == 4 * count &&
                        d_opacities.size() == count && d_harmonics.size() == harmonics.size() && d_background.size() == 3 &&
                        pixels.size() == count && pull.size() == count && weight.size() == count,
                    "gradients must have the Gaussians' sizes");
            Device::splats_backward(s, a, d_rgb, d_alpha,
                                    {d_centres.data(), d_log_scales.data(), d_turns.data(), d_opacities.data(),
                                     d_harmonics.data(), d_background.data(), pixels.data(), pull.data(), weight.data()});
        }, "centres"_a.noconvert(), "log_scales"_a.noconvert(), "turns"_a.noconvert(), "opacities"_a.noconvert(),
           "harmonics"_a.noconvert(), "d_rgb"_a.noconvert(), "d_alpha"_a.noconvert(), "d_centres"_a.noconvert(),
           "d_log_scales"_a.noconvert(), "d_turns"_a.noconvert(), "d_opacities"_a.noconvert(),
           "d_harmonics"_a.noconvert(), "d_background"_a.noconvert(), "pixels"_a.noconvert(), "pull"_a.noconvert(),
           "weight"_a.noconvert(),
           "Overwrites the gradients. Their arrays must hold what the last call wrote, or zeros. d_alpha may be empty: zeros.");
    }

    static void bind_fitting(nb::module_& m) {
        m.def("photo_loss", [](ConstFloats rgb, ConstFloats photo, ConstBytes bytes, const std::vector<float>& gains,
                               ConstFloats weights, float share, int threads, Floats d_rgb, Floats found) {
            require(rgb.ndim() == 3 && rgb.shape(2) == 3 && photo.size() + bytes.size() == rgb.size() &&
                        (!photo.size() || !bytes.size()) && (3 * weights.size() == rgb.size() || !weights.size()) &&
                        d_rgb.size() == rgb.size(),
                    "rgb, photo and d_rgb must be (h, w, 3), weights (h, w)");
            require(gains.size() == 3 && found.size() == 5, "gains must be three numbers, found five");
            require(share >= 0.0f && share <= 1.0f, "the share must be from 0 to 1");
            PhotoLoss loss = {};
            loss.rows = int(rgb.shape(0)), loss.columns = int(rgb.shape(1));
            loss.rgb = rgb.data(), loss.share = share;
            loss.photo = photo.size() ? photo.data() : nullptr, loss.bytes = bytes.size() ? bytes.data() : nullptr;
            loss.weights = weights.size() ? weights.data() : nullptr;
            std::copy(gains.begin(), gains.end(), loss.gains);
            loss.d_rgb = d_rgb.data();
            Device::photo_loss(loss, threads, found.data());
        }, "rgb"_a.noconvert(), "photo"_a.noconvert(), "bytes"_a.noconvert(), "gains"_a, "weights"_a.noconvert(), "share"_a, "threads"_a,
           "d_rgb"_a.noconvert(), "found"_a.noconvert(),
           "The photo is given as numbers of 0 to 1 or as bytes, and the other is empty; weights may be empty: all 1. found: "
           "the loss, the mean squared error, and the gradients by the gains.");
        m.def("improve_splats", [](Floats centres, Floats log_scales, Floats turns, Floats opacities, Floats harmonics,
                                   ConstFloats d_centres, ConstFloats d_log_scales, ConstFloats d_turns,
                                   ConstFloats d_opacities, ConstFloats d_harmonics, ConstInts pixels, Floats m_centres,
                                   Floats m_log_scales, Floats m_turns, Floats m_opacities, Floats m_harmonics,
                                   const std::vector<float>& rates, float beta1, float beta2, float epsilon, int threads) {
            require(rates.size() == 6, "there must be six rates");
            const int64_t n = int64_t(pixels.size());
            SplatAdam adam[5];
            const Floats* p[5] = {&centres, &log_scales, &turns, &opacities, &harmonics};
            const ConstFloats* g[5] = {&d_centres, &d_log_scales, &d_turns, &d_opacities, &d_harmonics};
            const Floats* moments[5] = {&m_centres, &m_log_scales, &m_turns, &m_opacities, &m_harmonics};
            for (int i = 0; i < 5; ++i) {
                const size_t size = p[i]->size();
                require(g[i]->size() == size && moments[i]->size() == 2 * size && (n == 0 ? size == 0 : size % n == 0),
                        "gradients and moments must have the Gaussians' sizes");
                require(i != 1 || size == 3 * size_t(n), "log_scales must be (n, 3)");
                const int width = n == 0 ? 0 : int(size / n);
                const AdamStep step = {rates[i], beta1, beta2, epsilon}, rest = {rates[5], beta1, beta2, epsilon};
                adam[i] = {p[i]->data(), moments[i]->data(), g[i]->data(), pixels.data(), n, width,
                           i == 4 ? std::min(width, 3) : width, step, rest, i == 0 ? log_scales.data() : nullptr};
            }
            Device::improve_splats(adam, 5, threads);
        }, "centres"_a.noconvert(), "log_scales"_a.noconvert(), "turns"_a.noconvert(), "opacities"_a.noconvert(),
           "harmonics"_a.noconvert(), "d_centres"_a.noconvert(), "d_log_scales"_a.noconvert(), "d_turns"_a.noconvert(),
           "d_opacities"_a.noconvert(), "d_harmonics"_a.noconvert(), "pixels"_a.noconvert(), "m_centres"_a.noconvert(),
           "m_log_scales"_a.noconvert(), "m_turns"_a.noconvert(), "m_opacities"_a.noconvert(),
           "m_harmonics"_a.noconvert(), "rates"_a, "beta1"_a, "beta2"_a, "epsilon"_a, "threads"_a,
           "A step of Adam on the Gaussians that have pixels. Rates: of the five arrays, of centres as a share of the largest "
           "scale, of harmonics the constant's, and of the other harmonics.");
    }
};

}  // namespace
