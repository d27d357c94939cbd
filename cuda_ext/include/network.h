// The networks' element-wise parts: activations and the view direction's basis.
#pragma once
#include "platform.h"

NS_BEGIN

// Density = exp(the network's first output + kDensityShift). The limit keeps it finite when early training overshoots.
constexpr float kDensityShift = -1.0f;
constexpr float kDensityLimit = 12.0f;
template <class T>
NS_HD T density_activation(T x) {
    return ns_exp(ns_min(x + kDensityShift, (x - x) + kDensityLimit));
}
// d density / d x, computed from the density.
NS_HD float density_activation_gradient(float density) { return density; }

NS_HD float color_gradient(float color) { return color * (1.0f - color); }  // of the sigmoid

// Real spherical harmonics of a unit direction up to degree 3 (16 values; the first 9 are degree 2).
template <class T>
NS_HD void spherical_harmonics(T x, T y, T z, T* out, bool degree3) {
    const T xx = x * x, yy = y * y, zz = z * z, one = (x - x) + 1.0f;
    out[0] = one * 0.28209479f;
    out[1] = y * -0.48860251f;
    out[2] = z * 0.48860251f;
    out[3] = x * -0.48860251f;
    out[4] = x * y * 1.09254843f;
    out[5] = y * z * -1.09254843f;
    out[6] = zz * 0.94617470f - 0.31539157f;
    out[7] = x * z * -1.09254843f;
    out[8] = (xx - yy) * 0.54627422f;
    if (!degree3) return;
    out[9] = y * (xx * -3.0f + yy) * 0.59004359f;
    out[10] = x * y * z * 2.89061144f;
    out[11] = y * (one - zz * 5.0f) * 0.45704580f;
    out[12] = z * (zz * 5.0f - 3.0f) * 0.37317633f;
    out[13] = x * (one - zz * 5.0f) * 0.45704580f;
    out[14] = z * (xx - yy) * 1.44530572f;
    out[15] = x * (xx - yy * 3.0f) * -0.59004359f;
}

NS_END
