// Beams: what holds for every ray of a bundle, such as the rays of a tile of pixels. One box around the bundle tells for
// all of its rays that a step meets nothing. The lens doesn't matter, since a beam is bounded by its rays' own origins and
// directions.
#pragma once
#include "march.h"

NS_BEGIN

struct Beam {
    Vec3 from_low, from_high;  // the least and the greatest of the origins' coordinates
    Vec3 low, high;            // the same of the directions'
};
NS_HD Beam no_beam() {
    const float most = 3.0e38f;
    const Vec3 low = {most, most, most}, high = {-most, -most, -most};
    return {low, high, low, high};
}
NS_HD Vec3 least(Vec3 a, Vec3 b) { return {ns_min(a.x, b.x), ns_min(a.y, b.y), ns_min(a.z, b.z)}; }
NS_HD Vec3 greatest(Vec3 a, Vec3 b) { return {ns_max(a.x, b.x), ns_max(a.y, b.y), ns_max(a.z, b.z)}; }
NS_HD void add_ray(Beam& b, Vec3 o, Vec3 d) {
    b.from_low = least(b.from_low, o), b.from_high = greatest(b.from_high, o);
    b.low = least(b.low, d), b.high = greatest(b.high, d);
}

// A box in the unit cube.
template <class T>
struct UnitBox {
    T low[3], high[3];
};
// One coordinate of a box that the contraction has moved, relative to the cube's centre. [low, high]: the coordinate in
// the scene; `other`: the largest that another coordinate's magnitude can be; [m_low, m_high]: the bounds of the largest
// coordinate's magnitude. `near_scale` and `far_scale` are the contraction's factors at these: it falls as m grows, but
// m · factor grows.
template <class T>
NS_HD void contract_interval(T low, T high, T other, T m_low, T m_high, T near_scale, T far_scale, T& to_low,
                             T& to_high) {
    const T zero = m_low - m_low, top = m_high * far_scale;
    const T least = ns_max(ns_max(low, -high), zero);  // of the magnitude
    // Where this coordinate is certainly the largest, it is m itself.
    const T bottom = least >= other ? m_low * near_scale : least * far_scale;
    const T up = ns_min(high * near_scale, top), down = ns_min(-low * near_scale, top);
    to_low = low > zero ? bottom : -down;
    to_high = high < zero ? -bottom : up;
}
// The range [low, high] of one row of a 3×4 matrix times a point, for the points of a box.
template <class T>
NS_HD void row_interval(const float* row, const UnitBox<T>& box, T& low, T& high) {
    low = high = box.low[0] - box.low[0] + row[3];
    for (int a = 0; a < 3; ++a) {
        low = low + ns_min(box.low[a] * row[a], box.high[a] * row[a]);
        high = high + ns_max(box.low[a] * row[a], box.high[a] * row[a]);
    }
}
// A box in the scene → the part of the unit cube that it takes in a space laid out along the view.
template <class T>
NS_HD UnitBox<T> box_ahead(const Ahead& ahead, const UnitBox<T>& box) {
    UnitBox<T> to;
    T low, high;
    row_interval(ahead.view_from_scene + 8, box, low, high);
    const T zero = low - low, one = zero + 1.0f;
    const T most = 1.0f / ns_max(low, one), least = 1.0f / ns_max(high, one);
    to.low[2] = (one - most) * ahead.share;
    to.high[2] = (one - least) * ahead.share;
    for (int a = 0; a < 2; ++a) {
        row_interval(ahead.view_from_scene + 4 * a, box, low, high);
        to.low[a] = ns_min(ns_max(ns_min(low * most, low * least) * 0.5f + 0.5f, zero), one);
        to.high[a] = ns_min(ns_max(ns_max(high * most, high * least) * 0.5f + 0.5f, zero), one);
    }
    return to;
}
// The part of the unit cube that a beam's rays can reach between the distances t_near and t_far, which may be equal.
// Up to rounding, for which whoever uses the box must leave room.
template <class T>
NS_HD UnitBox<T> beam_box(const Beam& b, const Space& space, T t_near, T t_far) {
    const float ol[3] = {b.from_low.x, b.from_low.y, b.from_low.z};
    const float oh[3] = {b.from_high.x, b.from_high.y, b.from_high.z};
    const float dl[3] = {b.low.x, b.low.y, b.low.z}, dh[3] = {b.high.x, b.high.y, b.high.z};
    UnitBox<T> box;
    for (int a = 0; a < 3; ++a) {
        box.low[a] = ns_min(t_near * dl[a] + ol[a], t_far * dl[a] + ol[a]);
        box.high[a] = ns_max(t_near * dh[a] + oh[a], t_far * dh[a] + oh[a]);
    }
    if (space.ahead.on) return box_ahead(space.ahead, box);
    if (!space.unbounded) {
        for (int a = 0; a < 3; ++a) box.low[a] = box.low[a] * 0.5f + 0.5f, box.high[a] = box.high[a] * 0.5f + 0.5f;
        return box;
    }
    const T zero = t_near - t_near, one = zero + 1.0f;
    T most[3], m_low = zero, m_high = zero;
    for (int a = 0; a < 3; ++a) {
        most[a] = ns_max(box.high[a], -box.low[a]);
        m_low = ns_max(m_low, ns_max(box.low[a], -box.high[a]));
        m_high = ns_max(m_high, most[a]);
    }
    const T near_inverse = 1.0f / ns_max(m_low, one), far_inverse = 1.0f / ns_max(m_high, one);
    const T near_scale = (2.0f - near_inverse) * near_inverse * 0.25f;
    const T far_scale = (2.0f - far_inverse) * far_inverse * 0.25f;
    UnitBox<T> to;
    for (int a = 0; a < 3; ++a) {
        const T other = ns_max(most[(a + 1) % 3], most[(a + 2) % 3]);
        contract_interval(box.low[a], box.high[a], other, m_low, m_high, near_scale, far_scale, to.low[a], to.high[a]);
        to.low[a] = to.low[a] + 0.5f;
        to.high[a] = to.high[a] + 0.5f;
    }
    return to;
}

// Room for rounding at each side of a box, in cells of the occupancy grid.
constexpr float kBeamSlack = 0.02f;
// One coordinate of a box → the first and the last cell that it reaches.
template <class T>
NS_HD void box_cells(T low, T high, int resolution, typename Lanes<T>::Int& first, typename Lanes<T>::Int& last) {
    using L = Lanes<T>;
    const float r = float(resolution);
    const T zero = L::to_float(typename L::Int{}), top = zero + (r - 0.5f);  // not low - low, which may be NaN
    first = L::to_int(ns_min(ns_max(low * r - kBeamSlack, zero), top));
    last = L::to_int(ns_min(ns_max(high * r + kBeamSlack, zero), top));
}
// Whether any cell of first … last is occupied. A box of very many rows counts as occupied unseen.
NS_HD bool any_occupied(const uint32_t* bits, int resolution, const int first[3], const int last[3]) {
    if ((last[1] - first[1] + 1) * (last[2] - first[2] + 1) > 64) return true;
    for (int z = first[2]; z <= last[2]; ++z)
        for (int y = first[1]; y <= last[1]; ++y) {
            const int row = (y + z * resolution) * resolution, end = row + last[0];
            for (int x = row + first[0]; x <= end;) {  // a word of the row at a time
                const int stop = (x | 31) < end ? (x | 31) : end;
                if ((bits[x >> 5] >> (x & 31)) & (0xffffffffu >> (31 - (stop - x)))) return true;
                x = stop + 1;
            }
        }
    return false;
}

NS_END
