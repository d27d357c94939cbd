// Checks and conversions for both Python modules: Python values → the kernels' structures, reports → dictionaries.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "include/hashgrid.h"
#include "include/occupancy.h"
#include "include/training.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace nerfscene;

namespace {

void require(bool ok, const char* what) {
    if (!ok) throw nb::value_error(what);
}

CameraDesc camera_desc(const std::vector<float>& k, int lens, int width, int height, const std::vector<float>& pose,
                       int64_t pixels) {
    require(k.size() == 9, "intrinsics must be fx, fy, cx, cy and five distortion coefficients");
    require(pose.size() == 12, "pose must be a 3×4 matrix, row-major");
    require(lens >= kPerspective && lens <= kStereo180, "lens must be one of the kinds of lenses, 0 to 4");
    CameraDesc c = {};
    c.fx = k[0], c.fy = k[1], c.cx = k[2], c.cy = k[3];
    for (int i = 0; i < 5; ++i) c.distortion[i] = k[4 + i];
    c.lens = lens, c.width = width, c.height = height, c.pixels = pixels;
    for (int i = 0; i < 12; ++i) c.pose[i] = pose[i];
    bool finite = true;
    for (float x : k) finite &= x - x == 0.0f;
    for (float x : pose) finite &= x - x == 0.0f;
    require(finite, "intrinsics and pose must be finite");
    return c;
}

// A space laid out along the view. `view`: view_from_scene (3×4, row-major).
Ahead ahead_desc(const std::vector<float>& view, float share) {
    require(view.size() == 12, "view must be a 3×4 matrix, row-major");
    for (float x : view) require(x - x == 0.0f, "view must be finite");
    require(share > 0 && share <= 1, "share must be above 0 and at most 1");
    Ahead a = {};
    a.on = 1, a.share = share;
    std::copy(view.begin(), view.end(), a.view_from_scene);
    const float* m = a.view_from_scene;
    double adjugate[3][3], length[3];
    for (int i = 0; i < 3; ++i) {
        length[i] = std::sqrt(double(m[4 * i]) * m[4 * i] + double(m[4 * i + 1]) * m[4 * i + 1] +
                              double(m[4 * i + 2]) * m[4 * i + 2]);
        for (int j = 0; j < 3; ++j) {  // by cyclic indices, cofactors have the right sign
            const int r = (j + 1) % 3, s = (j + 2) % 3, c = (i + 1) % 3, d = (i + 2) % 3;
            adjugate[i][j] = double(m[4 * r + c]) * m[4 * s + d] - double(m[4 * r + d]) * m[4 * s + c];
        }
    }
    const double determinant = m[0] * adjugate[0][0] + m[1] * adjugate[1][0] + m[2] * adjugate[2][0];
    require(std::abs(determinant) > 1e-30, "view must be invertible");
    for (int i = 0; i < 3; ++i) {
        double at = 0;
        for (int j = 0; j < 3; ++j) {
            a.scene_from_view[4 * i + j] = float(adjugate[i][j] / determinant);
            at -= adjugate[i][j] / determinant * m[4 * j + 3];
        }
        a.scene_from_view[4 * i + 3] = float(at);
    }
    a.turn = float(length[2]);
    a.stretch = float(std::max(0.5 * (std::max(length[0], length[1]) + length[2]), share * length[2]));
    return a;
}

Field field_desc(int features, const std::vector<int>& resolution, const std::vector<uint32_t>& size,
                 const std::vector<uint32_t>& hashed, int hidden, int color_hidden, int color_layers, bool unbounded,
                 float near_plane, float far_plane, float step, float cone, int occupancy_resolution,
                 const std::vector<float>& view, float share) {
    Field f = {};
    const int levels = int(resolution.size());
    require(levels >= 1 && levels <= kMaxLevels, "there must be 1 to 16 levels");
    require(features == 2 || features == 4 || features == 8, "a level must have 2, 4 or 8 features");
    require(int(size.size()) == levels && int(hashed.size()) == levels, "size and hashed must have one number per level");
    f.grid.levels = levels, f.grid.features = features;
    uint32_t offset = 0;
    for (int i = 0; i < levels; ++i) {
        f.grid.resolution[i] = resolution[i], f.grid.size[i] = size[i], f.grid.hashed[i] = hashed[i];
        f.grid.offset[i] = offset;
        offset += size[i];
        const uint64_t side = uint64_t(resolution[i]) + 2;
        require(hashed[i] ? (size[i] & (size[i] - 1)) == 0 : size[i] >= side * side * side,
                "a hashed level's size must be a power of two; a dense level must have at least (resolution + 2)^3 rows");
    }
    auto up = [](int n) { return (n + 15) / 16 * 16; };
    Network& net = f.net;
    net.encoding = up(levels * features), net.hidden = hidden;
    net.color_hidden = color_hidden, net.color_layers = color_layers;
    net.outputs = color_layers == 0 ? 32 : 16;
    require(hidden % 16 == 0 && hidden > 0 && hidden <= kMaxWidth && net.encoding <= kMaxWidth,
            "the hidden width must be a multiple of 16 up to 128, and the encoding at most 128 wide");
    require(color_layers >= 0 && color_layers <= 2, "there must be 0 to 2 hidden colour layers");
    require(color_layers == 0 || (color_hidden % 16 == 0 && color_hidden > 0 && color_hidden <= kMaxWidth),
            "the colour width must be a multiple of 16 up to 128");
    auto layer = [&](int in, int out) {
        net.in[net.layers] = in, net.out[net.layers] = out, net.offset[net.layers] = net.size;
        net.layers += 1, net.size += in * out;
    };
    layer(net.encoding, hidden);
    layer(hidden, net.outputs);
    if (color_layers > 0) {
        layer(32, color_hidden);
        if (color_layers == 2) layer(color_hidden, color_hidden);
        layer(color_hidden, 16);
    }
    require(occupancy_resolution > 0 && occupancy_resolution % 32 == 0, "the occupancy resolution must be a multiple of 32");
    require(step > 0 && cone >= 0 && near_plane >= 0 && far_plane > near_plane,
            "step must be positive, cone and near must not be negative, and far must be more than near");
    f.space = {unbounded, near_plane, far_plane, step, cone, occupancy_resolution};
    require(view.empty() || unbounded, "only an unbounded scene can be laid out along the view");
    if (!view.empty()) f.space.ahead = ahead_desc(view, share);
    return f;
}

void require_crop(const std::vector<float>& box) {
    require(box.empty() || box.size() == 12, "a crop must be a 3×4 matrix, row-major");
    for (float x : box) require(x - x == 0.0f, "a crop must be finite");
}

// The field with everything outside a box hidden. An empty `box` hides nothing.
Field cropped(Field f, const std::vector<float>& box) {
    f.space.cropped = !box.empty();
    std::copy(box.begin(), box.end(), f.space.box_from_scene);
    return f;
}

void copy_background(const std::vector<float>& from, float* to) {
    require(from.size() == 3, "background must be three numbers");
    std::copy(from.begin(), from.end(), to);
}

// Checks that arrays have the sizes that a field's descriptor requires.
void require_sizes(const Field& f, size_t table, size_t weights, size_t weights_t, size_t occupancy) {
    require(table == NS_ISA::table_rows(f.grid) * f.grid.features, "table must have (rows, features) entries");
    require(weights == size_t(f.net.size) && weights_t == size_t(f.net.size),
            "weights and weights_t must have as many numbers as the networks have weights");
    require(occupancy * 32 == NS_ISA::occupancy_cells(f.space), "occupancy must have one bit per cell");
}

// The number of a photo's cells with a known depth each (see kDepthCell).
int64_t depth_cells(const CameraDesc& c) {
    auto cells = [](int pixels) { return int64_t(pixels + kDepthCell - 1) / kDepthCell; };
    return cells(c.width) * cells(c.height);
}

// Reads the photos' cameras. Fills `first_pixel` with the index of each photo's first pixel, counted over all photos,
// and the total number of pixels at the end. Returns the total.
uint64_t read_cameras(const std::vector<nb::tuple>& from, int channels, std::vector<CameraDesc>& cameras,
                      std::vector<uint64_t>& first_pixel) {
    uint64_t count = 0;
    int64_t cells = 0;
    for (const nb::tuple& c : from) {
        cameras.push_back(camera_desc(nb::cast<std::vector<float>>(c[0]), nb::cast<int>(c[1]), nb::cast<int>(c[2]),
                                      nb::cast<int>(c[3]), nb::cast<std::vector<float>>(c[4]), int64_t(count) * channels));
        require(cameras.back().lens <= kFisheye, "photos must be perspective or fisheye ones");
        cameras.back().depths = cells;
        cells += depth_cells(cameras.back());
        first_pixel.push_back(count);
        count += uint64_t(cameras.back().width) * cameras.back().height;
    }
    first_pixel.push_back(count);
    return count;
}

// Replaces the photos' cameras with refined ones.
void replace_cameras(const std::vector<nb::tuple>& from, int channels, std::vector<CameraDesc>& cameras) {
    std::vector<CameraDesc> next;
    std::vector<uint64_t> ignored;
    read_cameras(from, channels, next, ignored);
    require(next.size() == cameras.size(), "there must be one camera per photo");
    for (size_t i = 0; i < next.size(); ++i)
        require(next[i].width == cameras[i].width && next[i].height == cameras[i].height,
                "the photos' sizes must stay the same");
    cameras = next;
}

// Checks that there is one known depth for each cell of the photos.
void require_depths(size_t depths, const std::vector<CameraDesc>& cameras) {
    require(int64_t(depths) == cameras.back().depths + depth_cells(cameras.back()),
            "there must be one depth for each 4×4 pixels of each photo");
}

// Counts the cells of `side`² pixels of all photos; fills `first` with the index of each photo's first.
size_t count_cells(const std::vector<CameraDesc>& cameras, int side, std::vector<uint64_t>& first) {
    size_t count = 0;
    for (const CameraDesc& c : cameras) {
        first.push_back(count);
        count += size_t((c.width + side - 1) / side) * size_t((c.height + side - 1) / side);
    }
    return count;
}

// Checks the pixels to train on, which are indices over all photos.
void require_chosen(const uint32_t* chosen, size_t n, uint64_t pixels) {
    require(n > 0, "there must be at least one pixel to train on");
    for (size_t i = 0; i < n; ++i) require(chosen[i] < pixels, "chosen pixels must be indices of the photos' pixels");
}

// Checks the photos whose exposures apply to the rays.
void require_photos(const int32_t* of, int rays, int photos) {
    for (int i = 0; i < rays; ++i) require(of[i] < photos, "a ray's photo must be one of the trainer's photos");
}

nb::dict report_dict(const TrainReport& r) {
    nb::dict d;
    d["steps"] = r.steps, d["rays"] = r.rays, d["candidates"] = r.candidates, d["survivors"] = r.survivors;
    d["dropped"] = r.dropped, d["squared_error"] = r.squared_error, d["occupied_fraction"] = r.occupied_fraction;
    d["seconds_trace"] = r.seconds_trace, d["seconds_table"] = r.seconds_table;
    d["seconds_occupancy"] = r.seconds_occupancy;
    return d;
}

}  // namespace
