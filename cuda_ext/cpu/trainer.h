// The training loop on the CPU: each step traces, scatters gradients and updates parameters, on all threads.
#pragma once
#include <memory>
#include <utility>
#include <vector>

#include "../include/training.h"
#include "driver.h"
#include "rows.h"
#include "threads.h"

namespace nerfscene {

class Trainer {
  public:
    Trainer(const Kernels& kernels, TrainState state, Photos photos, uint32_t seed, int threads);
    // Takes up to `steps` steps, or fewer if `seconds` run out first.
    TrainReport run(const TrainOptions& options, int64_t steps, double seconds);
    // For tests: computes the loss and gradients of given rays and updates nothing. `rays.d_rays` may be null.
    TrainReport gradients(const TrainOptions& options, Rays rays, float* d_table, float* d_weights,
                          float* d_exposures = nullptr);
    void use_cameras(const CameraDesc* cameras) { photos_.cameras = cameras; }
    // From now on draws pixels from these parts only; from all if there are none. See `Photos`.
    void draw_from(std::vector<uint64_t> parts, uint64_t size) {
        parts_ = std::move(parts);
        photos_.parts = parts_.empty() ? nullptr : parts_.data();
        photos_.n_parts = parts_.size(), photos_.part_size = size;
    }
    uint64_t n_pixels() const { return photos_.chosen ? photos_.n_chosen : photos_.first_pixel[photos_.n]; }
    int n_photos() const { return photos_.n; }
    void refresh();          // reads the table, its moments and the weights again
    void refresh_weights();  // updates the transposed copies
    // Writes the table and its moments, which change in memory of their own, to the arrays of the state.
    void write_back();
    bool has_sizes(size_t table, size_t weights) const {
        return table == state_.size() / 2 && weights == size_t(s_.field.net.size);
    }
    int64_t step = 0;
    uint64_t rays_drawn = 0;
    double survivors_per_ray = 0;  // smoothed; 0: not known yet
    float occupancy_mean = 1e30f;  // mean of the occupancy values at the last update

  private:
    void trace(const TrainOptions& options, int n_rays, bool draw, double rays_in_loss);
    // The gradients of the rows of one part of a level, by way of one worker's memory.
    RowGradients& scatter_level(int worker, int level, int part, int parts);
    void next_slots();
    void share_rows(const std::function<void(size_t first, size_t n)>& task);
    void update_exposures(const TrainOptions& options, int n_rays);
    void add_camera_gradients(int n_rays);
    void add_errors(int n_rays, int every);  // of one ray in `every`, to the photos' cells
    void update_occupancy(const TrainOptions& options, TrainReport& report);
    TrainStep make_step(const TrainOptions& options, double rays_in_loss) const;
    int tile_rays(int n_rays) const;

    const Kernels& k_;
    TrainState s_;
    Photos photos_;
    uint32_t seed_;
    ThreadPool pool_;
    std::vector<std::unique_ptr<float[]>> blocks_;
    std::vector<Scratch> scratch_;
    std::vector<float> origins_, directions_, jitter_, targets_, backgrounds_, d_exposures_, exposure_gradient_, gains_;
    std::vector<float> errors_;  // of the a step's rays, to be added to the photos' cells
    std::vector<float> pixels_, d_rays_, camera_gradients_;  // camera_gradients_: (threads, photos, kCameraGradient)
    std::vector<uint32_t> pairs_, pairs_t_;  // the weights for products in bfloat16; empty: the processor has none
    std::vector<int32_t> ray_photos_;
    std::vector<uint64_t> parts_;
    LargeArray<float> state_;            // the table's rows with their moments; see RowState in encode.h
    LargeArray<uint32_t> slots_;         // for each row: `since_` + its index among this step's gradients, or less
    std::vector<RowGradientsMemory> row_gradients_;
    uint32_t since_ = 1;
    size_t row_visits_ = 0;              // most rows of a level that this step's samples can touch
    uint64_t cells_probed_ = 0;
    Rays rays_{};
};

}  // namespace nerfscene
