// Pictures of Gaussians on all threads of a CPU: memory and the order of work.
//
// draw: project all Gaussians, give those in the window their colours, and count them in the tiles that their ellipses meet;
// list them in these; sort each tile's list by depth and draw it. backward: each tile writes its sums for each of its
// Gaussians to a place of its own; then each Gaussian's sums are added up in the order of its tiles. So no two threads write to
// one place, and any number of threads gives the same bits. Where Gaussians that are neighbours in space are also neighbours in
// memory, a tile's lie close together, and all of this is faster.
#pragma once
#include <memory>
#include <vector>

#include "splats.h"
#include "threads.h"

namespace nerfscene {

// Memory that only grows, and is not cleared.
template <class T>
class Room {
  public:
    T* with(size_t n) {
        if (n > size_) {
            size_ = n + n / 4;
            block_.reset();
            block_.reset(new char[size_ * sizeof(T) + 64]);
        }
        return data();
    }
    T* data() const {
        return reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(block_.get()) + 63) / 64 * 64);
    }

  private:
    std::unique_ptr<char[]> block_;
    size_t size_ = 0;
};

// Where a picture goes: (rows, columns[, 3]); alpha and depth may be null. back: keep what the way back needs.
struct SplatOutput {
    float *rgb, *alpha, *depth;
    bool back;
};

class CpuSplatter {
  public:
    CpuSplatter(int threads) : pool_(threads) {}
    void draw(const SplatKernels& kernels, const SplatCamera& camera, const SplatArrays& arrays, const float* background,
              const SplatOutput& to);
    // After `draw` of the same arrays, for the way back. The gradients' arrays must hold what the last call wrote, or zeros.
    void backward(const SplatKernels& kernels, const SplatArrays& arrays, const float* d_rgb, const float* d_alpha,
                  const SplatGradients& to);
    ThreadPool& pool() { return pool_; }
    int drawn() const { return drawn_; }  // Gaussians in the last picture; below 0: there is no way back
    int given() const { return given_; }  // all Gaussians of the last picture
    const SplatCamera& camera() const { return picture_.camera; }

  private:
    void project(const SplatKernels& kernels, const SplatArrays& arrays);
    void list(const SplatKernels& kernels);
    ThreadPool pool_;
    SplatPicture picture_{};
    int drawn_ = -1, given_ = 0;
    std::vector<SplatPart> parts_;
    Room<SplatTiles> met_;
    Room<uint64_t> keys_;
    Room<uint32_t> first_entry_, counts_, places_;
    Room<Splat> splats_;
    Room<SplatListed> listed_;
    Room<SplatEntry> entries_;
    Room<SplatSums> sums_;
    Room<uint8_t> touched_;
    Room<float> transmittance_;
    Room<int32_t> last_, deepest_;
    Room<double> d_background_;
    uint32_t slots_ = 0;
};

// Fills in what `loss` leaves open (taps, sums, planes); found: the loss, the mean squared error, the gains' gradients. One
// caller at a time.
void cpu_photo_loss(const SplatKernels& kernels, ThreadPool& pool, PhotoLoss& loss, float* found);
// A step of Adam for each of several arrays.
void cpu_improve_splats(const SplatKernels& kernels, ThreadPool& pool, const SplatAdam* adam, int arrays);

}  // namespace nerfscene
