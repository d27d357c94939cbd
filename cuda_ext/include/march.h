// Ray marching: the steps of a ray, the contraction of far space, and the occupancy grid's cells.
//
// Scene units: a bounded scene fills the cube [-1, 1]^3. The subject of an unbounded scene is in that cube too, and
// everything farther away is contracted into [-2, 2]^3, so that one grid covers all of space. (This is the contraction
// of mip-NeRF 360, Barron et al. 2022, with the maximum norm.)
//
// An unbounded scene that was photographed from one side (Space::ahead) is laid out along the view instead, as NeRF lays
// out such captures (Mildenhall et al. 2020, appendix C): by disparity, and across the view by where things are in a
// picture. view_from_scene takes a scene point to (a, b, c), with c its depth as seen from the apex, which lies behind all
// cameras; c = 1 is where rays can begin. The point in the cube is (a / 2c + 1/2, b / 2c + 1/2, share · (1 - 1/c)). The
// apex's frustum, which is the cube, holds all cameras' frusta.
#pragma once
#include "desc.h"
#include "platform.h"

NS_BEGIN

// --- the steps -------------------------------------------------------------------------------------
// Steps start at distance `first`. They are `step` long until `cone * t` exceeds that; from there on each is (1 + cone)
// times as long as the one before. Distances are computed in closed form, so any step costs the same, and k can be a
// vector of steps.
struct StepLaw {
    float first, step, log_growth;
    float bend, bend_index;  // where steps start to grow: the distance, and the step's index
};
NS_HD StepLaw step_law(float first, float step, float cone) {
    StepLaw s;
    s.first = first;
    s.step = step;
    s.log_growth = cone > 0 ? log1pf(cone) : 0.0f;
    const float bend = cone > 0 ? step / cone : 3.0e38f;
    s.bend = bend > first ? bend : first;
    s.bend_index = cone > 0 ? (s.bend - first) / step : 3.0e38f;
    return s;
}
// The distance at step k, which may be fractional.
template <class T>
NS_HD T step_distance(const StepLaw& s, T k) {
    const T linear = k * s.step + s.first;
    if (s.log_growth == 0.0f) return linear;
    const T beyond = k - s.bend_index;
    const T grown = ns_exp(ns_max(beyond, beyond - beyond) * s.log_growth) * s.bend;
    return beyond > (beyond - beyond) ? grown : linear;
}
// The inverse: distance → step, possibly fractional.
NS_HD float step_index(const StepLaw& s, float t) {
    if (t <= s.bend) return (t - s.first) / s.step;
    return s.bend_index + logf(t / s.bend) / s.log_growth;
}

// The space with longer steps. Early in training, fine steps cost a lot and gain little.
NS_HD Space coarser(Space space, float coarseness) {
    space.step *= coarseness;
    space.cone *= coarseness;
    return space;
}

// --- space -----------------------------------------------------------------------------------------
// One row of a 3×4 matrix times a point.
template <class T>
NS_HD T row_times(const float* row, T x, T y, T z) {
    return x * row[0] + y * row[1] + z * row[2] + row[3];
}
// How far a scene point is from the apex of a space laid out along the view; 1 if it is nearer than rays can begin.
template <class T>
NS_HD T depth_ahead(const Ahead& ahead, T x, T y, T z) {
    return ns_max(row_times(ahead.view_from_scene + 8, x, y, z), (x - x) + 1.0f);
}
// Scene point → point in the grid's unit cube.
template <class T>
NS_HD void to_unit(const Space& space, T& x, T& y, T& z) {
    if (space.ahead.on) {
        const Ahead& ahead = space.ahead;
        const T zero = x - x, one = zero + 1.0f, inverse = 1.0f / depth_ahead(ahead, x, y, z);
        const T a = row_times(ahead.view_from_scene, x, y, z), b = row_times(ahead.view_from_scene + 4, x, y, z);
        x = ns_min(ns_max(a * inverse * 0.5f + 0.5f, zero), one);
        y = ns_min(ns_max(b * inverse * 0.5f + 0.5f, zero), one);
        z = (one - inverse) * ahead.share;
    } else if (space.unbounded) {
        const T m = ns_max(ns_max(ns_abs(x), ns_abs(y)), ns_abs(z));
        const T far = ns_max(m, (m - m) + 1.0f);
        const T inverse = 1.0f / far;
        const T s = (2.0f - inverse) * inverse * 0.25f;  // inside the unit cube far = 1 and s = 1/4
        x = x * s + 0.5f;
        y = y * s + 0.5f;
        z = z * s + 0.5f;
    } else {
        x = x * 0.5f + 0.5f;
        y = y * 0.5f + 0.5f;
        z = z * 0.5f + 0.5f;
    }
}
// The inverse: point in the unit cube → scene point.
NS_HD Vec3 from_unit(const Space& space, Vec3 u) {
    if (space.ahead.on) {
        const float* m = space.ahead.scene_from_view;
        const float c = 1.0f / ns_max(1.0f - u.z / space.ahead.share, 1e-6f);
        const float a = (2.0f * u.x - 1.0f) * c, b = (2.0f * u.y - 1.0f) * c;
        return {row_times(m, a, b, c), row_times(m + 4, a, b, c), row_times(m + 8, a, b, c)};
    }
    if (!space.unbounded) return {u.x * 2 - 1, u.y * 2 - 1, u.z * 2 - 1};
    const Vec3 c = {u.x * 4 - 2, u.y * 4 - 2, u.z * 4 - 2};
    const float m = ns_max(ns_max(ns_abs(c.x), ns_abs(c.y)), ns_abs(c.z));
    if (m <= 1.0f) return c;
    return c * (1.0f / (m * ns_max(2.0f - m, 1e-6f)));
}

// Narrows [t0, t1] to the part of a ray inside [-1, 1]^3, slab by slab. Returns false if there is none.
NS_HD bool intersect_box(Vec3 o, Vec3 d, float& t0, float& t1) {
    const float oo[3] = {o.x, o.y, o.z}, dd[3] = {d.x, d.y, d.z};
    for (int a = 0; a < 3; ++a) {
        if (dd[a] == 0.0f) {
            if (oo[a] < -1.0f || oo[a] > 1.0f) return false;
            continue;
        }
        const float inverse = 1.0f / dd[a];
        const float ta = (-1.0f - oo[a]) * inverse, tb = (1.0f - oo[a]) * inverse;
        t0 = ns_max(t0, ns_min(ta, tb));
        t1 = ns_min(t1, ns_max(ta, tb));
    }
    return t0 < t1;
}

// The part of a ray that is sampled: sets the law of its steps, its end t1 and its first step. Returns the number of
// steps, or 0 if the ray misses the space. A step's sample counts only if it is before t1. Its length is
// max(step, cone · distance).
NS_HD int ray_steps(const Space& space, Vec3 o, Vec3 d, float jitter, StepLaw& law, float& t1, int& first) {
    float t0 = space.near_plane;
    t1 = space.far_plane;
    first = 0;
    if (!space.unbounded && !intersect_box(o, d, t0, t1)) return 0;
    law = step_law(t0, space.step, space.cone);
    if (space.cropped) {
        // An affine map preserves the ray parameter t, so the box can be intersected in its own frame. The steps stay
        // where they are without the box.
        const float* m = space.box_from_scene;
        const Vec3 bo = {m[0] * o.x + m[1] * o.y + m[2] * o.z + m[3], m[4] * o.x + m[5] * o.y + m[6] * o.z + m[7],
                         m[8] * o.x + m[9] * o.y + m[10] * o.z + m[11]};
        const Vec3 bd = {m[0] * d.x + m[1] * d.y + m[2] * d.z, m[4] * d.x + m[5] * d.y + m[6] * d.z,
                         m[8] * d.x + m[9] * d.y + m[10] * d.z};
        if (!intersect_box(bo, bd, t0, t1)) return 0;
        first = int(ns_max(ceilf(step_index(law, t0) - jitter), 0.0f));
    }
    const int n = int(ceilf(step_index(law, t1)));
    return n > 0 ? n : 0;
}

// --- occupancy -------------------------------------------------------------------------------------
// The index of a unit-cube point's cell, x fastest. Clamps coordinates that rounding has moved outside.
template <class T>
NS_HD typename Lanes<T>::Int occupancy_cell(T ux, T uy, T uz, int resolution) {
    using L = Lanes<T>;
    using I = typename L::Int;
    const T zero = ux - ux, top = zero + (float(resolution) - 0.5f);
    const float r = float(resolution);
    const I x = L::to_int(ns_min(ns_max(ux * r, zero), top));
    const I y = L::to_int(ns_min(ns_max(uy * r, zero), top));
    const I z = L::to_int(ns_min(ns_max(uz * r, zero), top));
    return x + (y + z * resolution) * resolution;
}
NS_HD bool occupied(const uint32_t* bits, int32_t cell) { return (bits[cell >> 5] >> (cell & 31)) & 1u; }

// Upper bounds on how much the contraction stretches lengths, in the maximum norm, at a point whose largest coordinate
// is m. A coordinate x that is not the largest changes by dx (2m - 1) / m² + x dm (2 - 2m) / m³. For unit (dx, dm) that
// is at most 1.012, and less than √8 / m.
constexpr float kMostStretch = 1.02f, kFarStretch = 2.83f;
// Along the view, a / c changes by (da - a / c · dc) / c, where |a / c| is at most 1, and 1 - 1/c by dc / c². Both are at
// most `stretch` / c for a unit step in the scene.
//
// How far out a scene point lies, for these bounds: m, or along the view c.
template <class T>
NS_HD T reach_of(const Space& space, T x, T y, T z) {
    return space.ahead.on ? depth_ahead(space.ahead, x, y, z) : ns_max(ns_max(ns_abs(x), ns_abs(y)), ns_abs(z));
}
// By how much that can change over a length in the scene, for each unit of it.
NS_HD float reach_slope(const Space& space) { return space.ahead.on ? space.ahead.turn : 1.0f; }
// The largest distance in the unit cube between two points, no farther in than `reach`, that are `length` apart in the
// scene.
template <class T>
NS_HD T unit_length(const Space& space, T length, T reach) {
    const T zero = reach - reach;
    if (space.ahead.on) return length * space.ahead.stretch / ns_max(reach, zero + 1.0f);
    return space.unbounded ? 0.25f * length * ns_min(zero + kMostStretch, kFarStretch / ns_max(reach, zero + 1e-6f))
                           : 0.5f * length;
}

// Whether `count` steps from `step` on lie within reach of one cell of the coarse grid, which then says whether they are
// certainly empty. Sets `cell`.
template <class T>
NS_HD auto steps_within_reach(const Space& space, Vec3 o, Vec3 d, const StepLaw& law, T step, float jitter, int count,
                              typename Lanes<T>::Int& cell) {
    const T t = step_distance(law, step + (jitter + 0.5f * float(count - 1)));
    T x = t * d.x + o.x, y = t * d.y + o.y, z = t * d.z + o.z;
    const T half = 0.5f * float(count) * ns_max(t - t + space.step, t * (space.cone * 1.1f));
    // Of these steps, the one farthest in is shrunk least.
    const T reach = reach_of(space, x, y, z) - half * reach_slope(space);
    const auto within = unit_length(space, half, reach) <= float(kCoarseReach) / float(kCoarse);
    to_unit(space, x, y, z);
    cell = occupancy_cell(x, y, z, kCoarse);
    return within;
}

// 1 / d. For an axis along which the ray does not move, a large number: the ray never reaches that axis's walls.
NS_HD Vec3 inverse_of(Vec3 d) {
    return {d.x != 0 ? 1.0f / d.x : 3.0e38f, d.y != 0 ? 1.0f / d.y : 3.0e38f, d.z != 0 ? 1.0f / d.z : 3.0e38f};
}
// Returns how many steps, from the one at distance t on, are certainly empty; 0 if the cell at t is occupied. They are
// the steps that stay inside a region known to be empty:
//   - the cube of empty coarse cells around the point at t, if there is one (f.room gives its size);
//   - otherwise the point's own cell of the occupancy grid.
// (x, y, z): the point in the unit cube; `cell`: its cell; m: its reach_of; `inverse`: 1 / direction.
NS_HD int empty_steps(const Field& f, const Space& space, Vec3 inverse, float t, float m, float x, float y, float z,
                      int cell) {
    const int coarse_room = f.room ? int(f.room[occupancy_cell(x, y, z, kCoarse)]) : 0;
    if (coarse_room == 0 && occupied(f.occupancy, cell)) return 0;
    const int room = ns_max(coarse_room, 1);  // the region's reach in cells, of which there are `cells` per side
    const float cells = float(coarse_room > 0 ? kCoarse : space.occupancy_resolution), side = 1.0f / cells;
    const float u[3] = {x, y, z}, by[3] = {inverse.x, inverse.y, inverse.z};
    float along = 3.0e38f;  // how far the ray stays in the empty region, scene units
    if (!space.unbounded || (!space.ahead.on && m <= 1.0f)) {  // no contraction here, so rays are straight: up to the region's wall
        const float low = space.unbounded ? 0.25f : 0.0f, high = 1.0f - low, lengths = space.unbounded ? 4.0f : 2.0f;
        for (int a = 0; a < 3; ++a) {
            const float at = float(int(u[a] * cells));
            const float wall = by[a] > 0 ? ns_min((at + float(room)) * side, high)
                                         : ns_max((at + float(1 - room)) * side, low);
            along = ns_min(along, (wall - u[a]) * by[a] * lengths);
        }
    } else {  // contracted: a distance at which no path can have left the region
        float inside = 1.0f;
        for (int a = 0; a < 3; ++a) {
            const float p = u[a] * cells, within = p - float(int(p));
            inside = ns_min(inside, ns_min(within, 1.0f - within));
        }
        const float apart = (float(room - 1) + inside) * side;
        // Where unit_length reaches `apart`, with a reach that falls by the length; the better of its two bounds.
        along = space.ahead.on
                    ? apart * ns_max(1.0f, m) / (space.ahead.stretch + (m > 1.0f ? apart * space.ahead.turn : 0.0f))
                    : apart * ns_max(4.0f / kMostStretch, m / (0.25f * kFarStretch + apart));
    }
    // The factor 0.999 guards against rounding: one step too few does no harm.
    const float steps = along * 0.999f / ns_max(space.step, space.cone * (t + along));
    return int(ns_min(ns_max(steps, 0.0f), 1.0e6f)) + 1;
}

// The occupancy grid stores optical thickness: density × this length. It is the step that a camera near the origin
// would take at this scene point, whose reach_of is given; along the view, one at the apex whose steps begin at c = 1.
template <class T>
NS_HD T reference_length(const Space& space, T reach) {
    if (space.ahead.on) return reach * space.step;
    return ns_max(reach - reach + space.step, reach * space.cone);
}
NS_HD float reference_step(const Space& space, float x, float y, float z) {
    return reference_length(space, reach_of(space, x, y, z));
}

NS_END
