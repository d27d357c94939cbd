// Pixel → ray, for common lenses. Camera axes are OpenCV's: x right, y down, z forward.
#pragma once
#include "desc.h"
#include "platform.h"

NS_BEGIN

// OpenCV's model without the rational terms: undistorted (x, y) → distorted.
NS_HD void distort(const float* k, float x, float y, float& xd, float& yd) {
    const float r2 = x * x + y * y;
    const float radial = 1.0f + r2 * (k[0] + r2 * (k[1] + r2 * k[4]));
    xd = x * radial + 2.0f * k[2] * x * y + k[3] * (r2 + 2.0f * x * x);
    yd = y * radial + k[2] * (r2 + 2.0f * y * y) + 2.0f * k[3] * x * y;
}

// The inverse, by fixed-point iteration. It converges for every lens whose distortion is one-to-one over the picture.
NS_HD void undistort(const float* k, float xd, float yd, float& x, float& y) {
    x = xd;
    y = yd;
    if (k[0] == 0.0f && k[1] == 0.0f && k[2] == 0.0f && k[3] == 0.0f && k[4] == 0.0f) return;
    for (int i = 0; i < 20; ++i) {
        const float r2 = x * x + y * y;
        const float radial = 1.0f + r2 * (k[0] + r2 * (k[1] + r2 * k[4]));
        const float dx = 2.0f * k[2] * x * y + k[3] * (r2 + 2.0f * x * x);
        const float dy = k[2] * (r2 + 2.0f * y * y) + 2.0f * k[3] * x * y;
        const float nx = (xd - dx) / radial, ny = (yd - dy) / radial;
        const float change = ns_abs(nx - x) + ns_abs(ny - y);
        x = nx;
        y = ny;
        if (change < 1e-6f) break;
    }
}

// The picture of the right eye lies right of the left one's, in whose middle cx is.
NS_HD bool in_right_eye(const CameraDesc& c, float px) { return c.lens == kStereo180 && px >= 2.0f * c.cx; }

// The unit direction of the ray through (px, py), in the camera's frame. Pixel centres are at + 0.5.
NS_HD Vec3 pixel_direction(const CameraDesc& c, float px, float py) {
    if (c.lens == kOrthographic) return {0.0f, 0.0f, 1.0f};
    if (in_right_eye(c, px)) px -= 2.0f * c.cx;
    const float xd = (px - c.cx) / c.fx, yd = (py - c.cy) / c.fy;
    Vec3 d;
    if (c.lens == kFisheye) {
        // OpenCV's fisheye: radius = θ (1 + k1 θ² + k2 θ⁴ + k3 θ⁶ + k4 θ⁸), solved for θ by Newton.
        const float radius = sqrtf(xd * xd + yd * yd);
        const float* k = c.distortion;
        float theta = radius;
        for (int i = 0; i < 10; ++i) {
            const float t2 = theta * theta;
            const float f = theta * (1 + t2 * (k[0] + t2 * (k[1] + t2 * (k[2] + t2 * k[3])))) - radius;
            const float df = 1 + t2 * (3 * k[0] + t2 * (5 * k[1] + t2 * (7 * k[2] + t2 * 9 * k[3])));
            const float change = f / df;
            theta -= change;
            if (ns_abs(change) <= 1e-7f * theta) break;
        }
        const float s = radius > 1e-9f ? sinf(theta) / radius : 1.0f;
        d = {xd * s, yd * s, cosf(theta)};
    } else if (c.lens == kEquirectangular || c.lens == kStereo180) {
        const float across = cosf(yd);  // xd: longitude to the right; yd: latitude downwards
        d = {across * sinf(xd), sinf(yd), across * cosf(xd)};
    } else {
        float x, y;
        undistort(c.distortion, xd, yd, x, y);
        d = {x, y, 1.0f};
    }
    // Where distortion folds the picture over, the iterations may end in a division by 0. A direction that is not
    // finite would make a ray march through cells that don't exist.
    const float squared = dot(d, d);
    if (!(squared > 0.0f && squared < 1.0e30f)) return {0.0f, 0.0f, 1.0f};
    return d * (1.0f / sqrtf(squared));
}

NS_HD void pixel_ray(const CameraDesc& c, float px, float py, Vec3& origin, Vec3& direction) {
    const Vec3 d = pixel_direction(c, px, py);
    const float* m = c.pose;
    origin = {m[3], m[7], m[11]};
    if (c.lens == kOrthographic) {
        const float x = (px - c.cx) / c.fx, y = (py - c.cy) / c.fy;
        origin = {m[3] + m[0] * x + m[1] * y, m[7] + m[4] * x + m[5] * y, m[11] + m[8] * x + m[9] * y};
    } else if (c.lens == kStereo180) {
        const float x = (in_right_eye(c, px) ? 0.5f : -0.5f) * c.distortion[0];
        origin = {m[3] + m[0] * x, m[7] + m[4] * x, m[11] + m[8] * x};
    }
    direction = {m[0] * d.x + m[1] * d.y + m[2] * d.z, m[4] * d.x + m[5] * d.y + m[6] * d.z,
                 m[8] * d.x + m[9] * d.y + m[10] * d.z};
}

NS_END
