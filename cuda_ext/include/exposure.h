// Photos of one scene differ in exposure and white balance: each multiplies the scene's colours by three gains
// of its own before they are compared with it. Kept as logarithms whose mean over photos is 0, so that the scene
// itself has the photos' mean exposure (as in Müller et al., instant-ngp, and in panorama stitching long before).
#pragma once
#include "adam.h"
#include "composite.h"

NS_BEGIN

// The colour that a photo with log-gain `exposure` shows of a ray: `color` = Σ w rgb, one channel. The background
// is what it is: it stands for nothing that was photographed.
NS_HD float exposed(float color, float exposure) { return color * ns_exp(exposure); }

// Gradient with respect to the log-gain, from that with respect to the exposed colour; `pull` is the weight of
// ½ exposure², which every ray adds to the loss.
NS_HD float exposure_gradient(float d_exposed, float exposed_color, float exposure, float pull) {
    return d_exposed * exposed_color + pull * exposure;
}

// One photo's update from the sum of its rays' gradients; photos without any keep even their moments.
NS_HD void update_exposure(const AdamStep& step, const float* gradient, float* exposure, float* moments) {
    if (gradient[0] == 0.0f && gradient[1] == 0.0f && gradient[2] == 0.0f) return;
    for (int c = 0; c < 3; ++c) adam(step, gradient[c], exposure[c], moments[c], moments[3 + c]);
}

NS_END
