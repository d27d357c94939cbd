// Training rays: the pixel that a ray goes through, and its target colour.
#pragma once
#include "camera.h"
#include "rng.h"

NS_BEGIN

// The photo that contains a pixel, given the pixel's index over all photos.
NS_HD int find_photo(const Photos& photos, uint64_t pixel) {
    int lo = 0, hi = photos.n - 1;
    while (lo < hi) {
        const int mid = (lo + hi + 1) / 2;
        if (photos.first_pixel[mid] <= pixel)
            lo = mid;
        else
            hi = mid - 1;
    }
    return lo;
}

// Draws the next ray's pixel, after `drawn` rays since training began: its index among those to train on. They come in a
// random order that visits each of them once per epoch.
NS_HD uint64_t drawn_pixel(const Photos& photos, uint32_t seed, uint64_t drawn) {
    const uint64_t all = photos.chosen ? photos.n_chosen : photos.first_pixel[photos.n];
    const uint64_t total = photos.parts ? photos.n_parts * photos.part_size : all;
    const uint64_t at = permute(drawn % total, total, mix32(seed + uint32_t(drawn / total)));
    return photos.parts ? photos.parts[at / photos.part_size] + at % photos.part_size : at;
}
// The ray of the pixel `at`, from drawn_pixel. Sets the photo, the position (x, y) in it and the ray. Returns a pointer to
// the pixel's bytes.
NS_HD const uint8_t* ray_of_pixel(const Photos& photos, uint64_t at, int& photo, float& x, float& y, Vec3& origin,
                                  Vec3& direction) {
    const uint64_t pixel = photos.chosen ? photos.chosen[at] : at;
    photo = find_photo(photos, pixel);
    const CameraDesc& camera = photos.cameras[photo];
    const uint32_t inside = uint32_t(pixel - photos.first_pixel[photo]);
    x = float(inside % uint32_t(camera.width)) + 0.5f;
    y = float(inside / uint32_t(camera.width)) + 0.5f;
    pixel_ray(camera, x, y, origin, direction);
    return photos.pixels + camera.pixels + int64_t(inside) * photos.channels;
}
// Both.
NS_HD const uint8_t* drawn_ray(const Photos& photos, uint32_t seed, uint64_t drawn, int& photo, float& x, float& y,
                               Vec3& origin, Vec3& direction) {
    return ray_of_pixel(photos, drawn_pixel(photos, seed, drawn), photo, x, y, origin, direction);
}

// Whether a photo has nearly the same colour all around a pixel, so that nothing there shows how far away the surface
// is. If the pixel's ray also points upwards, it may see the sky.
constexpr int kPlainReach = 4, kPlainRange = 6;  // pixels; levels of 255
NS_HD bool is_plain(const Photos& photos, int photo, float x, float y) {
    const CameraDesc& camera = photos.cameras[photo];
    const uint8_t* pixels = photos.pixels + camera.pixels;
    const int column = int(x), row = int(y);
    const uint8_t* here = pixels + (int64_t(row) * camera.width + column) * photos.channels;
    for (int dy = -kPlainReach; dy <= kPlainReach; dy += kPlainReach)
        for (int dx = -kPlainReach; dx <= kPlainReach; dx += kPlainReach) {
            const int u = column + dx, v = row + dy;
            if (u < 0 || v < 0 || u >= camera.width || v >= camera.height) continue;
            const uint8_t* there = pixels + (int64_t(v) * camera.width + u) * photos.channels;
            for (int c = 0; c < 3; ++c) {
                const int apart = int(there[c]) - int(here[c]);
                if (apart > kPlainRange || apart < -kPlainRange) return false;
            }
        }
    return true;
}

// Where the distance to what this pixel shows is found, or 0 if it is unknown.
NS_HD const float* known_depth(const Photos& photos, int photo, float x, float y) {
    const CameraDesc& camera = photos.cameras[photo];
    const int across = (camera.width + kDepthCell - 1) / kDepthCell;
    return photos.depths + camera.depths + int64_t(int(y) / kDepthCell) * across + int(x) / kDepthCell;
}

// The index of the cell that a pixel lies in, see Photos::first_cell.
NS_HD int64_t photo_cell(const Photos& photos, int photo, float x, float y) {
    const int side = photos.cell_side, across = (photos.cameras[photo].width + side - 1) / side;
    return int64_t(photos.first_cell[photo]) + int64_t(int(y) / side) * across + int(x) / side;
}

// The position inside each step at which a ray is sampled, in [0, 1).
NS_HD float drawn_jitter(uint32_t seed, uint64_t drawn) { return random_unit(seed, uint32_t(drawn), 1); }

// One channel of the background behind a ray, and of the ray's target colour over that background.
NS_HD void drawn_color(const Photos& photos, uint32_t seed, uint64_t drawn, const uint8_t* texel, int channel,
                       float& background, float& target) {
    const float alpha = photos.channels == 4 ? float(texel[3]) * (1.0f / 255.0f) : 1.0f;
    background = photos.random_background ? random_unit(seed, uint32_t(drawn), 2 + channel)
                                          : photos.background[channel];
    target = float(texel[channel]) * (1.0f / 255.0f) * alpha + (1.0f - alpha) * background;
}

NS_END
