"""Camera paths in files: the page's own, which is the scene's camera_path.json, and those of other programs.

Also the draft: the path as it was last edited, saved or not, for whoever opens the page again.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.cameras.algebra import vertical_fov
from nerfscene.capture.json_text import parsed
from nerfscene.errors import NerfsceneError
from nerfscene.films import own_keyframes
from nerfscene.films.camera_path_file import GIVE, path_data, read_camera_path
from nerfscene.films.own_keyframes import EASINGS, OURS, VERSION, WITH_TRACKS, own_part, tracks_part
from nerfscene.films.path_sources import opened
from nerfscene.films.paths import CameraPath
from nerfscene.films.pulling import unrolled
from nerfscene.films.tracks import Tracks
from nerfscene.scene.atomic import write_json
from nerfscene.scene.output_folder import CAMERA_PATH_FILE, PATH_DRAFT_FILE
from nerfscene.scene.scene import Scene
from nerfscene.viewer import film_settings
from nerfscene.viewer.key_values import carried
from nerfscene.viewer.keyframes import Keyframe, LookAt, Plan, cameras, tracks_of

log = logging.getLogger(__name__)
FITTING = (6, 8, 10, 12, 16, 20, 24)  # keyframes that a path gets: as few as follow it closely
CLOSE, TURNED = 0.02, 0.04  # as a share of its extent, and in radians: how closely
CHECKED = 300  # cameras that are compared for that, at most
PAUSE = 1.0  # seconds without a change after which a draft is written


def save(plan: Plan, file: Path) -> None:
    """Writes a camera_path.json: every frame in nerfstudio's format, and our own settings beside them.

    Raises NerfsceneError for a plan without keyframes or a file that can't be written.
    """
    data = path_data(cameras(plan), file, plan.fps)
    data[OURS] = described(plan)
    write_json(data, file)


def described(plan: Plan) -> dict[str, Any]:
    """What JSON keeps of a plan, as ``own_keyframes`` checks it."""
    taken = ("loop", "constant_speed", "easing", "width", "height", "fps", "seconds")
    kept: dict[str, Any] = {"version": VERSION, **{name: getattr(plan, name) for name in taken}}
    if plan.look_at is not None:
        kept["look_at"] = {"point": list(plan.look_at.point), "up": list(plan.look_at.up)}
    film = film_settings.described(plan.film)
    if film:
        kept["film"] = film
    kept["keyframes"] = [
        {"world_from_cam": k.world_from_cam.ravel().tolist(), "fov": k.fov, "time": k.time}
        for k in plan.keyframes
    ]
    if set(kept) & {"look_at", "film"}:
        kept["version"] = WITH_TRACKS
    return {**kept, **tracks_part(tracks_of(plan))}


def load(file: Path, scene: Scene | None = None, note: Callable[[str], None] = lambda text: None) -> Plan:
    """Reads a plan that ``save`` wrote, or makes one from another program's path.

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
        note(f"{file}: its cameras are {lens}; here they are perspective, and the tab Film has other lenses.")
    data = opened(file, GIVE)
    ours = own_part(data, file) if isinstance(data, dict) else None
    return from_path(path) if ours is None else plan_of(ours, path.tracks)


def plan_of(ours: dict[str, Any], tracks: Tracks) -> Plan:
    """The plan in a file's own part, which ``own_keyframes`` has checked; tracks: those in that part."""
    frames = tuple(
        Keyframe(np.array(k["world_from_cam"], float).reshape(4, 4), float(k["fov"]), float(k["time"]))
        for k in ours["keyframes"]
    )
    look = ours.get("look_at")
    if look is not None:
        look = LookAt(tuple(map(float, look["point"])), tuple(map(float, look["up"])))  # type: ignore[arg-type]
    plan = Plan(
        frames,
        ours["loop"],
        ours["constant_speed"],
        ours["easing"],
        ours["width"],
        ours["height"],
        float(ours["fps"]),
        float(ours["seconds"]),
        look,
        film_settings.restored(ours.get("film", {})),
        tracks,
    )
    return carried(plan)


def from_path(path: CameraPath) -> Plan:
    """A plan with as few keyframes as follow a path closely, and with its size, fps, length and tracks."""
    path = unrolled(path)
    n = len(path.cameras)
    for count in FITTING:
        plan = _with_keyframes(path, count)
        if count >= n or _follows(plan, path):
            break
    return carried(replace(plan, tracks=path.tracks))


def _with_keyframes(path: CameraPath, most: int) -> Plan:
    n = len(path.cameras)
    n_keyframes = min(n, most)
    last = n if path.loop else n - 1  # a loop goes on from the last frame to the first
    chosen = np.linspace(0, last, n_keyframes + path.loop)[:n_keyframes].round().astype(int)
    chosen = np.unique(np.minimum(chosen, n - 1))
    frames = []
    for i, step in zip(chosen, np.diff(chosen, prepend=chosen[-1] - n), strict=True):
        lens = path.cameras[i].intrinsics
        of_file = lens.lens in ("perspective", "fisheye")
        fov = float(np.degrees(vertical_fov(lens))) if of_file else Keyframe.fov
        frames.append(Keyframe(path.cameras[i].world_from_cam, fov, float(step) * len(chosen) / n))
    k = path.cameras[0].intrinsics
    fps = path.fps or 30.0
    seconds = path.seconds or max(n / fps, 1 / fps)
    return Plan(tuple(frames), path.loop, False, EASINGS[0], k.width, k.height, fps, seconds)


def _follows(plan: Plan, path: CameraPath) -> bool:
    """Whether the plan's cameras are where the path's are, or nearly."""
    n = len(path.cameras)
    some = np.unique(np.linspace(0, n - 1, min(n, CHECKED)).round().astype(int))
    there = np.stack([path.cameras[i].world_from_cam for i in some])
    made = cameras(plan, n).cameras
    here = np.stack([made[i].world_from_cam for i in some])
    extent = float(np.ptp(there[:, :3, 3], axis=0).max())
    off = np.linalg.norm(here[:, :3, 3] - there[:, :3, 3], axis=1).max()
    turned = np.linalg.norm(here[:, :3, :3] - there[:, :3, :3], axis=(1, 2)).max() / np.sqrt(2)
    return bool(off <= CLOSE * extent + 1e-9 and turned <= TURNED)


# --- the draft ------------------------------------------------------------------------------------


def write_draft(plan: Plan, folder: Path) -> None:
    """Writes the draft in a scene's folder, keyframes or none. Raises NerfsceneError if it can't."""
    write_json({OURS: described(plan)}, folder / PATH_DRAFT_FILE)


def read_draft(folder: Path) -> Plan | None:
    """The draft in a scene's folder; None if there is none. Raises NerfsceneError for a damaged one."""
    file = folder / PATH_DRAFT_FILE
    if not file.is_file():
        return None
    try:
        data = parsed(file.read_bytes())
        ours = data.get(OURS) if isinstance(data, dict) else None
        if not isinstance(ours, dict) or "keyframes" not in ours:
            raise ValueError("it holds no path")
        tracks = own_keyframes.check(ours, fewest=0)
    except (OSError, ValueError) as error:
        raise NerfsceneError(f"{file} can't be read ({error}); delete it") from error
    return plan_of(ours, tracks)


def kept(folder: Path, scene: Scene, drafts: bool = True) -> Plan | None:
    """The path that whoever opens the page goes on with: the draft, or the saved one if that is newer.

    scene: in the world of the paths. drafts: whether they count. None if there is neither.
    Raises NerfsceneError for a damaged one.
    """
    saved, draft = folder / CAMERA_PATH_FILE, folder / PATH_DRAFT_FILE
    times = {}
    for file in (draft, saved) if drafts else (saved,):
        with contextlib.suppress(OSError):
            times[file] = file.stat().st_mtime_ns
    if not times:
        return None
    newest = max(times, key=lambda file: times[file])
    return read_draft(folder) if newest == draft else load(newest, scene)


def saved_at(folder: Path) -> int:
    """When the saved path of a scene's folder was written, in nanoseconds since 1970; 0 if there is none."""
    try:
        return (folder / CAMERA_PATH_FILE).stat().st_mtime_ns
    except OSError:
        return 0


class DraftWriter:
    """Writes the latest of the plans that are ``put``, once there has been no other for a moment.

    write: called with the plan, in a thread of its own. What it raises is told once, by ``failed``.
    """

    def __init__(self, write: Callable[[Plan], None], failed: Callable[[str], None]) -> None:
        self._write, self._failed = write, failed
        self._news = threading.Condition()
        self._plan: Plan | None = None
        self._changes = 0
        self._closed = self._told = False
        self._thread: threading.Thread | None = None

    def put(self, plan: Plan) -> None:
        """Notes the latest plan."""
        with self._news:
            self._plan, self._changes = plan, self._changes + 1
            self._news.notify_all()
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="nerfscene-draft", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Writes what hasn't been written yet."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        if self._thread is not None:
            self._thread.join(10)

    def _run(self) -> None:
        while True:
            with self._news:
                while self._plan is None and not self._closed:
                    self._news.wait()
                seen = -1
                while seen != self._changes and not self._closed:
                    seen = self._changes
                    self._news.wait(PAUSE)
                plan, self._plan = self._plan, None
                closed = self._closed
            if plan is not None:
                self._try(plan)
            if closed:
                return

    def _try(self, plan: Plan) -> None:
        try:
            self._write(plan)
        except NerfsceneError as error:
            if not self._told:
                self._failed(str(error))
            self._told = True
        except Exception:  # a draft is no reason to end anything
            log.exception("the path's draft could not be written")
