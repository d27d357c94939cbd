// Photos of one scene differ in exposure and white balance. So each photo has three gains, and rendered colours are
// multiplied by them before they are compared with the photo. The gains are stored as logarithms with mean 0 over all
// photos, so the scene itself has the photos' mean exposure. (instant-ngp does the same, and so did panorama stitching
// long before.)
#pragma once
#include "adam.h"
#include "composite.h"

NS_BEGIN

// One channel of a ray's colour, Σ w rgb, as a photo with log-gain `exposure` shows it. The background gets no gain,
// because it was not photographed.
NS_HD float exposed(float color, float exposure) { return color * ns_exp(exposure); }

// The gradient with respect to the log-gain, given the gradient with respect to the exposed colour. `pull` is the
// weight of the regularisation ½ exposure², which every ray adds to the loss.
NS_HD float exposure_gradient(float d_exposed, float exposed_color, float exposure, float pull) {
    return d_exposed * exposed_color + pull * exposure;
}

// Updates one photo's exposure from the sum of its rays' gradients. Does nothing if the gradient is zero.
NS_HD void update_exposure(const AdamStep& step, const float* gradient, float* exposure, float* moments) {
    if (gradient[0] == 0.0f && gradient[1] == 0.0f && gradient[2] == 0.0f) return;
    for (int c = 0; c < 3; ++c) adam(step, gradient[c], exposure[c], moments[c], moments[3 + c]);
}

NS_END
