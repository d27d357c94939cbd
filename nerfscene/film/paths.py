"""Camera paths: presets made from the photos' own cameras, and splines through keyframes.

Everything is in the capture's world coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import (
    axes_meet,
    look_one_way,
    looked_at,
    nearest_point_to_axes,
    up_direction,
    walks_ahead,
)
from nerfscene.capture.folder import natural_key
from nerfscene.errors import NerfsceneError
from nerfscene.types import Array, Camera, Intrinsics, View

PRESETS = ("orbit", "spiral", "walkthrough")
FAR_APART = np.radians(37)  # between two looks of a walkthrough: one between them is taken too
BIG_TURN = np.radians(60)  # between the looks of one photo and the next: what lies between is unknown
MOST_TURN = np.radians(540)  # in all of a walkthrough


@dataclass(frozen=True)
class CameraPath:
    """Cameras in order of time, and what a file said about the film (None where it was silent).

    ``loop``: the frame after the last one is the first. ``width`` and ``height``, in pixels, are the
    file's; the cameras' own are those to render.
    """

    cameras: tuple[Camera, ...]
    fps: float | None = None
    seconds: float | None = None
    loop: bool = False
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class Subject:
    """What the photos are about: ``focus`` (3,), which their axes (n, 3) come nearest to.

    ``inward``: the cameras at ``centres`` (n, 3) look at the focus, not away from it as in a room that
    is photographed from its middle. ``up`` (3,) is the cameras' common up, unit.
    """

    centres: Array
    axes: Array
    focus: Array
    up: Array
    inward: bool


def look_at(position: Array, target: Array, up: Array) -> Array:
    """Pose (4, 4), OpenCV axes, of a camera at ``position`` that looks at ``target``."""
    z = target - position
    z = z / np.linalg.norm(z)
    x = np.cross(z, up)
    norm = np.linalg.norm(x)
    # Looking straight along up: any horizontal direction serves as x.
    x = x / norm if norm > 1e-6 else np.linalg.svd(z[None])[2][1]
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    pose[:3, 3] = position
    return pose


def film_intrinsics(views: Sequence[View], width: int, height: int) -> Intrinsics:
    """A lens without distortion that shows, at any aspect, at least the photos' smaller field of view.

    The photos' median angle across their shorter side becomes the angle across the film's shorter
    side, so a landscape film of portrait photos keeps the subject whole. At most 137°.
    """
    angles = []
    for v in views:
        k = v.intrinsics
        side, focal = (k.width, k.fx) if k.width <= k.height else (k.height, k.fy)
        # A fisheye's angle grows with the distance from the centre, not with its arc tangent.
        angles.append(side / focal if k.lens == "fisheye" else 2 * np.arctan(0.5 * side / focal))
    focal = 0.5 * min(width, height) / np.tan(0.5 * min(float(np.median(angles)), 2.4))
    return Intrinsics(width, height, focal, focal, width / 2, height / 2)


def preset(
    name: str,
    views: Sequence[View],
    n_frames: int,
    width: int,
    height: int,
    points: Array | None = None,
    up: Array | None = None,
) -> CameraPath:
    """``orbit``, ``spiral`` or ``walkthrough`` through the photos' cameras, ``n_frames`` long.

    ``points`` (n, 3), world units, tell how far the subject is where all photos look the same way;
    ``up`` (3,) is guessed from the cameras where it is not known.
    Raises NerfsceneError for another name, fewer than two views or no frames.
    """
    if name not in PRESETS:
        raise NerfsceneError(
            f"no camera path is called {name!r}; choose {', '.join(PRESETS)}, or give a camera_path.json"
        )
    if len(views) < 2:
        raise NerfsceneError("a camera path needs a scene with at least two posed photos")
    if n_frames < 1:
        raise NerfsceneError("a camera path needs at least one frame; give more seconds or frames a second")
    if name == "walkthrough":
        poses = walkthrough(views, n_frames)
    else:
        poses = (orbit if name == "orbit" else spiral)(subject_of(views, points, up), n_frames)
    k = film_intrinsics(views, width, height)
    return CameraPath(tuple(Camera(k, p) for p in poses), loop=name != "walkthrough")


def suited(views: Sequence[View]) -> str:
    """The preset that keeps to what the photos show.

    Who walks ahead along a street has nothing to orbit, nor who looks now here, now there in a room.
    """
    poses = np.stack([v.world_from_cam for v in views])
    centres, axes = poses[:, :3, 3], poses[:, :3, 2]
    if look_one_way(axes):
        return "walkthrough" if walks_ahead(centres, axes) else "orbit"
    focus = nearest_point_to_axes(centres, axes)
    round_it = looked_at(centres, axes, focus) or looked_at(centres, -axes, focus)
    return "orbit" if round_it else "walkthrough"


def subject_of(views: Sequence[View], points: Array | None = None, up: Array | None = None) -> Subject:
    """Where the photos look, from their cameras; from ``points`` (n, 3) too where axes hardly meet.

    ``up`` (3,) where it is known; otherwise it is the cameras' own.
    """
    centres = np.stack([v.world_from_cam[:3, 3] for v in views])
    axes = np.stack([v.world_from_cam[:3, 2] for v in views])
    focus = nearest_point_to_axes(centres, axes)
    ahead, agreement = axes.mean(0), float(np.linalg.norm(axes.mean(0)))
    if points is not None and len(points) and agreement > 0.5 and not axes_meet(centres, axes, focus):
        ahead = ahead / agreement
        depths = (points - centres.mean(0)) @ ahead
        if (depths > 0).any():
            focus = centres.mean(0) + ahead * np.median(depths[depths > 0])
    toward = focus - centres
    # Cameras that only turn on the spot have their focus in themselves, to within rounding.
    apart = np.median(np.linalg.norm(toward, axis=1)) > 1e-6 * max(1.0, float(np.abs(centres).max()))
    inward = bool(apart and np.median((toward * axes).sum(1)) > 0)
    upward = up_direction(views) if up is None else up / np.linalg.norm(up)
    return Subject(centres, axes, focus, upward, inward)


def orbit(subject: Subject, n_frames: int) -> list[Array]:
    """Poses around the focus, which they look at, at the photos' typical distance and height; closed.

    A full turn where the photos go all round; otherwise to and fro within the photographed arc, so
    that the camera never shows what no photo saw. Where the photos look outward, the camera turns on
    the spot in their middle instead, through the directions that they looked in.
    """
    s = subject
    offset = s.centres - s.focus if s.inward else s.axes
    heights = offset @ s.up
    flat = offset - heights[:, None] * s.up
    reach = np.linalg.norm(flat, axis=1)
    radius, rise = float(np.median(reach)), float(np.median(heights))
    # A photo from straight above has no side that it was taken from.
    sided = reach >= 0.2 * radius
    first = int(sided.argmax())
    e1 = flat[first] / max(reach[first], 1e-12)
    e2 = np.cross(s.up, e1)
    seen = flat / np.maximum(reach, 1e-12)[:, None]
    if s.inward and not axes_meet(s.centres, s.axes, s.focus):
        # A walk along a front: photos look straight at it, and what shows from aside is in none of them.
        level = s.axes - (s.axes @ s.up)[:, None] * s.up
        seen = seen - level / np.maximum(np.linalg.norm(level, axis=1), 1e-12)[:, None]
    sides = np.arctan2(seen @ e2, seen @ e1)[sided]
    begin, extent = photographed_arc(sides)
    t = np.arange(n_frames) / n_frames
    if extent >= 2 * np.pi:
        angles = begin + extent * t
    else:
        # A cosine swing rests at the ends, as a hand does. A twelfth is left out on each side: few photos
        # saw what shows there, and the first of them may be held out.
        angles = begin + extent * (0.5 - 0.42 * np.cos(2 * np.pi * t))
    away = np.linalg.norm(s.centres - s.centres.mean(0), axis=1)
    middle = s.centres[away.argmin()]  # a place where somebody stood
    poses = []
    for a in angles:
        out = radius * (np.cos(a) * e1 + np.sin(a) * e2) + rise * s.up
        if s.inward:
            poses.append(look_at(s.focus + out, s.focus, s.up))
        else:
            poses.append(look_at(middle, middle + out, s.up))
    return poses


def photographed_arc(angles: Array) -> tuple[float, float]:
    """(begin, extent), radians, of the arc that holds most of the angles (n,) with no wide gap.

    (0, 2π) where the angles go all round. What counts as a gap follows how far apart the
    photos usually are: 60° at least, 100° at most.
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
    photos, extent, begin = max(arcs)
    if photos == 1:  # every photo is by itself: go by the one side that none was taken from
        widest = int(gaps.argmax())
        begin, extent = a[(widest + 1) % len(a)], 2 * np.pi - gaps[widest]
    return float(begin), float(extent)


def spiral(subject: Subject, n_frames: int) -> list[Array]:
    """Two small turns about the typical camera, looking at the focus: for captures from a front; closed.

    Where the typical camera doesn't look towards the focus, it looks at what is straight ahead.
    """
    s = subject
    spread = float(np.median(np.linalg.norm(s.centres - s.centres.mean(0), axis=1)))
    # Not the average camera itself, which for a capture all round would be inside the subject.
    away = np.linalg.norm(s.centres - s.centres.mean(0), axis=1) / max(spread, 1e-12)
    typical = int(np.argmin(away - s.axes @ s.axes.mean(0)))
    centre, axis = s.centres[typical], s.axes[typical]
    focus = s.focus
    if not s.inward or (focus - centre) @ axis < 0.2 * np.linalg.norm(focus - centre):
        focus = centre + axis * max(4 * spread, 1e-6)
    distance = float(np.linalg.norm(focus - centre))
    level = look_at(centre, focus, s.up)
    right, upward, forward = level[:3, 0], -level[:3, 1], level[:3, 2]
    radius = min(0.5 * spread, 0.25 * distance)
    poses = []
    for a in 4 * np.pi * np.arange(n_frames) / n_frames:
        offset = radius * (np.cos(a) * right + 0.6 * np.sin(a) * upward + 0.5 * np.sin(a / 2) * forward)
        # Its own up, so that looking straight down doesn't spin the picture.
        poses.append(look_at(centre + offset, focus, upward))
    return poses


def walkthrough(views: Sequence[View], n_frames: int) -> list[Array]:
    """A smooth way through the photos' own cameras in the order of their names, evenly paced.

    Where consecutive names jump about, the camera nearest in place and look comes next instead. About a
    dozen cameras are passed through, so that a shaky hand does not shake the film, and more where it turned:
    the shortest turn from here to there may lead over what no photo shows. Where photos lack between
    two looks, it keeps to the longer side of the gap if most photos are there. Of a way that turns round
    and round it shows a part: all of it would whirl. Not closed.
    """
    ordered = sorted(views, key=lambda v: natural_key(str(v.path)))
    poses = np.stack([v.world_from_cam for v in ordered])
    order = np.arange(len(poses))
    tour = _tour(poses)
    if _effort(poses).sum() > 2 * _effort(poses[tour]).sum():
        order = tour
    way = poses[_without_gaps(order, poses)]
    evenly = np.unique(np.linspace(0, len(way) - 1, min(12, len(way))).round().astype(int))
    keyframes = way[_not_too_far_round(_closer_at_turns(evenly.tolist(), way), way)]
    fine = interpolate(list(keyframes), np.ones(len(keyframes)), 40 * len(keyframes), constant_speed=True)[0]
    # Neither going nor turning may be hurried: each has half of the film, spread evenly.
    done = np.append(0.0, np.cumsum(_shares(*_steps(np.stack(fine)))))
    at = np.interp(np.linspace(0, done[-1], n_frames), done, np.arange(len(fine)))
    return interpolate(fine, np.ones(len(fine)), n_frames, at=at)[0]


def _steps(poses: Array) -> tuple[Array, Array]:
    """How far (n - 1,) each camera stands from the one before, and by what angle its look is turned."""
    moved = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    cosine = (poses[1:, :3, 2] * poses[:-1, :3, 2]).sum(1)
    return moved, np.arccos(np.clip(cosine, -1, 1))


def _shares(moved: Array, turned: Array) -> Array:
    """Of each step in all that is moved and in all that is turned, together."""
    whole: Array = moved / max(moved.sum(), 1e-12) + turned / max(turned.sum(), 1e-12)
    return whole


def _effort(poses: Array) -> Array:
    """What it takes from each camera to the next (n - 1,): a radian counts as the cameras' spread does."""
    moved, turned = _steps(poses)
    return moved / _spread(poses) + turned


def _spread(poses: Array) -> float:
    centres = poses[:, :3, 3]
    return float(np.sqrt(((centres - centres.mean(0)) ** 2).sum(1).mean())) or 1.0


def _without_gaps(order: NDArray[np.intp], poses: Array) -> NDArray[np.intp]:
    """The longest stretch of the way without a big turn from one look to the next; all if that is short."""
    turned = _steps(poses[order])[1]
    longest = max(np.split(order, np.flatnonzero(turned > BIG_TURN) + 1), key=len)
    return longest if 2 * len(longest) > len(order) else order


def _closer_at_turns(picks: list[int], poses: Array) -> list[int]:
    """Picks (ascending) with others between, halfway, as long as two in a row look far apart.

    Or the look went far between them, and came back: all round, perhaps.
    """
    turned = _steps(poses)[1]
    out = picks[:1]
    for last in picks[1:]:
        stack = [last]
        while stack:
            first, then = out[-1], stack[-1]
            between = (first + then) // 2
            apart = max(_steps(poses[[first, then]])[1][0], 0.4 * turned[first:then].sum())
            if between > first and apart > FAR_APART:
                stack.append(between)
            else:
                out.append(stack.pop())
    return out


def _not_too_far_round(picks: list[int], poses: Array) -> list[int]:
    """The picks up to where the look has turned by MOST_TURN altogether, of the part that goes farthest."""
    moved, turned = _steps(poses[picks])
    so_far = np.append(0.0, np.cumsum(turned))
    if so_far[-1] <= MOST_TURN:
        return picks
    gone = np.append(0.0, np.cumsum(moved))
    ends = np.searchsorted(so_far, so_far + MOST_TURN, side="right") - 1
    first = int((gone[ends] - gone + 1e-9 * (ends - np.arange(len(picks)))).argmax())
    return picks[first : max(int(ends[first]), first + 1) + 1]


def _tour(poses: Array) -> NDArray[np.intp]:
    """Indices of the poses (n, 4, 4), from an outermost one always to the nearest not visited yet."""
    centres, looks, spread = poses[:, :3, 3], poses[:, :3, 2], _spread(poses)
    here = int(np.linalg.norm(centres - centres.mean(0), axis=1).argmax())
    left = np.ones(len(poses), bool)
    tour = []
    for _ in range(len(poses)):
        tour.append(here)
        left[here] = False
        moved = np.linalg.norm(centres - centres[here], axis=1) / spread
        away = moved + np.arccos(np.clip(looks @ looks[here], -1, 1))
        here = int(np.where(left, away, np.inf).argmin())
    return np.array(tour)


def interpolate(
    keyframes: Sequence[Array],
    focals: Array,
    n_frames: int,
    constant_speed: bool = False,
    loop: bool = False,
    at: Array | None = None,
) -> tuple[list[Array], Array]:
    """Poses (4, 4) and focal lengths (n_frames,) along a smooth curve through n keyframes.

    Cubic splines through positions, quaternions and logarithms of focals (n,). Keyframes are equally
    far apart in time, or with ``constant_speed`` as far as the camera travels (a turn of 4 rad counting
    as one step); then the spline is centripetal, so that it neither loops nor overshoots. The last
    frame is the last keyframe; with ``loop``, the frame after the last is the first keyframe. ``at``
    (n_frames,) says instead where on the way each frame is: 0 at the first keyframe, 1 at the second…;
    with ``constant_speed`` the way between two of them counts by its length.
    """
    from scipy.interpolate import CubicSpline  # not at the top: it takes half a second
    from scipy.spatial.transform import Rotation  # not at the top: it takes half a second

    n = len(keyframes)
    if n == 1:
        return [keyframes[0].copy() for _ in range(n_frames)], np.repeat(focals, n_frames)
    # A loop goes on a few keyframes past both ends. (A periodic spline would not do: after a full turn
    # a quaternion comes back with the other sign.)
    pad = 8 if loop else 0
    around = np.arange(-pad, n + pad + loop) % n
    positions = np.stack([k[:3, 3] for k in keyframes])[around]
    quaternions = Rotation.from_matrix(np.stack([k[:3, :3] for k in keyframes])).as_quat()[around]
    same_side = np.sign((quaternions[1:] * quaternions[:-1]).sum(1))
    quaternions[1:] *= np.cumprod(np.where(same_side == 0, 1.0, same_side))[:, None]
    logs = np.log(np.asarray(focals, float))[around]
    step = float(np.linalg.norm(np.diff(positions, axis=0), axis=1).mean())
    if constant_speed:
        knots = np.append(0.0, np.cumsum(np.sqrt(_travel(positions, quaternions, step)) + 1e-3))
    else:
        knots = np.arange(len(around), dtype=float)
    columns = np.column_stack([positions, quaternions, logs])
    curve = CubicSpline(knots, columns, bc_type="natural")
    begin, end = knots[pad], knots[-1 - pad]
    times = np.linspace(begin, end, n_frames, endpoint=not loop)
    if at is not None:
        times = np.interp(at, np.arange(n + loop), knots[pad : len(knots) - pad])
    elif constant_speed:
        fine = np.linspace(begin, end, 64 * n)
        at = curve(fine)
        at[:, 3:7] /= np.linalg.norm(at[:, 3:7], axis=1, keepdims=True)
        travelled = np.append(0.0, np.cumsum(_travel(at[:, :3], at[:, 3:7], step)))
        if travelled[-1] > 0:
            wanted = np.linspace(0, travelled[-1], n_frames, endpoint=not loop)
            times = np.interp(wanted, travelled, fine)
    values = curve(times)
    out = np.tile(np.eye(4), (n_frames, 1, 1))
    out[:, :3, 3] = values[:, :3]
    out[:, :3, :3] = Rotation.from_quat(values[:, 3:7]).as_matrix()
    return list(out), np.exp(values[:, 7])


def _travel(positions: Array, quaternions: Array, step: float) -> Array:
    """How far from each pose to the next (n - 1,), in steps; turning on the spot counts a little."""
    moved = np.linalg.norm(np.diff(positions, axis=0), axis=1) / (step if step > 0 else 1.0)
    turned = 2 * np.linalg.norm(np.diff(quaternions, axis=0), axis=1)
    return np.hypot(moved, 0.25 * turned)


def resample(path: CameraPath, n_frames: int, constant_speed: bool = False) -> CameraPath:
    """The same way in another number of frames at the same fps, focal lengths interpolated along.

    With ``constant_speed`` the camera moves evenly, however the path's frames were spaced.
    Raises NerfsceneError for a path without cameras or fewer than one frame.
    """
    if not path.cameras or n_frames < 1:
        raise NerfsceneError("a camera path needs at least one frame; give more seconds or frames a second")
    if n_frames == len(path.cameras) and not constant_speed:
        return path
    poses, focals = interpolate(
        [c.world_from_cam for c in path.cameras],
        np.array([c.intrinsics.fy for c in path.cameras]),
        n_frames,
        constant_speed,
        path.loop,
    )
    k = path.cameras[0].intrinsics
    cameras = []
    for pose, f in zip(poses, focals, strict=True):
        cameras.append(Camera(replace(k, fx=float(f) * k.fx / k.fy, fy=float(f)), pose))
    seconds = n_frames / path.fps if path.fps else path.seconds
    return replace(path, cameras=tuple(cameras), seconds=seconds)
