// Camera refinement: gradients with respect to samples' positions → gradients of the camera whose ray they are on.
//
// The samples' distances along the ray and the viewing direction of their colours are held fixed, so the camera's
// gradient comes from the samples' positions alone.
#pragma once
#include "camera.h"
#include "march.h"

NS_BEGIN

NS_HD Vec3 cross(Vec3 a, Vec3 b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

// The gradient `g` with respect to a unit-cube point → the gradient with respect to its scene point. The contraction is
// p · f(m) / 4 + 1/2, with f(m) = (2 - 1/m) / m and m the largest coordinate. Where to_unit has moved a coordinate into the
// cube, it doesn't change.
NS_HD Vec3 to_unit_gradient(const Space& space, Vec3 unit, Vec3 g) {
    if (space.ahead.on) {
        const Ahead& ahead = space.ahead;
        const float inverse = ns_max(1.0f - unit.z / ahead.share, 0.0f);
        const float ga = unit.x > 0 && unit.x < 1 ? 0.5f * g.x * inverse : 0.0f;
        const float gb = unit.y > 0 && unit.y < 1 ? 0.5f * g.y * inverse : 0.0f;
        const float across = ga * (2.0f * unit.x - 1.0f) + gb * (2.0f * unit.y - 1.0f);
        const float gc = unit.z > 0 ? ahead.share * g.z * inverse * inverse - across : 0.0f;
        const float* m = ahead.view_from_scene;
        return {m[0] * ga + m[4] * gb + m[8] * gc, m[1] * ga + m[5] * gb + m[9] * gc, m[2] * ga + m[6] * gb + m[10] * gc};
    }
    if (!space.unbounded) return g * 0.5f;
    const Vec3 p = from_unit(space, unit);
    const float ax = ns_abs(p.x), ay = ns_abs(p.y), az = ns_abs(p.z), m = ns_max(ns_max(ax, ay), az);
    if (m <= 1.0f) return g * 0.25f;
    const float inverse = 1.0f / m;
    Vec3 out = g * (0.25f * (2.0f - inverse) * inverse);
    const float pull = dot(g, p) * 0.5f * inverse * inverse * (inverse - 1.0f);
    if (ax == m)
        out.x += p.x < 0 ? -pull : pull;
    else if (ay == m)
        out.y += p.y < 0 ? -pull : pull;
    else
        out.z += p.z < 0 ? -pull : pull;
    return out;
}

// The gradient `g` with respect to a direction from pixel_direction (in the camera's frame) → the gradients with
// respect to the distorted image-plane coordinates (xd, yd) and to the distortion coefficients (added to `k`).
NS_HD void direction_gradient(const CameraDesc& c, float xd, float yd, Vec3 direction, Vec3 g, float& g_xd, float& g_yd,
                              float* k) {
    if (c.lens == kFisheye) {
        const float radius = sqrtf(xd * xd + yd * yd);
        if (radius <= 1e-9f) {
            g_xd = g.x, g_yd = g.y;
            return;
        }
        const float ex = xd / radius, ey = yd / radius;
        const float sine = sqrtf(direction.x * direction.x + direction.y * direction.y), cosine = direction.z;
        const float theta = atan2f(sine, cosine), t2 = theta * theta;
        const float* q = c.distortion;
        const float slope = 1 + t2 * (3 * q[0] + t2 * (5 * q[1] + t2 * (7 * q[2] + t2 * 9 * q[3])));
        const float along = g.x * ex + g.y * ey;
        const float g_theta = along * cosine - g.z * sine, g_radius = g_theta / slope;
        float power = theta;
        for (int i = 0; i < 4; ++i) {
            power *= t2;
            k[i] -= g_radius * power;
        }
        const float turn = sine / radius;
        g_xd = turn * (g.x - ex * along) + ex * g_radius;
        g_yd = turn * (g.y - ey * along) + ey * g_radius;
        return;
    }
    // direction = (x, y, 1) / |(x, y, 1)|, so |(x, y, 1)| is 1 / direction.z.
    const float x = direction.x / direction.z, y = direction.y / direction.z, along = dot(g, direction);
    const float g_x = (g.x - direction.x * along) * direction.z, g_y = (g.y - direction.y * along) * direction.z;
    // (x, y) solves distort(k, x, y) = (xd, yd): its gradient follows from the implicit function theorem, with the
    // transposed Jacobian.
    const float* q = c.distortion;
    const float r2 = x * x + y * y, radial = 1.0f + r2 * (q[0] + r2 * (q[1] + r2 * q[4]));
    const float slope = 2.0f * (q[0] + r2 * (2.0f * q[1] + r2 * 3.0f * q[4]));  // 2 d radial / d r2
    const float xx = radial + x * x * slope + 2.0f * q[2] * y + 6.0f * q[3] * x;
    const float xy = x * y * slope + 2.0f * q[2] * x + 2.0f * q[3] * y;  // and yx, which is equal
    const float yy = radial + y * y * slope + 6.0f * q[2] * y + 2.0f * q[3] * x;
    const float inverse = 1.0f / (xx * yy - xy * xy);
    g_xd = (yy * g_x - xy * g_y) * inverse;
    g_yd = (xx * g_y - xy * g_x) * inverse;
    const float outward = g_xd * x + g_yd * y;
    k[0] -= outward * r2;
    k[1] -= outward * r2 * r2;
    k[2] -= g_xd * 2.0f * x * y + g_yd * (r2 + 2.0f * y * y);
    k[3] -= g_xd * (r2 + 2.0f * x * x) + g_yd * 2.0f * x * y;
    k[4] -= outward * r2 * r2 * r2;
}

// One ray's gradients with respect to its origin and direction (d_ray, 6) → its camera's gradient (out,
// kCameraGradient), which is overwritten.
NS_HD void camera_gradient(const CameraDesc& c, float px, float py, const float* d_ray, float* out) {
    Vec3 origin, direction;
    pixel_ray(c, px, py, origin, direction);
    const Vec3 g = {d_ray[3], d_ray[4], d_ray[5]}, turn = cross(direction, g);
    out[0] = turn.x, out[1] = turn.y, out[2] = turn.z;
    for (int i = 0; i < 3; ++i) out[3 + i] = d_ray[i];
    const float* m = c.pose;
    auto into_camera = [&](Vec3 v) -> Vec3 {
        return {m[0] * v.x + m[4] * v.y + m[8] * v.z, m[1] * v.x + m[5] * v.y + m[9] * v.z,
                m[2] * v.x + m[6] * v.y + m[10] * v.z};
    };
    const float xd = (px - c.cx) / c.fx, yd = (py - c.cy) / c.fy;
    float g_xd, g_yd, k[5] = {0, 0, 0, 0, 0};
    direction_gradient(c, xd, yd, into_camera(direction), into_camera(g), g_xd, g_yd, k);
    out[6] = -g_xd * xd / c.fx;
    out[7] = -g_yd * yd / c.fy;
    out[8] = -g_xd / c.fx;
    out[9] = -g_yd / c.fy;
    for (int i = 0; i < 5; ++i) out[10 + i] = k[i];
}

NS_END
