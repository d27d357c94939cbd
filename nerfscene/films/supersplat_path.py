"""Reads the camera tracks of SuperSplat, its viewer and splat-transform.

The formats, from the sources of SuperSplat 2.32 (``src/camera-poses.ts``, ``src/doc.ts``), supersplat-viewer
1.28 (``src/settings.ts``, ``src/schemas``) and splat-transform (``src/lib/render/camera-track.ts``):

- ``document.json``, in a project (.ssproj): ``poseSets``: a list whose first entry has ``poses``:
  {``frame``, ``position``, ``target``, ``fov``}; ``timeline``: {``frames``, ``frameRate``, ``smoothness``,
  ``loop``}; ``splats``: where each was moved to, {``position``, ``rotation``: a quaternion x, y, z, w,
  ``scale``} - ``settings.json``, of the viewer: ``animTracks``, of which the viewer plays the first:
  {``duration``: seconds, ``frameRate``, ``loopMode``: none, repeat or pingpong, ``interpolation``: spline
  or step, ``smoothness``, ``keyframes``: {``times``: in frames, ``values``: {``position``, ``target``:
  three numbers a key, ``fov``}}}. In version 1, without ``version``, a track has no ``fov``, and without
  ``frameRate`` its times are seconds.
- a list of frames, which only splat-transform reads: ``frameRate``, ``frames``: [{``position``, ``target``,
  ``fov``, ``up``}]; ``loop``, which only this program writes

+y is up; ``export_world`` says how that belongs to a scene. Cameras don't roll, but for ``up``. Between keys
goes a cubic Hermite curve whose tangents are the slopes between a key's neighbours times ``smoothness``. The
field of view is in degrees: across the picture's longer side in SuperSplat and its viewer, vertical in a list
of frames.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.films.export_world import SUPERSPLAT_FROM_FILE
from nerfscene.films.path_parts import DEFAULT_FPS, FilePath, focal_of, frame_count, number, positive, vector
from nerfscene.films.paths import look_at
from nerfscene.formats.app_files import printable, rotation_of
from nerfscene.types import Array

UP = np.array([0.0, 1.0, 0.0])
USUAL_FRAMES, USUAL_FOV = 180, 60.0  # of SuperSplat's timeline and of cameras that have none
LOOP_MODES, INTERPOLATIONS = ("none", "repeat", "pingpong"), ("spline", "step")
STILL = 1e-9  # a shorter distance between a camera and its target gives no direction


def is_one(data: dict[str, Any]) -> bool:
    """Whether a JSON object is one of these, rather than nerfstudio's or a transforms.json."""
    if isinstance(data.get("poseSets"), list) or isinstance(data.get("animTracks"), list):
        return True
    frames = data.get("frames")
    first = frames[0] if isinstance(frames, list) and frames else None
    return isinstance(first, dict) and "position" in first and "target" in first


def read(data: dict[str, Any], file: Path) -> FilePath:
    """The path in such a file, in SuperSplat's coordinates (+y up), one camera a frame.

    Raises NerfsceneError, naming the file, for anything that can't be used.
    """
    if isinstance(data.get("poseSets"), list):
        return _of_project(data, file)
    if isinstance(data.get("animTracks"), list):
        return _of_settings(data, file)
    return _of_frames(data, file)


def supersplat_from_file(data: dict[str, Any], file: Path) -> tuple[Array, tuple[str, ...]]:
    """(where SuperSplat shows a splat file's coordinates (4, 4), sentences).

    A project says where its splats were moved to; other files leave them as they were loaded.
    """
    given = data.get("splats")
    splats = [s for s in given if isinstance(s, dict)] if isinstance(given, list) else []
    if not splats:
        return SUPERSPLAT_FROM_FILE, ()
    shown = [s for s in splats if s.get("visible") is not False] or splats
    moved = [_moved(splat) for splat in shown]
    first = moved[0]
    if first is None:
        return SUPERSPLAT_FROM_FILE, (
            f"{file}: its splats are stretched, which cameras can't follow, so their place is left out.",
        )
    if any(other is None or not np.allclose(other, first, atol=1e-4) for other in moved[1:]):
        name = printable(shown[0].get("name") or "the first")
        return first, (f"{file} holds several splats in different places; {name} is taken for this scene.",)
    return first, ()


def _moved(splat: dict[str, Any]) -> Array | None:
    """supersplat_from_file (4, 4) of a project's splat; None if it isn't a similarity."""
    place, turn, scale = (
        vector(splat.get(name), n) for name, n in (("position", 3), ("rotation", 4), ("scale", 3))
    )
    if place is None or turn is None or scale is None or not np.linalg.norm(turn) > 1e-6:
        return None
    if not (scale[0] > 1e-6 and np.allclose(scale, scale[0], rtol=1e-4)):
        return None
    m = np.eye(4)
    m[:3, :3] = scale[0] * rotation_of(turn / np.linalg.norm(turn), "splat")
    m[:3, 3] = place
    return m


def _of_project(data: dict[str, Any], file: Path) -> FilePath:
    given = data["poseSets"][0] if data["poseSets"] else None
    poses = given.get("poses") if isinstance(given, dict) else None
    if not isinstance(poses, list) or not poses:
        raise NerfsceneError(
            f"{file} has no camera keyframes; add some on SuperSplat's timeline and save it again"
        )
    timeline = data["timeline"] if isinstance(data.get("timeline"), dict) else {}
    fps = positive(timeline, "frameRate", file) or DEFAULT_FPS
    length = positive(timeline, "frames", file) or USUAL_FRAMES
    n = frame_count(int(length) / fps, fps, file)
    camera = data["camera"] if isinstance(data.get("camera"), dict) else {}
    usual = number(camera.get("fov")) or USUAL_FOV
    keys, times = [], []
    for i, pose in enumerate(poses):
        where = f"{file}: keyframe {i}"
        entry = pose if isinstance(pose, dict) else {}
        at = number(entry.get("frame", i * fps))
        if at is None:
            raise NerfsceneError(f"{where} has no frame number; save the project again in SuperSplat")
        times.append(at)
        fov = usual if entry.get("fov") is None else entry["fov"]
        keys.append(_key(entry.get("position"), entry.get("target"), fov, where))
    inside = [i for i, at in enumerate(times) if at < n]
    if not inside:
        raise NerfsceneError(
            f"{file}: all of its keyframes lie past the end of its timeline; make that longer"
        )
    notes = []
    if len(inside) < len(times):
        notes.append(
            f"{file}: {len(times) - len(inside)} of its keyframes lie past the end of its timeline and "
            "aren't filmed, as in SuperSplat."
        )
    if len(data["poseSets"]) > 1:
        notes.append(f"{file} has several sets of camera keyframes; the first is filmed, as in SuperSplat.")
    loop = timeline.get("loop") is not False
    smoothness = _share(timeline, file)
    curve = _curve(
        np.stack([keys[i] for i in inside]),
        np.array([times[i] for i in inside]),
        smoothness,
        n if loop else None,
    )
    return _path(curve(np.arange(n)), fps, loop, file, tuple(notes))


def _of_settings(data: dict[str, Any], file: Path) -> FilePath:
    tracks = data["animTracks"]
    track = tracks[0] if tracks and isinstance(tracks[0], dict) else None
    if track is None:
        raise NerfsceneError(f"{file} has no camera track; export the viewer with its animation")
    first_version = data.get("version") is None
    fps = positive(track, "frameRate", file)
    seconds = positive(track, "duration", file)
    mode, interpolation = track.get("loopMode", "none"), track.get("interpolation", "spline")
    if mode not in LOOP_MODES or interpolation not in INTERPOLATIONS:
        raise NerfsceneError(
            f"{file}: its loopMode is {mode!r:.40} and its interpolation {interpolation!r:.40}; they must be "
            f"{', '.join(LOOP_MODES)}, and {' or '.join(INTERPOLATIONS)}"
        )
    keyframes = track["keyframes"] if isinstance(track.get("keyframes"), dict) else {}
    values = keyframes["values"] if isinstance(keyframes.get("values"), dict) else {}
    camera = data["camera"] if isinstance(data.get("camera"), dict) else {}
    fov = number(camera.get("fov")) or USUAL_FOV
    keys, times = _keys_of(keyframes, values, fov, file)
    if fps is None:  # of a first version without it, the times are seconds
        fps = DEFAULT_FPS
        times = times * fps if first_version else times
    if seconds is None:
        seconds = float(times.max()) / fps or 1 / fps
    n = frame_count(seconds, fps, file)
    # A last key at the very end would fall onto the first one's next round, so that comes a second later.
    late = abs(float(times.max()) - seconds * fps) < 1e-6
    period = (seconds + late) * fps if mode == "repeat" else None
    smoothness = _share(track, file, 0.0 if first_version else 1.0)
    curve = _curve(keys, times, smoothness, period, interpolation == "step")
    at = np.arange(n)
    if mode == "pingpong":
        at = np.concatenate([np.arange(n + 1), np.arange(n - 1, 0, -1)])
    return _path(curve(at), fps, mode != "none", file, (*_unused(data, file), *_untaken(tracks, file)))


def _keys_of(
    keyframes: dict[str, Any], values: dict[str, Any], fov: float, file: Path
) -> tuple[Array, Array]:
    """The keys (n, 7) of a viewer's track, and their times (n,)."""
    listed = keyframes.get("times")
    n = len(listed) if isinstance(listed, list) else 0
    times = vector(listed, n)
    places, targets = (vector(values.get(name), 3 * n) for name in ("position", "target"))
    fovs = np.full(n, fov) if values.get("fov") is None else vector(values["fov"], n)
    if not n or times is None or places is None or targets is None or fovs is None:
        raise NerfsceneError(
            f"{file}: its camera track needs a time, a position and a target of three numbers, and a fov for "
            "each keyframe; export it again"
        )
    parts = zip(places.reshape(n, 3), targets.reshape(n, 3), fovs, strict=True)
    keys = [
        _key(p.tolist(), t.tolist(), float(f), f"{file}: keyframe {i}") for i, (p, t, f) in enumerate(parts)
    ]
    return np.stack(keys), times


def _of_frames(data: dict[str, Any], file: Path) -> FilePath:
    fps = positive(data, "frameRate", file) or DEFAULT_FPS
    keys, ups = [], []
    for i, frame in enumerate(data["frames"]):
        where = f"{file}: frame {i}"
        entry = frame if isinstance(frame, dict) else {}
        fov = USUAL_FOV if entry.get("fov") is None else entry["fov"]
        keys.append(_key(entry.get("position"), entry.get("target"), fov, where))
        up = UP if entry.get("up") is None else vector(entry["up"], 3)
        if up is None or not np.linalg.norm(up) > STILL:
            raise NerfsceneError(
                f"{where} has an up that is no direction of three numbers; give one, or none"
            )
        ups.append(up)
    frame_count(len(keys) / fps, fps, file)
    notes: tuple[str, ...] = ()
    without = sum(isinstance(f, dict) and f.get("fov") is None for f in data["frames"])
    if without:
        notes = (f"{file}: {without} of its cameras have no fov; {USUAL_FOV:g} degrees are taken.",)
    poses = [look_at(key[:3], key[3:6], up) for key, up in zip(keys, ups, strict=True)]
    focals = np.array([focal_of(float(key[6]), str(file)) for key in keys])
    return FilePath(poses, focals, fps, len(keys) / fps, data.get("loop") is True, notes=notes)


def _key(position: Any, target: Any, fov: Any, where: str) -> Array:
    """A key as (7,): the place, what it looks at, and the field of view in degrees."""
    place, looked_at = vector(position, 3), vector(target, 3)
    if place is None or looked_at is None:
        raise NerfsceneError(
            f"{where} has no position and target of three numbers each; export the path again"
        )
    if not np.linalg.norm(looked_at - place) > STILL:
        raise NerfsceneError(f"{where} looks at the place where it stands; move its target")
    focal_of(fov, where)
    return np.concatenate([place, looked_at, [float(fov)]])


def _share(track: dict[str, Any], file: Path, usual: float = 1.0) -> float:
    """A track's smoothness, 0 to 1. Raises NerfsceneError for anything else."""
    value = track.get("smoothness", usual)
    smoothness = number(value)
    if smoothness is None or not 0 <= smoothness <= 1:
        raise NerfsceneError(f"{file} has smoothness = {value!r:.40}; it must be from 0 to 1")
    return smoothness


def _curve(keys: Array, times: Array, smoothness: float, period: float | None, step: bool = False) -> Any:
    """What gives the values (m, 7) at times (m,). period: of a loop, in frames; None: it is open."""
    # Of several keys at one time the last counts.
    last = {float(t): i for i, t in enumerate(times)}
    order = [last[t] for t in sorted(last)]
    keys, times = keys[order], times[order]
    if len(keys) == 1:
        return lambda at: np.repeat(keys, len(at), axis=0)
    if period is not None and not step:
        keys = np.concatenate([keys[-2:], keys, keys[:2]])
        times = np.concatenate([times[-2:] - period, times, times[:2] + period])

    def step_at(at: Array) -> Array:
        found: Array = keys[np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(keys) - 1)]
        return found

    if step:
        return step_at
    from scipy.interpolate import CubicHermiteSpline  # imported here because it takes half a second

    inner = (keys[2:] - keys[:-2]) / (times[2:] - times[:-2])[:, None]
    ends = [(keys[b] - keys[a]) / (times[b] - times[a]) for a, b in ((0, 1), (-2, -1))]
    slopes = smoothness * np.concatenate([ends[0][None], inner, ends[1][None]])
    spline = CubicHermiteSpline(times, keys, slopes)
    return lambda at: spline(np.clip(at, times[0], times[-1]))


def _path(values: Array, fps: float, loop: bool, file: Path, notes: tuple[str, ...]) -> FilePath:
    """The path of cameras (n, 7) that don't roll."""
    poses, focals = [], []
    for i, value in enumerate(values):
        where = f"{file}: frame {i}"
        towards = value[3:6] - value[:3]
        if not np.linalg.norm(towards) > STILL:
            raise NerfsceneError(
                f"{where} looks at the place where it stands; move a target, or lessen smoothness"
            )
        poses.append(_level(value[:3], towards))
        focals.append(focal_of(float(value[6]), where))
    seconds = len(values) / fps
    return FilePath(poses, np.array(focals), fps, seconds, loop, longer_side=True, notes=notes)


def _level(place: Array, towards: Array) -> Array:
    """A pose (4, 4), OpenCV axes, without roll; straight up and down, its right is +x, as in SuperSplat."""
    z = towards / np.linalg.norm(towards)
    azimuth = np.arctan2(-z[0], -z[2]) if max(abs(z[0]), abs(z[2])) > STILL else 0.0
    x = np.array([np.cos(azimuth), 0.0, -np.sin(azimuth)])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    pose[:3, 3] = place
    return pose


def _untaken(tracks: list[Any], file: Path) -> tuple[str, ...]:
    if len(tracks) < 2:
        return ()
    return (f"{file} has {len(tracks)} camera tracks; the first is filmed, as the viewer plays it.",)


def _unused(data: dict[str, Any], file: Path) -> tuple[str, ...]:
    """Sentences on what the viewer's settings ask for and a film here doesn't show."""
    notes = []
    effects = data["postEffectSettings"] if isinstance(data.get("postEffectSettings"), dict) else {}
    on = [name for name, given in effects.items() if isinstance(given, dict) and given.get("enabled") is True]
    background = data["background"] if isinstance(data.get("background"), dict) else {}
    if on:
        notes.append(f"its effects ({printable(', '.join(on))}) are")
    if data.get("tonemapping", "none") not in ("none", "linear", None):
        notes.append(f"its tone mapping ({printable(data['tonemapping'])}) is")
    if background.get("skyboxUrl"):
        notes.append("its sky is")
    if data.get("soundUrl"):
        notes.append("its sound is")
    if data.get("annotations"):
        notes.append("its annotations are")
    return tuple(f"{file}: {what} left out of the film." for what in notes)
