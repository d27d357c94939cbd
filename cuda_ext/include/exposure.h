// Photos of one scene differ in exposure and white balance. So each photo has three gains, and the scene's colours are
// multiplied by them before they are compared with the photo. The gains are stored as logarithms with mean 0 over all
// photos, so that the scene itself has the photos' mean exposure (as in Müller et al., instant-ngp, and long before in
// panorama stitching).
#pragma once
#include "adam.h"
#include "composite.h"

NS_BEGIN

// One channel of a ray's colour as a photo with log-gain `exposure` shows it; `color` = Σ w rgb. The background has no
// gain, since it stands for nothing that was photographed.
NS_HD float exposed(float color, float exposure) { return color * ns_exp(exposure); }

// The gradient with respect to the log-gain, from the one with respect to the exposed colour. `pull` is the weight of
// ½ exposure², which every ray adds to the loss.
NS_HD float exposure_gradient(float d_exposed, float exposed_color, float exposure, float pull) {
    return d_exposed * exposed_color + pull * exposure;
}

// Updates one photo's exposure from the sum of its rays' gradients. Without a gradient even the moments stay.
NS_HD void update_exposure(const AdamStep& step, const float* gradient, float* exposure, float* moments) {
    if (gradient[0] == 0.0f && gradient[1] == 0.0f && gradient[2] == 0.0f) return;
    for (int c = 0; c < 3; ++c) adam(step, gradient[c], exposure[c], moments[c], moments[3 + c]);
}

NS_END
