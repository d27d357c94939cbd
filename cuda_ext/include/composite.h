// Samples along one ray → its colour, and back (Max 1995; NeRF's quadrature).
#pragma once
#include "platform.h"

NS_BEGIN

// Alpha of a step: 1 - exp(-density · length).
NS_HD float step_alpha(float density, float length) { return 1.0f - ns_exp(-density * length); }

// Gradient of the loss with respect to one sample's density, walking a ray from its last sample to its
// first. `behind` is Σ_{j>i} w_j q_j + T_final q_background (the caller starts it at the latter), where
// q_j = ∂L/∂w_j. Formula: ∂L/∂σ_i = δ_i ((T_i - w_i) q_i - behind).
NS_HD float density_gradient(float length, float transmittance, float weight, float q, float& behind) {
    const float g = length * ((transmittance - weight) * q - behind);
    behind += weight * q;
    return g;
}

// Huber's loss on one channel and its derivative, quadratic below `delta`.
NS_HD float huber(float error, float delta) {
    const float a = ns_abs(error);
    return a <= delta ? 0.5f * a * a : delta * (a - 0.5f * delta);
}
NS_HD float huber_gradient(float error, float delta) { return ns_max(-delta, ns_min(delta, error)); }

// The distortion loss against fog (mip-NeRF 360, eq. 15): Σ_ij w_i w_j |m_i - m_j| + ⅓ Σ w_i² Δ_i over
// mid-points m and widths Δ, here of log distance. Its gradient for a sample, from running sums:
// `w_before`, `wm_before` over the samples in front, and the ray's totals.
NS_HD float distortion_gradient(float w, float m, float width, float w_before, float wm_before,
                                float w_total, float wm_total) {
    const float w_after = w_total - w_before - w, wm_after = wm_total - wm_before - w * m;
    return 2.0f * (m * (w_before - w_after) + wm_after - wm_before) + (2.0f / 3.0f) * w * width;
}

// What may be sky is pulled away from the cameras, up to a distance: Σ_i w_i max(log(distance / t_i), 0), here by a
// weight. Else it ends anywhere in front of what is behind it, for nothing in a plain sky tells where it is.
NS_HD float sky_gradient(float t, float distance) { return t < distance ? logf(distance / t) : 0.0f; }

// Where what a ray sees is `known` (as DS-NeRF: Deng et al. 2022, but robust): Σ_i w_i c(t_i) + T_final · most, with
// c(t) = |log(t / known)| less `slack`, from 0 to `most`; here by a weight. What reaches the background costs
// `most`; otherwise the cheapest ray would be a transparent one.
NS_HD float depth_gradient(float t, float known, float slack, float most) {
    return ns_min(ns_max(ns_abs(logf(t / known)) - slack, 0.0f), most);
}

// What a sample's gradient is multiplied by when it lies close to its camera: near space is sampled far
// more densely than the rest, and unscaled it grows floaters (Philip & Deschaintre, "Floaters No More",
// 2023: (t / t_full)² up to t_full).
NS_HD float near_gradient_scale(float t, float t_full) {
    if (t >= t_full) return 1.0f;
    const float r = t / t_full;
    return r * r;
}

NS_END
