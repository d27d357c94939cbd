// Compositing samples along a ray into its colour, and the gradients (Max 1995; NeRF's quadrature).
#pragma once
#include "platform.h"

NS_BEGIN

// The opacity of a step: 1 - exp(-density · length).
template <class T>
NS_HD T step_alpha(T density, T length) { return 1.0f - ns_exp(-density * length); }

// The gradient of the loss with respect to one sample's density. Call it for a ray's samples from the last to the first.
// With q_j = ∂L/∂w_j, `behind` is T_final q_background + Σ_{j>i} w_j q_j. The caller initialises it with the first
// term, and each call adds its sample to the sum. Formula: ∂L/∂σ_i = δ_i ((T_i - w_i) q_i - behind).
NS_HD float density_gradient(float length, float transmittance, float weight, float q, float& behind) {
    const float g = length * ((transmittance - weight) * q - behind);
    behind += weight * q;
    return g;
}

// The Huber loss of one channel (quadratic for errors up to `delta`), and its derivative.
NS_HD float huber(float error, float delta) {
    const float a = ns_abs(error);
    return a <= delta ? 0.5f * a * a : delta * (a - 0.5f * delta);
}
NS_HD float huber_gradient(float error, float delta) { return ns_max(-delta, ns_min(delta, error)); }

// The gradient of the distortion loss with respect to one sample's weight. The loss (mip-NeRF 360, eq. 15) reduces fog:
// Σ_ij w_i w_j |m_i - m_j| + ⅓ Σ w_i² Δ_i, with mid-points m and widths Δ, here both of log distance. `w_before` and
// `wm_before` are sums of w and w m over the samples in front of this one; the totals are over the whole ray.
NS_HD float distortion_gradient(float w, float m, float width, float w_before, float wm_before,
                                float w_total, float wm_total) {
    const float w_after = w_total - w_before - w, wm_after = wm_total - wm_before - w * m;
    return 2.0f * (m * (w_before - w_after) + wm_after - wm_before) + (2.0f / 3.0f) * w * width;
}

// The gradient of the sky loss, Σ_i w_i max(log(distance / t_i), 0), with respect to the weight of a sample at t. The loss
// moves what may be sky away from the cameras, up to `distance`. Without it, sky can end up at any distance, because
// a plain sky has no features that show how far away it is.
NS_HD float sky_gradient(float t, float distance) { return t < distance ? logf(distance / t) : 0.0f; }
// The same from logarithms, which a CPU finds for many samples at once.
NS_HD float sky_gradient_by_logs(float log_t, float log_distance) { return ns_max(log_distance - log_t, 0.0f); }

// The gradient of the depth loss with respect to the weight of a sample at t. The loss applies to rays with a `known`
// distance to the surface (like DS-NeRF, Deng et al. 2022, but robust). It is Σ_i w_i c(t_i) + T_final · most, with
// c(t) = |log(t / known)| - slack, clamped to 0 … most. The part of a ray that reaches the background costs `most`;
// otherwise a transparent ray would have the lowest loss.
NS_HD float depth_gradient_by_log(float log_off, float slack, float most) {
    return ns_min(ns_max(ns_abs(log_off) - slack, 0.0f), most);
}
NS_HD float depth_gradient(float t, float known, float slack, float most) {
    return depth_gradient_by_log(logf(t / known), slack, most);
}

// The factor for the gradient of a sample that is close to its camera: (t / t_full)² up to t_full, then 1. Space near
// the cameras is sampled far more densely than the rest, and without this factor floaters grow there (Philip &
// Deschaintre, "Floaters No More", 2023).
NS_HD float near_gradient_scale(float t, float t_full) {
    if (t >= t_full) return 1.0f;
    const float r = t / t_full;
    return r * r;
}

NS_END
