"""Closed camera paths about what the photos look at: an orbit, and a small spiral."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import axes_meet, nearest_point_to_axes, up_direction
from nerfscene.films.panoramas import all_panoramas, all_round
from nerfscene.films.paths import look_at
from nerfscene.types import Array, View

WHOLE = 2 / 3  # of the photos are nearer to the subject than an orbit, which shows all of it
SWING = 0.42  # amplitude of an orbit to and fro, as a share of the photographed arc


@dataclass(frozen=True)
class Subject:
    """What the photos look at, in world coordinates.

    centres, axes: (n, 3), where the cameras are and where they look (unit vectors). focus: (3,), the
    point nearest to all optical axes. up: (3,), unit. inward: the cameras look at the focus; False when
    they look away from it, as in a room photographed from its middle.
    """

    centres: Array
    axes: Array
    focus: Array
    up: Array
    inward: bool


def subject_of(views: Sequence[View], points: Array | None = None, up: Array | None = None) -> Subject:
    """The subject of the photos, estimated from their cameras. Panoramas look away from it, all round.

    points: (n, 3), the sparse model's; used for the distance if the optical axes hardly meet.
    up: (3,); estimated from the cameras if not given.
    """
    unit_up = up_direction(views) if up is None else up / np.linalg.norm(up)
    whole = all_panoramas(views)
    if whole:
        views = all_round(views, unit_up)
    centres = np.stack([v.world_from_cam[:3, 3] for v in views])
    axes = np.stack([v.world_from_cam[:3, 2] for v in views])
    focus = nearest_point_to_axes(centres, axes)
    mean_axis = axes.mean(0)
    agreement = float(np.linalg.norm(mean_axis))  # 1 where all photos look the same way
    if points is not None and len(points) and agreement > 0.5 and not axes_meet(centres, axes, focus):
        ahead = mean_axis / agreement
        depths = (points - centres.mean(0)) @ ahead
        if (depths > 0).any():
            focus = centres.mean(0) + ahead * np.median(depths[depths > 0])
    toward = focus - centres
    # Cameras that only turn on the spot are themselves the focus, up to rounding.
    apart = np.median(np.linalg.norm(toward, axis=1)) > 1e-6 * max(1.0, float(np.abs(centres).max()))
    inward = bool(not whole and apart and np.median((toward * axes).sum(1)) > 0)
    return Subject(centres, axes, focus, unit_up, inward)


@dataclass(frozen=True)
class Round:
    """The photos as seen from the focus: cylindrical coordinates about it, with the axes e1, e2 and up.

    angles (n,): radians; distances, heights (n,): world units. Of photos that look outward, these are those
    of their unit axes instead. aside: (n,), False for a photo from straight above, whose angle means nothing.
    begin, extent: the photographed arc, radians; extent is 2π if the photos go all the way round. e1 points
    to the first photo.
    """

    angles: Array
    distances: Array
    heights: Array
    aside: NDArray[np.bool_]
    e1: Array
    e2: Array
    up: Array
    begin: float
    extent: float

    @property
    def whole(self) -> bool:
        """Whether the photos go all the way round."""
        return self.extent >= 2 * np.pi

    def offset(self, angle: float, distance: float, height: float) -> Array:
        """The vector (3,) from the focus to a place with these coordinates."""
        flat: Array = np.cos(angle) * self.e1 + np.sin(angle) * self.e2
        return distance * flat + height * self.up


def round_of(subject: Subject) -> Round:
    """Where the photos are about the subject."""
    s = subject
    offsets = s.centres - s.focus if s.inward else s.axes
    heights = offsets @ s.up
    flat = offsets - heights[:, None] * s.up
    distances = np.linalg.norm(flat, axis=1)
    aside = distances >= 0.2 * float(np.median(distances))
    first = int(aside.argmax())
    e1 = flat[first] / max(distances[first], 1e-12)
    e2 = np.cross(s.up, e1)
    directions = flat / np.maximum(distances, 1e-12)[:, None]
    if s.inward and not axes_meet(s.centres, s.axes, s.focus):
        # A walk along a front: the photos look straight at it, and none shows it from the side.
        level = s.axes - (s.axes @ s.up)[:, None] * s.up
        directions = directions - level / np.maximum(np.linalg.norm(level, axis=1), 1e-12)[:, None]
    angles = np.arctan2(directions @ e2, directions @ e1)
    begin, extent = photographed_arc(angles[aside])
    return Round(angles, distances, heights, aside, e1, e2, s.up, begin, extent)


def orbit(subject: Subject, n_frames: int) -> list[Array]:
    """Poses (4, 4) around the focus and looking at it, as far from it and as high as the photos; closed.

    A full turn if the photos go all the way round; otherwise to and fro within the photographed arc, so
    that the film never shows what no photo saw. If the photos look outward, the camera instead stays in
    their middle and turns through the directions in which they looked.
    """
    s, around = subject, round_of(subject)
    radius, height = _usual_place(around) if s.inward else _medians(around)
    t = np.arange(n_frames) / n_frames
    if around.whole:
        angles = around.begin + around.extent * t
    else:
        # A cosine swing rests at both ends, as a hand-held camera would. A twelfth of the arc is left out
        # at each end: few photos show it, and the outermost may be held out.
        angles = around.begin + around.extent * (0.5 - SWING * np.cos(2 * np.pi * t))
    from_middle = np.linalg.norm(s.centres - s.centres.mean(0), axis=1)
    middle = s.centres[from_middle.argmin()]  # a place where the photographer stood
    poses = []
    for angle in angles:
        out = around.offset(angle, radius, height)
        if s.inward:
            poses.append(look_at(s.focus + out, s.focus, s.up))
        else:
            poses.append(look_at(middle, middle + out, s.up))
    return poses


def _medians(around: Round) -> tuple[float, float]:
    """The photos' median distance and height."""
    return float(np.median(around.distances)), float(np.median(around.heights))


def _usual_place(around: Round) -> tuple[float, float]:
    """A distance and a height, seen from where the photos usually are, at which the subject fits the picture.

    Many photographers walk round a subject once for the whole and then closer for details, so the median
    would cut it off.
    """
    distances, heights = around.distances[around.aside], around.heights[around.aside]
    reach = float(np.quantile(np.hypot(distances, heights), WHOLE))
    slope = float(np.median(np.arctan2(heights, distances)))
    return reach * float(np.cos(slope)), reach * float(np.sin(slope))


def photographed_arc(angles: Array) -> tuple[float, float]:
    """(begin, extent), radians, of the arc that holds most of the angles (n,) and has no wide gap.

    (0, 2π) if the angles go all the way round. A gap is wide if it exceeds twice the median gap between
    photos, but never less than 60° or more than 100°.
    """
    a = np.sort(np.mod(angles, 2 * np.pi))
    gaps = np.diff(np.append(a, a[0] + 2 * np.pi))
    limit = np.clip(2 * np.median(gaps), np.radians(60), np.radians(100))
    cuts = np.flatnonzero(gaps > limit)
    if len(cuts) == 0:
        return 0.0, 2 * np.pi
    arcs = []
    for cut, following in zip(cuts, np.append(cuts[1:], cuts[0] + len(a)), strict=True):
        first, last = a[(cut + 1) % len(a)], a[following % len(a)]
        arcs.append((following - cut, (last - first) % (2 * np.pi), first))
    n_photos, extent, begin = max(arcs)
    if n_photos == 1:  # no photo has a neighbour: leave out only the widest gap
        widest = int(gaps.argmax())
        begin, extent = a[(widest + 1) % len(a)], 2 * np.pi - gaps[widest]
    return float(begin), float(extent)


def typical_view(subject: Subject) -> tuple[Array, Array, float]:
    """(centre, target, spread): where the most typical photo was taken, and the point (3,) that it looks at.

    target: the focus, or a point straight ahead if the photo doesn't look towards it. spread: the photos'
    median distance from their middle, world units.
    """
    s = subject
    from_middle = np.linalg.norm(s.centres - s.centres.mean(0), axis=1)
    spread = float(np.median(from_middle))
    # One of the cameras, not their mean: that would be inside a subject photographed from all sides.
    typical = int(np.argmin(from_middle / max(spread, 1e-12) - s.axes @ s.axes.mean(0)))
    centre, axis = s.centres[typical], s.axes[typical]
    target = s.focus
    if not s.inward or (target - centre) @ axis < 0.2 * np.linalg.norm(target - centre):
        target = centre + axis * max(4 * spread, 1e-6)
    return centre, target, spread


def spiral(subject: Subject, n_frames: int) -> list[Array]:
    """Poses (4, 4): two small turns about the typical camera, looking at the focus; closed.

    Suits photos taken from the front. If the typical camera doesn't look towards the focus, the path looks
    straight ahead from that camera instead.
    """
    centre, focus, spread = typical_view(subject)
    distance = float(np.linalg.norm(focus - centre))
    pose = look_at(centre, focus, subject.up)
    right, up, forward = pose[:3, 0], -pose[:3, 1], pose[:3, 2]
    radius = min(0.5 * spread, 0.25 * distance)
    poses = []
    for a in 4 * np.pi * np.arange(n_frames) / n_frames:
        offset = radius * (np.cos(a) * right + 0.6 * np.sin(a) * up + 0.5 * np.sin(a / 2) * forward)
        # The camera's own up, so that looking straight down doesn't spin the picture.
        poses.append(look_at(centre + offset, focus, up))
    return poses
