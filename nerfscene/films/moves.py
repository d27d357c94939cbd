"""The moves of a film crew within what the photos show: dolly, figure-eight, turntable and boom.

Each takes a ``Subject`` and gives one pose (4, 4) a frame, level, or raises NerfsceneError with what to
choose instead. About a subject, a camera keeps to the photographed directions, heights and distances. Where
photos look outward or ahead, as in a room or a street, it keeps to the places where they were taken.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import look_one_way, looked_at, walks_ahead
from nerfscene.errors import NerfsceneError
from nerfscene.films.orbit import SWING, Round, Subject, round_of, typical_view
from nerfscene.films.pacing import aimed, evenly
from nerfscene.films.paths import look_at
from nerfscene.types import Array

FINE = 721  # places along a curve, from which frames are spaced evenly
SECTOR = np.radians(25)  # photos within so much of a direction say how far away and how high a camera may be
WIDEST_EIGHT = np.radians(60)  # to either side, however far round the photos go
SHARES = (1.0, 0.85, 0.7, 0.55, 0.4, 0.25)  # sizes of a move that are tried, down to the smallest
ALONE = np.radians((8, 20))  # from the nearest photo, by direction: never too far, always too far
NEAREST = 0.55  # of its first distance, to which a dolly approaches the subject
CLEAR = 0.25  # of its first distance, which a dolly keeps from whatever is in its way
TUBE = 0.12  # of its first distance: what is no farther from the way than this is in it
LEAST_RISE = 0.15  # of the distance: a boom's, also above photos that were all taken from one height
LEAST_RUN = 0.05  # of the distance to what the photos show, below which a move among them shows nothing
AHEAD = 0.5  # least cosine between a dolly's direction and a photo that shows what lies there
GAP = 0.15  # of a dolly's way: how far the nearest photo may be from it
CANDIDATES = 60  # photos tried as ends of a dolly's way


def goes_round(subject: Subject) -> bool:
    """Whether the photos have one subject to film: not a room from within, nor a walk ahead."""
    s = subject
    if not s.inward:
        return False
    if look_one_way(s.axes):
        return not walks_ahead(s.centres, s.axes)
    return looked_at(s.centres, s.axes, s.focus)


def turntable(subject: Subject, n_frames: int) -> list[Array]:
    """One full turn, as of an object on a turntable, seen from the upper of the photos' heights; closed.

    Raises NerfsceneError unless the photos go all the way round a subject.
    """
    if not goes_round(subject):
        raise NerfsceneError("a turntable needs photos from all round a subject: choose walkthrough or orbit")
    around = round_of(subject)
    if not around.whole:
        raise NerfsceneError(
            "a turntable needs photos from all round a subject, and these show "
            f"{np.degrees(around.extent):.0f}° of it: choose orbit, which goes to and fro"
        )
    height = float(np.percentile(around.heights, 75))
    distance = float(np.median(around.distances[around.heights >= np.median(around.heights)]))
    turn = around.begin + around.extent * np.arange(n_frames) / n_frames
    places = [subject.focus + around.offset(angle, distance, height) for angle in turn]
    return aimed(places, subject.focus, subject.up)


def figure_eight(subject: Subject, n_frames: int) -> list[Array]:
    """A lying eight in front of the subject, looking at it, at constant speed; closed.

    It spans the photographed heights and most of the photographed arc, at most 120°, or as much of both as
    keeps it near photos. Where there is no one subject, it is a small eight about the most typical photo.
    """
    s = subject
    t = np.linspace(0, 2 * np.pi, FINE)
    if not goes_round(s):
        centre, target, spread = typical_view(s)
        _refuse_one_spot(s, spread, "a figure-eight")
        axes = look_at(centre, target, s.up)[:3]
        radius = min(0.5 * spread, 0.25 * float(np.linalg.norm(target - centre)))
        places = centre + radius * (
            np.outer(np.sin(t), axes[:, 0]) - np.outer(0.4 * np.sin(2 * t), axes[:, 1])
        )
        return aimed(evenly(places, n_frames, True), target, s.up)
    around = round_of(s)
    wide = min(SWING * around.extent, WIDEST_EIGHT)
    middle = _front(around)
    near = np.abs(_apart(around.angles, middle)) <= wide + SECTOR
    low, high = np.percentile(around.heights[near & around.aside], (15, 85)) if near.any() else (0.0, 0.0)
    rise = max(0.5 * (high - low), 0.3 * LEAST_RISE * float(np.median(around.distances)))
    for share in SHARES:
        angles = middle + share * wide * np.sin(t)
        heights = low + rise + share * rise * np.sin(2 * t)
        offsets = np.stack([_on_shell(around, *place) for place in zip(angles, heights, strict=True)])
        if _seen(around, offsets):
            break
    return aimed(evenly(s.focus + offsets, n_frames, True), s.focus, s.up)


def boom(subject: Subject, n_frames: int) -> list[Array]:
    """Up, as on a crane, from the lowest to the highest photographed height, looking at the subject; open.

    About a subject, it rises where the photos' heights differ most. It also rises a little where all photos
    are at one height. Raises NerfsceneError if they are and there is no one subject.
    """
    s = subject
    share = np.linspace(0, 1, FINE)
    if not goes_round(s):
        centre, target, spread = typical_view(s)
        heights = (s.centres - centre) @ s.up
        low, high = np.percentile(heights, (10, 90))
        if high - low < LEAST_RUN * max(4 * spread, 1e-12):
            raise NerfsceneError(
                "a boom needs photos from several heights, and these are all from one: choose orbit"
            )
        axis = (target - centre) - ((target - centre) @ s.up) * s.up
        direction = axis if np.linalg.norm(axis) > 1e-9 else target - centre
        places = centre + np.outer(low + (high - low) * share, s.up)
        return [look_at(place, place + direction, s.up) for place in evenly(places, n_frames, False)]
    around = round_of(s)
    angle = _most_heights(around)
    near = (np.abs(_apart(around.angles, angle)) <= SECTOR) & around.aside
    low, high = np.percentile(around.heights[near], (8, 92))
    least = low + LEAST_RISE * float(np.median(around.distances))
    for part in SHARES:
        top = max(low + part * (high - low), least)
        offsets = np.stack([_on_shell(around, angle, height) for height in low + (top - low) * share])
        if _seen(around, offsets):
            break
    return aimed(evenly(s.focus + offsets, n_frames, False), s.focus, s.up)


def dolly(subject: Subject, n_frames: int, points: Array | None = None) -> list[Array]:
    """Straight towards the subject from the farthest photos before it; or ahead among the photos; open.

    points: (n, 3), the sparse model's, which it keeps clear of. Raises NerfsceneError if the photos leave no
    way to go.
    """
    s = subject
    if not goes_round(s):
        return _ahead(s, n_frames, points)
    around = round_of(s)
    angle = _front(around)
    near = (np.abs(_apart(around.angles, angle)) <= SECTOR) & around.aside
    if not near.any():
        near = around.aside
    reach = np.hypot(around.distances, around.heights)[near]
    far = float(np.percentile(reach, 90))
    slope = float(np.median(np.arctan2(around.heights[near], around.distances[near])))
    out = around.offset(angle, np.cos(slope), np.sin(slope))
    end = min(NEAREST * far, max(float(reach.min()), 0.3 * far))
    end = max(end, far - _free_way(s.focus + far * out, -out, far, points))
    if far - end < LEAST_RUN * far:
        raise NerfsceneError("something is in the way of a dolly towards the subject: choose orbit or spiral")
    places = s.focus + np.outer(np.linspace(far, end, FINE), out)
    return aimed(evenly(places, n_frames, False), s.focus, s.up)


def _free_way(begin: Array, direction: Array, distance: float, points: Array | None) -> float:
    """How far a dolly may go from ``begin`` before something is near; at most ``distance``.

    direction: (3,), unit.
    """
    if points is None or not len(points):
        return distance
    along = (points - begin) @ direction
    across = np.linalg.norm(points - begin - along[:, None] * direction, axis=1)
    met = np.sort(along[(across < TUBE * distance) & (along > 0) & (along < distance)])
    # A few sparse points are wrong, and float in the air.
    return float(met[len(met) // 50 + 2] - CLEAR * distance) if len(met) > 4 else distance


def _ahead(s: Subject, n_frames: int, points: Array | None) -> list[Array]:
    """Poses of a dolly among places where photos were taken, looking ahead and level."""
    _refuse_one_spot(s, float(np.median(np.linalg.norm(s.centres - s.centres.mean(0), axis=1))), "a dolly")
    ends = _straight_run(s)
    seen = None if points is None or not len(points) else np.linalg.norm(points - s.centres.mean(0), axis=1)
    least = 0.0 if seen is None else LEAST_RUN * float(np.median(seen))
    if ends is None or np.linalg.norm(ends[1] - ends[0]) < least:
        raise NerfsceneError(
            "the photos leave no straight way ahead for a dolly: choose walkthrough or orbit"
        )
    direction = ends[1] - ends[0]
    level = direction - (direction @ s.up) * s.up
    places = ends[0] + np.outer(np.linspace(0, 1, FINE), direction)
    return [look_at(place, place + level, s.up) for place in evenly(places, n_frames, False)]


def _straight_run(s: Subject) -> tuple[Array, Array] | None:
    """The longest way (begin, end) from one photo's place straight to another's that photos line.

    Along it, the nearest photo is never far, and one in its first half looks where it leads. None if there is
    no such way.
    """
    some = np.unique(np.linspace(0, len(s.centres) - 1, CANDIDATES).round().astype(int))
    ends, best, longest = s.centres[some], None, 0.0
    shares = np.linspace(0, 1, 9)[:, None]
    for begin in ends:
        for end in ends:
            way = end - begin
            flat = way - (way @ s.up) * s.up
            length = float(np.linalg.norm(way))
            if length <= longest or np.linalg.norm(flat) < 0.5 * length:
                continue
            gaps = np.linalg.norm(s.centres - (begin + shares * way)[:, None], axis=2)
            looks = s.axes @ (flat / np.linalg.norm(flat)) > AHEAD
            if gaps.min(1).max() <= GAP * length and (gaps[:4].min(0)[looks] <= GAP * length).any():
                best, longest = (begin, end), length
    return best


def _refuse_one_spot(s: Subject, spread: float, move: str) -> None:
    """Raises NerfsceneError if all photos were taken from one spot."""
    if spread <= 1e-6 * max(1.0, float(np.abs(s.centres).max())):
        raise NerfsceneError(f"the photos are all from one spot, where {move} has no room: choose orbit")


def _apart(angles: Array, angle: float) -> Array:
    """The differences angles - angle, within ±π."""
    return np.mod(angles - angle + np.pi, 2 * np.pi) - np.pi


def _front(around: Round) -> float:
    """The direction of the first photo, or the middle of an arc that isn't whole."""
    return 0.0 if around.whole else around.begin + 0.5 * around.extent


def _most_heights(around: Round) -> float:
    """The photo's direction near which the photos' heights differ most; the front, if hardly less there."""
    front = _front(around)
    inside = around.aside & _within(around)
    spreads = {
        angle: float(np.ptp(around.heights[(np.abs(_apart(around.angles, angle)) <= SECTOR) & around.aside]))
        for angle in around.angles[inside if inside.any() else around.aside].tolist()
    }
    best = max(spreads.values())
    good = [angle for angle, spread in spreads.items() if spread >= 0.8 * best]
    return float(min(good, key=lambda angle: abs(float(_apart(np.array(angle), front)))))


def _within(around: Round) -> NDArray[np.bool_]:
    """Whether each photo is in the photographed arc."""
    inside: NDArray[np.bool_] = np.mod(around.angles - around.begin, 2 * np.pi) <= around.extent + 1e-9
    return inside


def _on_shell(around: Round, angle: float, height: float) -> Array:
    """The vector from the focus to where photos of this direction and height were taken.

    Its distance is the mean of the photos' distances, weighted by how near they are in direction and height.
    """
    spread = max(0.2 * float(np.ptp(around.heights)), 1e-9)
    far = (_apart(around.angles, angle) / SECTOR) ** 2 + ((around.heights - height) / spread) ** 2
    weights = np.where(around.aside, np.exp(-0.5 * np.minimum(far, 60.0)), 0.0)
    return around.offset(angle, float(weights @ around.distances / weights.sum()), height)


def _seen(around: Round, offsets: Array) -> bool:
    """Whether each of ``offsets`` (m, 3) from the focus is in a direction near which a photo was taken.

    Near is twice as far as photos usually are from each other, within the limits of ALONE.
    """
    coordinates = zip(around.angles, around.distances, around.heights, strict=True)
    photos = np.stack([around.offset(*place) for place in coordinates])
    photos = photos / np.maximum(np.linalg.norm(photos, axis=1), 1e-12)[:, None]
    between = photos @ photos.T
    np.fill_diagonal(between, -1)
    usual = float(np.median(np.arccos(np.clip(between.max(1), -1, 1))))
    directions = offsets / np.maximum(np.linalg.norm(offsets, axis=1), 1e-12)[:, None]
    nearest = np.arccos(np.clip((directions @ photos.T).max(1), -1, 1))
    return bool(nearest.max() <= np.clip(2 * usual, *ALONE))
