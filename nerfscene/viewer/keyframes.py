"""An editable camera path: keyframes, how they are joined, and the settings of the film along them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nerfscene.cameras.algebra import pose_in_scene, similarity_scale
from nerfscene.errors import NerfsceneError
from nerfscene.films.own_keyframes import EASINGS, MOST_KEYFRAMES
from nerfscene.films.paths import CameraPath, interpolate
from nerfscene.films.pulling import baked, fitted
from nerfscene.films.through import looking_at
from nerfscene.films.tracks import Key, Keys, Point, Tracks, frame_times
from nerfscene.films.tracks import transformed as tracks_transformed
from nerfscene.loading import loading
from nerfscene.types import Array, Camera, Intrinsics
from nerfscene.viewer.film_settings import FilmSettings, Focus, focus_moved, point_moved

CARRIED = ("focus", "exposure", "roll")  # by keyframes, of a film's tracks

MOST_UNDO = 100
FINE = 64  # cameras a keyframe, among which those of keyframes are looked for


@dataclass(frozen=True)
class Keyframe:
    """A camera on the path.

    world_from_cam: (4, 4), OpenCV axes. fov: vertical, degrees. time: seconds from the keyframe before it;
    only ratios of these times matter, because they are scaled to fill the film. roll: degrees by which the
    picture's content is turned clockwise, on top of the pose's. focus, exposure: as ``films.tracks`` has
    them; None: what the others give here.
    """

    world_from_cam: Array
    fov: float = 50.0
    time: float = 1.0
    roll: float = 0.0
    focus: Focus = None
    exposure: float | None = None


@dataclass(frozen=True)
class LookAt:
    """What the camera looks at all the time, and what is up (a unit vector) while it does."""

    point: Point
    up: Point


@dataclass(frozen=True)
class Plan:
    """Keyframes, and the film along them: width, height in pixels, fps, and its length in seconds.

    look_at: None: the camera looks where the keyframes look. tracks: what else is pulled by key. What
    keyframes carry counts instead; its field of view counts instead of theirs.
    """

    keyframes: tuple[Keyframe, ...] = ()
    loop: bool = False
    constant_speed: bool = False
    easing: str = EASINGS[0]
    width: int = 960
    height: int = 540
    fps: float = 30.0
    seconds: float = 8.0
    look_at: LookAt | None = None
    film: FilmSettings = FilmSettings()  # noqa: RUF009 - frozen
    tracks: Tracks = Tracks()  # noqa: RUF009 - frozen

    @property
    def n_frames(self) -> int:
        """Frames in the film."""
        return max(round(self.fps * self.seconds), 1)


def added(plan: Plan, keyframe: Keyframe, after: int | None = None) -> Plan:
    """The plan with a keyframe added after number ``after`` (from 0), or at the end.

    Between two keyframes it is reached halfway, and nothing else moves in time. At the end it takes as long
    as the others do on average.
    Raises NerfsceneError if there are MOST_KEYFRAMES already.
    """
    if len(plan.keyframes) >= MOST_KEYFRAMES:
        raise NerfsceneError(f"this path has {MOST_KEYFRAMES} keyframes already, as many as there can be")
    keys = list(plan.keyframes)
    index = len(keys) if after is None else after + 1
    if index < len(keys):
        half = keys[index].time / 2
        keys[index] = replace(keys[index], time=half)
    else:
        steps = [k.time for k in keys[1:]] or [keyframe.time]
        half = sum(steps) / len(steps)
    return replace(plan, keyframes=(*keys[:index], replace(keyframe, time=half), *keys[index:]))


def removed(plan: Plan, index: int) -> Plan:
    """The plan without one keyframe; those between others leave the rest where it is in time."""
    keys = list(plan.keyframes)
    gone = keys.pop(index)
    if 0 < index < len(keys):
        keys[index] = replace(keys[index], time=keys[index].time + gone.time)
    return replace(plan, keyframes=tuple(keys))


def changed(plan: Plan, index: int, **values: Any) -> Plan:
    """The plan with some fields of one keyframe changed."""
    new = replace(plan.keyframes[index], **values)
    return replace(plan, keyframes=(*plan.keyframes[:index], new, *plan.keyframes[index + 1 :]))


def moved(plan: Plan, index: int, to: int) -> Plan:
    """The plan with one keyframe moved to another place in the order; the times stay where they are."""
    times = [k.time for k in plan.keyframes]
    rest = list(plan.keyframes)
    one = rest.pop(index)
    rest.insert(to, one)
    return replace(plan, keyframes=tuple(replace(k, time=t) for k, t in zip(rest, times, strict=True)))


def transformed(plan: Plan, new_from_world: Array) -> Plan:
    """The same path in the coordinates of another world; ``new_from_world``: a similarity (4, 4)."""
    frames = tuple(
        replace(
            k,
            world_from_cam=pose_in_scene(new_from_world, k.world_from_cam),
            focus=focus_moved(k.focus, new_from_world),
        )
        for k in plan.keyframes
    )
    look = plan.look_at
    if look is not None:
        x, y, z = new_from_world[:3, :3] @ look.up / similarity_scale(new_from_world)
        look = LookAt(point_moved(look.point, new_from_world), (float(x), float(y), float(z)))
    tracks = tracks_transformed(plan.tracks, new_from_world)
    return replace(plan, keyframes=frames, look_at=look, film=plan.film.moved(new_from_world), tracks=tracks)


def eased(plan: Plan, share: Array) -> Array:
    """How much of the way in time (0…1) is done at a share (0…1) of the film; easing slows both ends."""
    x: Array = np.clip(share, 0, 1)
    if not plan.loop and plan.easing == "gentle":
        x = x + (x * x * (3 - 2 * x) - x) * 0.6
    elif not plan.loop and plan.easing == "strong":
        x = x * x * (3 - 2 * x)
    return x


def steps_of(plan: Plan) -> list[float]:
    """How long each way takes, from the first keyframe to the second and so on; a loop's last leads back."""
    steps = [max(k.time, 1e-6) for k in plan.keyframes[1:]]
    return [*steps, max(plan.keyframes[0].time, 1e-6)] if plan.loop and plan.keyframes else steps


def progress_at(plan: Plan, share: Array) -> Array:
    """The position on the path at a share (0…1) of the film's time: 0 at the first keyframe, 1 at the second…

    It follows the keyframes' times, smoothly and never backwards.
    """
    x, steps, n = eased(plan, share), steps_of(plan), len(plan.keyframes)
    if not steps:
        return np.zeros_like(x)
    times = np.append(0.0, np.cumsum(steps)) / sum(steps)
    if len(set(steps)) == 1:
        return x * (n - 1 + plan.loop)
    with loading():
        from scipy.interpolate import PchipInterpolator  # imported here because it takes half a second
    return np.asarray(PchipInterpolator(times, np.arange(len(times)))(x))


def cameras(plan: Plan, n_frames: int | None = None) -> CameraPath:
    """The camera of each frame; ``n_frames`` instead of the plan's own number.

    Raises NerfsceneError if the plan has no keyframes, leads through the point that it looks at, or has a
    track's key after the film's end.
    """
    path = way(plan, n_frames)
    look = plan.look_at
    if look is not None:
        path = looking_at(path, np.array(look.point), np.array(look.up))
    tracks, seconds = tracks_of(plan), film_seconds(plan)
    if not tracks:
        return path
    tracks = fitted(tracks, seconds, plan.fps, lambda name: f"the {name} of this path")
    times = frame_times(len(path.cameras), seconds, plan.loop)
    return baked(replace(path, tracks=tracks, seconds=seconds, times=times))


def film_seconds(plan: Plan) -> float:
    """How long the plan's film is, in whole frames."""
    return plan.n_frames / plan.fps


def tracks_of(plan: Plan) -> Tracks:
    """What the film pulls by key: what keyframes carry, at their times, and the plan's own tracks."""
    if not plan.keyframes:
        return plan.tracks
    values: dict[str, list[Focus]] = {
        "focus": [k.focus for k in plan.keyframes],
        "exposure": [k.exposure for k in plan.keyframes],
        "roll": [k.roll if any(k.roll for k in plan.keyframes) else None for k in plan.keyframes],
    }
    if all(v is None for row in values.values() for v in row):
        return plan.tracks
    times = times_of(plan) / plan.seconds * film_seconds(plan)
    made: dict[str, Keys] = {}
    for name, row in values.items():
        keys = tuple(Key(float(t), v) for t, v in zip(times, row, strict=False) if v is not None)
        made[name] = keys or getattr(plan.tracks, name)
    return replace(plan.tracks, **made)


def way(plan: Plan, n_frames: int | None = None) -> CameraPath:
    """The path as ``cameras`` has it, but looking where the keyframes look, and without tracks."""
    if not plan.keyframes:
        raise NerfsceneError("this path has no keyframes; add one where the camera is, or choose a preset")
    n = plan.n_frames if n_frames is None else n_frames
    w, h = plan.width, plan.height
    poses = [k.world_from_cam for k in plan.keyframes]
    focals = np.array([h / 2 / np.tan(np.radians(k.fov) / 2) for k in plan.keyframes])
    share = np.linspace(0, 1, n, endpoint=not plan.loop) if n > 1 else np.zeros(1)
    if not plan.constant_speed:
        key_times = progress_at(plan, share)
        poses, focals = interpolate(poses, focals, n, False, plan.loop, key_times=key_times)
    elif plan.easing == EASINGS[0] or plan.loop:  # a loop has no ends to be slow at
        poses, focals = interpolate(poses, focals, n, True, plan.loop)
    else:  # even speed along the path, except for the easing at its ends
        ends = replace(plan, keyframes=(Keyframe(poses[0]), Keyframe(poses[-1])), loop=False)
        poses, focals = interpolate(poses, focals, 64 * len(poses) + 1, True, plan.loop)
        key_times = progress_at(ends, share) * (len(poses) - 1)
        poses, focals = interpolate(poses, focals, n, key_times=key_times)
    shots = tuple(
        Camera(Intrinsics(w, h, float(f), float(f), w / 2, h / 2), pose)
        for pose, f in zip(poses, focals, strict=True)
    )
    return CameraPath(shots, plan.fps, plan.seconds, plan.loop)


def times_of(plan: Plan) -> Array:
    """When each keyframe is reached, seconds (n,); in a loop also when the first is again, (n + 1,)."""
    n = len(plan.keyframes)
    if n < 2:
        return np.zeros(n)
    if plan.constant_speed:
        shares = _arrivals(plan)
    else:
        shares = np.append(0.0, np.cumsum(steps_of(plan))) / sum(steps_of(plan))
    fine = np.linspace(0, 1, 2001)
    times: Array = plan.seconds * np.interp(shares, eased(plan, fine), fine)
    return times


def _arrivals(plan: Plan) -> Array:
    """The shares of the way, of equal speed, at which keyframes are reached, as in ``times_of``."""
    n = len(plan.keyframes)
    count = FINE * n + 1
    along = np.stack([c.world_from_cam for c in way(replace(plan, easing=EASINGS[0]), count).cameras])
    keys = np.stack([k.world_from_cam for k in plan.keyframes])
    extent = max(float(np.ptp(along[:, :3, 3], axis=0).max()), 1e-9)
    found, first = [0], 0
    for i in range(1, n):
        last = count - (n - i) + plan.loop  # the later ones need their places too
        off = np.linalg.norm(along[first + 1 : last, :3, 3] - keys[i, :3, 3], axis=1) / extent
        off += np.linalg.norm(along[first + 1 : last, :3, :3] - keys[i, :3, :3], axis=(1, 2)) / 4
        near = np.flatnonzero(off <= off.min() + 2 / FINE)
        # A path may come back to the same place later: the first time counts.
        end = near[0]
        while end + 1 < len(off) and off[end + 1] < off[end]:
            end += 1
        first = first + 1 + int(end)
        found.append(first)
    shares = np.array(found) / (count if plan.loop else count - 1)
    if plan.loop:
        return np.append(shares, 1.0)
    shares[-1] = 1.0
    return shares


class Editor:
    """The plan being edited, and earlier plans to undo to."""

    def __init__(self, plan: Plan = Plan()) -> None:
        self.plan = plan
        self._before: list[Plan] = []

    def apply(self, plan: Plan) -> None:
        """Changes the plan; ``undo`` takes this back."""
        self._before = [*self._before[-MOST_UNDO:], self.plan]
        self.plan = plan

    def undo(self) -> bool:
        """Goes back to the plan before; False if there is none."""
        if not self._before:
            return False
        self.plan = self._before.pop()
        return True
