// Finds features in a photo and describes them; sift.h has the parts that take time.
#pragma once
#include "driver.h"

namespace nerfscene {

struct SiftOptions {
    float contrast;  // of a feature, at least; pixels are 0 to 1
    float edge;      // its curvature in one direction is at most this many times that in the other
    int most;        // features: the largest are kept
};

// Writes x, y, scale and direction (radians) of each feature, the largest first, and 128 bytes that describe it.
// Returns their number.
int sift(const Kernels& kernels, const uint8_t* image, int width, int height, const SiftOptions& options,
         float* keypoints, uint8_t* descriptors);

}  // namespace nerfscene
