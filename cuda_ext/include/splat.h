// The mathematics of drawing anisotropic Gaussians, per Gaussian and per pixel, forward and backward.
//
// A Gaussian's covariance in the picture is that of EWA splatting (Zwicker et al. 2001): M Mᵀ with the 2×3 matrix
// M = J W R S, where J is the Jacobian of the projection at the centre, W turns the world to the camera, R is the
// Gaussian's rotation and S its scales. A low-pass filter adds kSplatBlur to both variances; so that the Gaussian keeps
// its weight, the opacity is multiplied by √(det before / det after) (Yu et al. 2024). The determinant is the square of
// the cross product of M's rows: no difference of large numbers, and never below 0.
#pragma once
#include "platform.h"
#include "splats.h"

NS_BEGIN

template <class T>
struct Triple {
    T x, y, z;
};
template <class T>
NS_HD Triple<T> cross(const Triple<T>& a, const Triple<T>& b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
template <class T>
NS_HD T dot(const Triple<T>& a, const Triple<T>& b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

// One Gaussian's parameters, without its harmonics.
template <class T>
struct SplatGiven {
    Triple<T> centre, log_scale;
    T turn[4], logit;
};

// What projecting it leaves for the picture and for the way back.
template <class T>
struct SplatFlat {
    T x, y, depth;                 // the centre: pixels, scene units
    T half_a, lean, half_c;        // see Splat
    T opacity;                     // with the filter's compensation
    T variance_x, variance_y;      // with the filter, square pixels
    // for the way back
    Triple<T> camera, scale, row0, row1, turned0, turned1, seen0, seen1;  // M's rows, those without S, without R S
    T quaternion[4], inverse_norm, matrix[9], inverse_z, u, v, inside_u, inside_v;
    T covariance, sharp, det, compensation, sigmoid;
};

template <class T>
NS_HD void turn_matrix(const T* turn, T* q, T& inverse_norm, T* m) {
    inverse_norm = 1.0f / Lanes<T>::sqrt(turn[0] * turn[0] + turn[1] * turn[1] + turn[2] * turn[2] + turn[3] * turn[3]);
    for (int i = 0; i < 4; ++i) q[i] = turn[i] * inverse_norm;
    const T w = q[0], x = q[1], y = q[2], z = q[3];
    m[0] = 1.0f - 2.0f * (y * y + z * z), m[1] = 2.0f * (x * y - w * z), m[2] = 2.0f * (x * z + w * y);
    m[3] = 2.0f * (x * y + w * z), m[4] = 1.0f - 2.0f * (x * x + z * z), m[5] = 2.0f * (y * z - w * x);
    m[6] = 2.0f * (x * z - w * y), m[7] = 2.0f * (y * z + w * x), m[8] = 1.0f - 2.0f * (x * x + y * y);
}

// The gradient by a rotation matrix → by the quaternion of any length.
template <class T>
NS_HD void turn_backward(const T* q, T inverse_norm, const T* d, T* d_turn) {
    const T w = q[0], x = q[1], y = q[2], z = q[3];
    const T dq[4] = {
        2.0f * (z * (d[3] - d[1]) + y * (d[2] - d[6]) + x * (d[7] - d[5])),
        2.0f * (y * (d[1] + d[3]) + z * (d[2] + d[6]) + w * (d[7] - d[5]) - 2.0f * x * (d[4] + d[8])),
        2.0f * (x * (d[1] + d[3]) + z * (d[5] + d[7]) + w * (d[2] - d[6]) - 2.0f * y * (d[0] + d[8])),
        2.0f * (x * (d[2] + d[6]) + y * (d[5] + d[7]) + w * (d[3] - d[1]) - 2.0f * z * (d[0] + d[4])),
    };
    const T along = q[0] * dq[0] + q[1] * dq[1] + q[2] * dq[2] + q[3] * dq[3];
    for (int i = 0; i < 4; ++i) d_turn[i] = (dq[i] - q[i] * along) * inverse_norm;
}

// The centre in the camera's axes.
template <class T>
NS_HD Triple<T> splat_in_camera(const SplatCamera& k, const Triple<T>& p) {
    return {p.x * k.pose[0] + p.y * k.pose[1] + p.z * k.pose[2] + k.pose[3],
            p.x * k.pose[4] + p.y * k.pose[5] + p.z * k.pose[6] + k.pose[7],
            p.x * k.pose[8] + p.y * k.pose[9] + p.z * k.pose[10] + k.pose[11]};
}

template <class T>
NS_HD void splat_project(const SplatCamera& k, const SplatGiven<T>& g, SplatFlat<T>& f) {
    f.camera = splat_in_camera(k, g.centre);
    f.depth = f.camera.z;
    const T zero = f.depth - f.depth, one = zero + 1.0f;
    f.inverse_z = 1.0f / f.camera.z;
    const T u = f.camera.x * f.inverse_z, v = f.camera.y * f.inverse_z;
    f.x = u * k.fx + k.cx, f.y = v * k.fy + k.cy;
    const float half_u = 0.5f * kBeyond * float(k.width) / k.fx, half_v = 0.5f * kBeyond * float(k.height) / k.fy;
    f.u = ns_min(ns_max(u, zero + (-k.cx / k.fx - half_u)), zero + ((float(k.width) - k.cx) / k.fx + half_u));
    f.v = ns_min(ns_max(v, zero + (-k.cy / k.fy - half_v)), zero + ((float(k.height) - k.cy) / k.fy + half_v));
    f.inside_u = f.u == u ? one : zero, f.inside_v = f.v == v ? one : zero;
    turn_matrix(g.turn, f.quaternion, f.inverse_norm, f.matrix);
    f.scale = {ns_exp(g.log_scale.x), ns_exp(g.log_scale.y), ns_exp(g.log_scale.z)};
    const T fx = f.inverse_z * k.fx, fy = f.inverse_z * k.fy;
    f.seen0 = {fx * (k.pose[0] - f.u * k.pose[8]), fx * (k.pose[1] - f.u * k.pose[9]), fx * (k.pose[2] - f.u * k.pose[10])};
    f.seen1 = {fy * (k.pose[4] - f.v * k.pose[8]), fy * (k.pose[5] - f.v * k.pose[9]), fy * (k.pose[6] - f.v * k.pose[10])};
    const T* m = f.matrix;
    const auto turned = [m](const Triple<T>& r) {
        return Triple<T>{r.x * m[0] + r.y * m[3] + r.z * m[6], r.x * m[1] + r.y * m[4] + r.z * m[7],
                         r.x * m[2] + r.y * m[5] + r.z * m[8]};
    };
    f.turned0 = turned(f.seen0), f.turned1 = turned(f.seen1);
    f.row0 = {f.turned0.x * f.scale.x, f.turned0.y * f.scale.y, f.turned0.z * f.scale.z};
    f.row1 = {f.turned1.x * f.scale.x, f.turned1.y * f.scale.y, f.turned1.z * f.scale.z};
    const T a = dot(f.row0, f.row0), c = dot(f.row1, f.row1);
    f.covariance = dot(f.row0, f.row1);
    const Triple<T> normal = cross(f.row0, f.row1);
    f.sharp = dot(normal, normal);
    f.det = f.sharp + (a + c) * kSplatBlur + kSplatBlur * kSplatBlur;
    f.variance_x = a + kSplatBlur, f.variance_y = c + kSplatBlur;
    f.half_a = 0.5f * f.variance_y / f.det;
    f.lean = -f.covariance / f.variance_y;
    f.half_c = 0.5f / f.variance_y;
    f.compensation = Lanes<T>::sqrt(f.sharp / f.det);
    f.sigmoid = ns_sigmoid(g.logit);
    f.opacity = f.sigmoid * f.compensation;
}

// 1 where all parameters are numbers and the Gaussian is before the camera and not too faint; else 0.
template <class T>
NS_HD T splat_drawable(const SplatCamera& k, const SplatGiven<T>& g, const SplatFlat<T>& f) {
    T sum = g.centre.x + g.centre.y + g.centre.z + g.log_scale.x + g.log_scale.y + g.log_scale.z + g.logit;
    for (int i = 0; i < 4; ++i) sum = sum + g.turn[i];
    sum = sum + f.x + f.y + f.half_a + f.lean + f.half_c + f.variance_x + f.variance_y + f.opacity;
    const T zero = f.depth * 0.0f, one = zero + 1.0f;
    T ok = sum * 0.0f == 0.0f * one ? one : zero;
    ok = f.depth > zero + k.near_plane ? ok : zero;
    ok = f.det < zero + kMostDeterminant ? ok : zero;
    return f.opacity >= zero + kLeastAlpha ? ok : zero;
}

// Gradients by a Gaussian in the picture: its centre, form and opacity.
template <class T>
struct SplatFlatGradient {
    T x, y, half_a, lean, half_c, opacity;
};
template <class T>
struct SplatGradient {
    Triple<T> centre, log_scale;
    T turn[4], logit;
};

// From what tiles added up.
template <class T>
NS_HD SplatFlatGradient<T> splat_sums_gradient(T half_a, T lean, T half_c, T opacity, T s, T se, T see, T sey, T sy, T syy) {
    const T x = -2.0f * half_a * se;
    return {x, x * lean - 2.0f * half_c * sy, see, 2.0f * half_a * sey, syy, -s / opacity};
}

template <class T>
NS_HD void splat_project_backward(const SplatCamera& k, const SplatFlat<T>& f, const SplatFlatGradient<T>& d,
                                  SplatGradient<T>& out) {
    out.logit = d.opacity * f.compensation * f.sigmoid * (1.0f - f.sigmoid);
    const T d_compensation = d.opacity * f.sigmoid, inverse_v = 2.0f * f.half_c, inverse_det = 1.0f / f.det;
    const T d_det = -(d.half_a * f.half_a + 0.5f * d_compensation * f.compensation) * inverse_det;
    const T d_sharp = d_det + 0.5f * d_compensation * f.compensation / f.sharp;
    const T d_a = d_det * kSplatBlur;
    const T d_c = d_a + 0.5f * d.half_a * inverse_det - (d.lean * f.lean + 0.5f * d.half_c * inverse_v) * inverse_v;
    const T d_b = -d.lean * inverse_v;
    const Triple<T> normal = cross(f.row0, f.row1);
    const Triple<T> c0 = cross(f.row1, normal), c1 = cross(normal, f.row0);
    const auto mixed = [](T p, const Triple<T>& a, T q, const Triple<T>& b, T r, const Triple<T>& c) {
        return Triple<T>{p * a.x + q * b.x + r * c.x, p * a.y + q * b.y + r * c.y, p * a.z + q * b.z + r * c.z};
    };
    const Triple<T> d0 = mixed(2.0f * d_a, f.row0, d_b, f.row1, 2.0f * d_sharp, c0);
    const Triple<T> d1 = mixed(2.0f * d_c, f.row1, d_b, f.row0, 2.0f * d_sharp, c1);
    out.log_scale = {d0.x * f.row0.x + d1.x * f.row1.x, d0.y * f.row0.y + d1.y * f.row1.y, d0.z * f.row0.z + d1.z * f.row1.z};
    const Triple<T> t0 = {d0.x * f.scale.x, d0.y * f.scale.y, d0.z * f.scale.z};
    const Triple<T> t1 = {d1.x * f.scale.x, d1.y * f.scale.y, d1.z * f.scale.z};
    const T d_matrix[9] = {
        f.seen0.x * t0.x + f.seen1.x * t1.x, f.seen0.x * t0.y + f.seen1.x * t1.y, f.seen0.x * t0.z + f.seen1.x * t1.z,
        f.seen0.y * t0.x + f.seen1.y * t1.x, f.seen0.y * t0.y + f.seen1.y * t1.y, f.seen0.y * t0.z + f.seen1.y * t1.z,
        f.seen0.z * t0.x + f.seen1.z * t1.x, f.seen0.z * t0.y + f.seen1.z * t1.y, f.seen0.z * t0.z + f.seen1.z * t1.z,
    };
    turn_backward(f.quaternion, f.inverse_norm, d_matrix, out.turn);
    const T* m = f.matrix;
    const auto back = [m](const Triple<T>& t) {
        return Triple<T>{t.x * m[0] + t.y * m[1] + t.z * m[2], t.x * m[3] + t.y * m[4] + t.z * m[5],
                         t.x * m[6] + t.y * m[7] + t.z * m[8]};
    };
    const Triple<T> p0 = back(t0), p1 = back(t1);
    // The Jacobian's entries: fx / z and -fx u / z, fy / z and -fy v / z.
    const auto with = [&k](const Triple<T>& p, int row) {
        return p.x * k.pose[4 * row] + p.y * k.pose[4 * row + 1] + p.z * k.pose[4 * row + 2];
    };
    const T j00 = with(p0, 0), j02 = with(p0, 2), j11 = with(p1, 1), j12 = with(p1, 2);
    const T d_u = d.x * k.fx - f.inside_u * f.inverse_z * k.fx * j02;
    const T d_v = d.y * k.fy - f.inside_v * f.inverse_z * k.fy * j12;
    const T d_inverse = (j00 - f.u * j02) * k.fx + (j11 - f.v * j12) * k.fy + d_u * f.camera.x + d_v * f.camera.y;
    const T dx = d_u * f.inverse_z, dy = d_v * f.inverse_z, dz = -d_inverse * f.inverse_z * f.inverse_z;
    out.centre = {dx * k.pose[0] + dy * k.pose[4] + dz * k.pose[8], dx * k.pose[1] + dy * k.pose[5] + dz * k.pose[9],
                  dx * k.pose[2] + dy * k.pose[6] + dz * k.pose[10]};
}

// The direction from the camera to a point: where the camera is must be taken from the centre.
NS_HD Vec3 splat_camera_centre(const SplatCamera& k) {
    const float* m = k.pose;
    return {-(m[0] * m[3] + m[4] * m[7] + m[8] * m[11]), -(m[1] * m[3] + m[5] * m[7] + m[9] * m[11]),
            -(m[2] * m[3] + m[6] * m[7] + m[10] * m[11])};
}

// Real spherical harmonics in a unit direction, as splat files order them (Kerbl et al. 2023). count: 1, 4, 9 or 16.
template <class T>
NS_HD void splat_basis(int count, T x, T y, T z, T* out) {
    out[0] = x * 0.0f + 0.28209479177387814f;
    if (count < 4) return;
    out[1] = -0.4886025119029199f * y, out[2] = 0.4886025119029199f * z, out[3] = -0.4886025119029199f * x;
    if (count < 9) return;
    const T xx = x * x, yy = y * y, zz = z * z;
    out[4] = 1.0925484305920792f * x * y, out[5] = -1.0925484305920792f * y * z;
    out[6] = 0.31539156525252005f * (2.0f * zz - xx - yy);
    out[7] = -1.0925484305920792f * x * z, out[8] = 0.5462742152960396f * (xx - yy);
    if (count < 16) return;
    out[9] = -0.5900435899266435f * y * (3.0f * xx - yy), out[10] = 2.890611442640554f * x * y * z;
    out[11] = -0.4570457994644658f * y * (4.0f * zz - xx - yy);
    out[12] = 0.3731763325901154f * z * (2.0f * zz - 3.0f * xx - 3.0f * yy);
    out[13] = -0.4570457994644658f * x * (4.0f * zz - xx - yy);
    out[14] = 1.445305721320277f * z * (xx - yy), out[15] = -0.5900435899266435f * x * (xx - 3.0f * yy);
}

// The gradient by the harmonics' values → by the direction (x, y, z), not yet kept on the sphere.
template <class T>
NS_HD Triple<T> splat_basis_backward(int count, T x, T y, T z, const T* d) {
    const T zero = x * 0.0f;
    Triple<T> g = {zero, zero, zero};
    if (count < 4) return g;
    g = {-0.4886025119029199f * d[3], -0.4886025119029199f * d[1], 0.4886025119029199f * d[2]};
    if (count < 9) return g;
    const float c0 = 1.0925484305920792f, c2 = 0.31539156525252005f, c4 = 0.5462742152960396f;
    g.x = g.x + c0 * (y * d[4] - z * d[7]) + 2.0f * x * (c4 * d[8] - c2 * d[6]);
    g.y = g.y + c0 * (x * d[4] - z * d[5]) - 2.0f * y * (c4 * d[8] + c2 * d[6]);
    g.z = g.z - c0 * (y * d[5] + x * d[7]) + 4.0f * c2 * z * d[6];
    if (count < 16) return g;
    const float e0 = 0.5900435899266435f, e1 = 2.890611442640554f, e2 = 0.4570457994644658f, e3 = 0.3731763325901154f,
                e5 = 1.445305721320277f;
    const T xx = x * x, yy = y * y, zz = z * z, xy = x * y, yz = y * z, xz = x * z;
    g.x = g.x - e0 * (6.0f * xy * d[9] + 3.0f * (xx - yy) * d[15]) + e1 * yz * d[10] + 2.0f * e2 * xy * d[11] -
          6.0f * e3 * xz * d[12] - e2 * (4.0f * zz - 3.0f * xx - yy) * d[13] + 2.0f * e5 * xz * d[14];
    g.y = g.y - e0 * (3.0f * (xx - yy) * d[9] - 6.0f * xy * d[15]) + e1 * xz * d[10] -
          e2 * (4.0f * zz - xx - 3.0f * yy) * d[11] - 6.0f * e3 * yz * d[12] + 2.0f * e2 * xy * d[13] -
          2.0f * e5 * yz * d[14];
    g.z = g.z + e1 * xy * d[10] - 8.0f * e2 * (yz * d[11] + xz * d[13]) +
          3.0f * e3 * (2.0f * zz - xx - yy) * d[12] + e5 * (xx - yy) * d[14];
    return g;
}

// A colour from its harmonics, not below 0.
NS_HD void splat_color(int count, const float* basis, const float* harmonics, float* color) {
    float c[3] = {0.5f, 0.5f, 0.5f};
    for (int i = 0; i < count; ++i)
        for (int j = 0; j < 3; ++j) c[j] += basis[i] * harmonics[3 * i + j];
    for (int j = 0; j < 3; ++j) color[j] = c[j] < 0.0f ? 0.0f : c[j];
}

// A unit direction (x, y, z), the inverse distance.
NS_HD Vec3 splat_direction(Vec3 eye, const float* centre, float& inverse) {
    const Vec3 d = {centre[0] - eye.x, centre[1] - eye.y, centre[2] - eye.z};
    const float squared = dot(d, d);
    inverse = squared > 0.0f ? 1.0f / sqrtf(squared) : 0.0f;
    return d * inverse;
}

// The gradient by the colour → by the harmonics, and added to that by the centre.
NS_HD void splat_color_backward(int count, Vec3 eye, const float* centre, const float* harmonics, const float* color,
                                const float* d_color, float* d_harmonics, float* d_centre) {
    float inverse, basis[kMostHarmonics], d_basis[kMostHarmonics], d[3];
    const Vec3 v = splat_direction(eye, centre, inverse);
    for (int j = 0; j < 3; ++j) d[j] = color[j] > 0.0f ? d_color[j] : 0.0f;
    splat_basis(count, v.x, v.y, v.z, basis);
    for (int i = 0; i < count; ++i) {
        const float* h = harmonics + 3 * i;
        d_basis[i] = d[0] * h[0] + d[1] * h[1] + d[2] * h[2];
        for (int j = 0; j < 3; ++j) d_harmonics[3 * i + j] = basis[i] * d[j];
    }
    const Triple<float> g = splat_basis_backward(count, v.x, v.y, v.z, d_basis);
    const float along = g.x * v.x + g.y * v.y + g.z * v.z;
    d_centre[0] += (g.x - v.x * along) * inverse;
    d_centre[1] += (g.y - v.y * along) * inverse;
    d_centre[2] += (g.z - v.z * along) * inverse;
}

// The columns [first, last] of pixels between two rows' centres that a Gaussian's ellipse meets, as coordinates.
// low and high: dy of the rows. Returns false if it meets none.
NS_HD bool splat_span(const Splat& s, float low, float high, float& first, float& last) {
    low = ns_max(low, -s.reach_y), high = ns_min(high, s.reach_y);
    if (!(low <= high)) return false;
    const float inverse_a = 1.0f / s.half_a;
    const auto half = [&](float dy) { return sqrtf(ns_max(0.0f, (s.limit - s.half_c * dy * dy) * inverse_a)); };
    // The ellipse is widest to the right at dy = `at`, where its tangent is vertical, and to the left at -at. Where the rows
    // don't contain that, it is at the row nearest to it.
    const float at = -s.lean * s.reach_y * s.reach_y / s.reach_x;
    const float right = ns_min(ns_max(at, low), high), left = ns_min(ns_max(-at, low), high);
    last = s.x - s.lean * right + half(right);
    first = s.x - s.lean * left - half(left);
    return true;
}

// The columns [left, right] of tiles, in one row of them, whose pixels' centres a Gaussian's ellipse meets. Returns false if
// it meets none.
NS_HD bool splat_tiles(const Splat& s, const SplatCamera& k, int across, int row, int& left, int& right) {
    const float size = float(kSplatTile), to_window = -float(k.left) - 0.5f;  // x to columns
    float first, last;
    const float low = float(row) * size + float(k.top) + 0.5f - s.y;
    if (!splat_span(s, low, low + size - 1.0f, first, last)) return false;
    first += to_window, last += to_window;
    if (!(last >= 0.0f) || !(first <= float(k.columns - 1))) return false;
    left = first > 0.0f ? int(first / size) : 0, right = int(ns_min(last / size, float(across - 1)));
    return left <= right;
}
// The rows [top, bottom] of tiles that it may meet.
NS_HD bool splat_tile_rows(const Splat& s, const SplatCamera& k, int down, int& top, int& bottom) {
    const float y = s.y - float(k.top) - 0.5f, low = (y - s.reach_y) / kSplatTile, high = (y + s.reach_y) / kSplatTile;
    if (!(s.reach_y >= 0.0f) || !(high >= 0.0f) || !(low <= float(down))) return false;
    top = low > 0.0f ? int(low) : 0, bottom = int(ns_min(high, float(down - 1)));
    return true;
}

// A Gaussian in the picture, with its colour; it has no tiles yet.
NS_HD Splat splat_finished(const SplatArrays& a, Vec3 eye, const SplatCandidate& c) {
    Splat s;
    s.x = c.x, s.y = c.y, s.half_a = c.half_a, s.lean = c.lean, s.half_c = c.half_c, s.opacity = c.opacity;
    s.limit = c.limit, s.depth = c.depth, s.reach_x = c.reach_x, s.reach_y = c.reach_y, s.index = c.index;
    float inverse, basis[kMostHarmonics];
    const Vec3 d = splat_direction(eye, a.centres + 3 * size_t(c.index), inverse);
    splat_basis(a.count, d.x, d.y, d.z, basis);
    splat_color(a.count, basis, a.harmonics + 3 * size_t(a.count) * c.index, s.color);
    const float sum = s.color[0] + s.color[1] + s.color[2];
    if (!(sum * 0.0f == 0.0f)) s.limit = s.reach_y = -1.0f;  // no colour: in no tile
    s.first_slot = s.slots = 0;
    return s;
}

// One Gaussian's sums over its tiles; returns false if it has weight in none. places: where the sums of each slot are; null:
// in the order of slots.
NS_HD bool splat_add_up(const SplatSums* sums, const uint8_t* touched, const uint32_t* places, const Splat& s, SplatSums& sum) {
    sum = {};
    for (uint32_t slot = s.first_slot; slot < s.first_slot + s.slots; ++slot) {
        const uint32_t at = places ? places[slot] : slot;
        if (!touched[at]) continue;
        const SplatSums& t = sums[at];
        sum.s += t.s, sum.se += t.se, sum.see += t.see, sum.sey += t.sey, sum.sy += t.sy, sum.syy += t.syy;
        for (int c = 0; c < 3; ++c) sum.color[c] += t.color[c];
        sum.pull_x += t.pull_x, sum.pull_y += t.pull_y, sum.pixels += t.pixels;
        sum.weight = ns_max(sum.weight, t.weight);
    }
    return sum.pixels > 0;
}

// The largest of a Gaussian's scales, by which its centre moves; 1 where rates are not shares of it.
NS_HD float splat_size(const SplatAdam& a, int64_t i) {
    if (!a.log_scales) return 1.0f;
    const float* scales = a.log_scales + 3 * i;
    return ns_exp(ns_max(ns_max(scales[0], scales[1]), scales[2]));
}

// A number of the photo, 0 to 1, and a pixel's weight.
NS_HD float loss_photo(const PhotoLoss& p, size_t i) { return p.photo ? p.photo[i] : float(p.bytes[i]) * (1.0f / 255.0f); }
NS_HD float loss_given_weight(const PhotoLoss& p, size_t pixel) { return p.weights ? p.weights[pixel] : 1.0f; }

// The window of the structural similarity: a Gaussian of 1.5 pixels.
NS_HD void loss_taps(float* taps) {
    float sum = 0.0f;
    for (int i = 0; i < kLossTaps; ++i) {
        const float at = float(i - kLossReach);
        taps[i] = ns_exp(-at * at / 4.5f), sum += taps[i];
    }
    for (int i = 0; i < kLossTaps; ++i) taps[i] /= sum;
}

// A loss's figures from the sums of its rows: the loss, the mean squared error, and the gains' gradients.
NS_HD void loss_found(const PhotoLoss& p, float* found) {
    double sums[6] = {};
    for (int row = 0; row < p.rows; ++row)
        for (int i = 0; i < 6; ++i) sums[i] += p.sums[6 * size_t(row) + i];
    const double by = p.total > 0 ? 1.0 / p.total : 0.0, share = double(p.share);
    found[0] = float((1.0 - share) * sums[0] * by + share * (1.0 - sums[2] * by)), found[1] = float(sums[1] * by);
    for (int c = 0; c < 3; ++c) found[2 + c] = float(sums[3 + c]);
}

NS_END
