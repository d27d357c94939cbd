"""An editable camera path: keyframes, how they are joined, and the settings of the film along them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator

from nerfscene.cameras.algebra import pose_in_scene, vertical_fov
from nerfscene.errors import NerfsceneError
from nerfscene.films.camera_path_file import GIVE, path_data, read_camera_path
from nerfscene.films.own_keyframes import EASINGS, MOST_KEYFRAMES, OURS, VERSION, own_part, tracks_part
from nerfscene.films.path_sources import opened
from nerfscene.films.paths import CameraPath, interpolate
from nerfscene.films.pulling import baked, fitted, unrolled
from nerfscene.films.tracks import Tracks, frame_times
from nerfscene.films.tracks import transformed as tracks_transformed
from nerfscene.scene.atomic import write_json
from nerfscene.scene.scene import Scene
from nerfscene.types import Array, Camera, Intrinsics

MOST_UNDO = 100
# A film made in the page keeps the whole machine busy. So it has at most 4096×2304 pixels a frame, ten
# minutes at 30 frames a second, and in all the pixels of ten minutes of 1920×1080.
MOST_IN_FRAME, MOST_FRAMES, MOST_PIXELS = 4096 * 2304, 18_000, 18_000 * 1920 * 1080


@dataclass(frozen=True)
class Keyframe:
    """A camera on the path.

    world_from_cam: (4, 4), OpenCV axes. fov: vertical, degrees. time: seconds from the keyframe before it;
    only ratios of these times matter, because they are scaled to fill the film.
    """

    world_from_cam: Array
    fov: float = 50.0
    time: float = 1.0


@dataclass(frozen=True)
class Plan:
    """Keyframes, and the film along them: width, height in pixels, fps, and its length in seconds.

    tracks: what is pulled by key. Its roll is on top of the keyframes', its field of view instead of theirs.
    """

    keyframes: tuple[Keyframe, ...] = ()
    loop: bool = False
    constant_speed: bool = False
    easing: str = EASINGS[0]
    width: int = 960
    height: int = 540
    fps: float = 30.0
    seconds: float = 8.0
    tracks: Tracks = Tracks()  # noqa: RUF009 - frozen

    @property
    def n_frames(self) -> int:
        """Frames in the film."""
        return max(round(self.fps * self.seconds), 1)


def check_size(plan: Plan) -> None:
    """Raises NerfsceneError for a film that is too large or too long to be made in the page."""
    frame, n = plan.width * plan.height, plan.n_frames
    if frame > MOST_IN_FRAME:
        raise NerfsceneError(
            f"{plan.width}×{plan.height} is too large for a film made here; choose at most "
            f"{MOST_IN_FRAME / 1e6:.1f} million pixels, as 4096×2304 has, or use nerfscene render"
        )
    most = min(MOST_FRAMES, MOST_PIXELS // frame)
    if n > most:
        raise NerfsceneError(
            f"{n} frames are too many for a film made here; at {plan.width}×{plan.height} and {plan.fps:g} "
            f"frames a second choose at most {most / plan.fps:.0f} seconds, or use nerfscene render"
        )


def added(plan: Plan, keyframe: Keyframe, after: int | None = None) -> Plan:
    """The plan with a keyframe added after number ``after`` (from 0), or at the end.

    Raises NerfsceneError if there are MOST_KEYFRAMES already.
    """
    if len(plan.keyframes) >= MOST_KEYFRAMES:
        raise NerfsceneError(f"this path has {MOST_KEYFRAMES} keyframes already, as many as there can be")
    index = len(plan.keyframes) if after is None else after + 1
    return replace(plan, keyframes=(*plan.keyframes[:index], keyframe, *plan.keyframes[index:]))


def removed(plan: Plan, index: int) -> Plan:
    """The plan without one keyframe."""
    return replace(plan, keyframes=plan.keyframes[:index] + plan.keyframes[index + 1 :])


def changed(plan: Plan, index: int, **values: Any) -> Plan:
    """The plan with some fields of one keyframe changed."""
    new = replace(plan.keyframes[index], **values)
    return replace(plan, keyframes=(*plan.keyframes[:index], new, *plan.keyframes[index + 1 :]))


def moved(plan: Plan, index: int, to: int) -> Plan:
    """The plan with one keyframe moved to another place in the order."""
    rest = list(plan.keyframes)
    one = rest.pop(index)
    rest.insert(to, one)
    return replace(plan, keyframes=tuple(rest))


def transformed(plan: Plan, new_from_world: Array) -> Plan:
    """The same path in the coordinates of another world; ``new_from_world``: a similarity (4, 4)."""
    frames = (
        replace(k, world_from_cam=pose_in_scene(new_from_world, k.world_from_cam)) for k in plan.keyframes
    )
    return replace(plan, keyframes=tuple(frames), tracks=tracks_transformed(plan.tracks, new_from_world))


def progress_at(plan: Plan, share: Array) -> Array:
    """The position on the path at a share (0…1) of the film's time: 0 at the first keyframe, 1 at the second…

    It follows the keyframes' times, smoothly and never backwards; easing starts and ends slowly.
    """
    x = np.clip(share, 0, 1)
    if not plan.loop:
        if plan.easing == "gentle":
            x = x + (x * x * (3 - 2 * x) - x) * 0.6
        elif plan.easing == "strong":
            x = x * x * (3 - 2 * x)
    n = len(plan.keyframes)
    steps = [max(k.time, 1e-3) for k in plan.keyframes[1:]]
    if plan.loop:
        steps.append(max(plan.keyframes[0].time, 1e-3))
    if not steps:
        return np.zeros_like(x)
    times = np.append(0.0, np.cumsum(steps)) / sum(steps)
    if len(set(steps)) == 1:
        return x * (n - 1 + plan.loop)
    return np.asarray(PchipInterpolator(times, np.arange(len(times)))(x))


def cameras(plan: Plan, n_frames: int | None = None) -> CameraPath:
    """The camera of each frame; ``n_frames`` instead of the plan's own number.

    Raises NerfsceneError if the plan has no keyframes, or a track's key after the film's end.
    """
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
    elif plan.easing == EASINGS[0]:
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
    path = CameraPath(shots, plan.fps, plan.seconds, plan.loop)
    return _pulled(path, plan) if plan.tracks else path


def _pulled(path: CameraPath, plan: Plan) -> CameraPath:
    """The path with the plan's tracks. Raises NerfsceneError for a key after the film's end."""
    seconds = plan.n_frames / plan.fps
    tracks = fitted(plan.tracks, seconds, plan.fps, lambda name: f"the {name} of this path")
    times = frame_times(len(path.cameras), seconds, plan.loop)
    return baked(replace(path, tracks=tracks, seconds=seconds, times=times))


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


def save(plan: Plan, file: Path) -> None:
    """Writes a camera_path.json: every frame in nerfstudio's format, and our own settings beside them.

    Raises NerfsceneError for a plan without keyframes or a file that can't be written.
    """
    data = path_data(cameras(plan), file, plan.fps)
    settings = {k: v for k, v in plan.__dict__.items() if k not in ("keyframes", "tracks")}
    frames = [
        {"world_from_cam": k.world_from_cam.ravel().tolist(), "fov": k.fov, "time": k.time}
        for k in plan.keyframes
    ]
    data[OURS] = {"version": VERSION, **settings, "keyframes": frames, **tracks_part(plan.tracks)}
    write_json(data, file)


def load(file: Path, scene: Scene | None = None, note: Callable[[str], None] = lambda text: None) -> Plan:
    """Reads a plan that ``save`` wrote, or makes one from another program's camera_path.json.

    scene: the scene that the path is for, see ``read_camera_path``. note: called with each sentence on what
    is not taken over, or on doubts. Raises NerfsceneError, naming the file, for anything that can't be used.
    """
    path = read_camera_path(file, scene=scene)
    for sentence in path.notes:
        note(sentence)
    if path.crop is not None:
        note(f"{file}: its crop is not shown here; nerfscene render applies it.")
    lens = path.cameras[0].intrinsics.lens
    if lens != "perspective":
        note(f"{file}: its cameras are {lens}; here they are perspective, and nerfscene render has --lens.")
    data = opened(file, GIVE)
    ours = own_part(data, file) if isinstance(data, dict) else None
    return from_path(path) if ours is None else replace(_plan_of(ours), tracks=path.tracks)


def _plan_of(ours: dict[str, Any]) -> Plan:
    """The plan in a file's own part, which ``own_part`` has checked."""
    frames = tuple(
        Keyframe(np.array(k["world_from_cam"], float).reshape(4, 4), float(k["fov"]), float(k["time"]))
        for k in ours["keyframes"]
    )
    return Plan(
        frames,
        ours["loop"],
        ours["constant_speed"],
        ours["easing"],
        ours["width"],
        ours["height"],
        float(ours["fps"]),
        float(ours["seconds"]),
    )


def from_path(path: CameraPath, most: int = 12) -> Plan:
    """A plan with up to ``most`` keyframes along a path; its film has the path's size, length and tracks."""
    path = unrolled(path)
    n = len(path.cameras)
    n_keyframes = min(n, most)
    last = n if path.loop else n - 1  # a loop goes on from the last frame to the first
    chosen = np.unique(np.linspace(0, last, n_keyframes + path.loop)[:n_keyframes].round().astype(int))
    frames = []
    for i in chosen:
        lens = path.cameras[i].intrinsics
        of_file = lens.lens in ("perspective", "fisheye")
        fov = float(np.degrees(vertical_fov(lens))) if of_file else Keyframe.fov
        frames.append(Keyframe(path.cameras[i].world_from_cam, fov))
    k = path.cameras[0].intrinsics
    fps = path.fps or 30.0
    return Plan(
        tuple(frames),
        path.loop,
        False,
        EASINGS[0],
        k.width,
        k.height,
        fps,
        path.seconds or max(n / fps, 1 / fps),
        path.tracks,
    )
