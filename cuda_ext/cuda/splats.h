// What the CUDA module's bindings call to draw Gaussians. All pointers are to device memory. Needs no CUDA headers.
#pragma once
#include <memory>

#include "../include/splats.h"
#include "runtime.h"

namespace nerfscene {

// Pictures of Gaussians on a GPU, with the memory that the way back needs.
class GpuSplatter {
  public:
    GpuSplatter();
    ~GpuSplatter();
    // rgb, alpha and depth: (rows, columns[, 3]). Waits for the device.
    void draw(const SplatCamera& camera, const SplatArrays& arrays, const float* background, float* rgb, float* alpha,
              float* depth);
    // After `draw` of the same arrays. Overwrites all of the gradients.
    void backward(const SplatArrays& arrays, const float* d_rgb, const float* d_alpha, const SplatGradients& to);
    int drawn() const { return drawn_; }  // Gaussians in the last picture; below 0: there is none
    int given() const { return given_; }  // all Gaussians of the last picture
    const SplatCamera& camera() const { return camera_; }

  private:
    struct Work;
    std::unique_ptr<Work> work_;
    SplatCamera camera_{};
    int drawn_ = -1, given_ = 0;
};

namespace gpu {
// `loss` has arrays on the device; found (on the host): the loss, the mean squared error, the gains' gradients.
void photo_loss(PhotoLoss loss, float* found);
void improve_splats(const SplatAdam* adam, int arrays);
}  // namespace gpu

}  // namespace nerfscene
