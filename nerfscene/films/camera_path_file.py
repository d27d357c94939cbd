"""Reads and writes nerfstudio's camera_path.json.

The format, as nerfstudio's viewers write it:

- ``camera_path``: a list of {``camera_to_world``: 16 numbers, row-major, OpenGL axes; ``fov``: vertical,
  degrees; ``aspect``}
- ``keyframes``: a list of {``matrix``: 16 numbers, row-major (the older viewer wrote a string,
  column-major); ``fov``; ``aspect``}
- ``render_width``, ``render_height``, ``fps``, ``seconds``, ``is_cycle``, ``camera_type``
- ``crop``, which is not applied here

nerfstudio's paths use the coordinates that it trained in. Its ``dataparser_transforms.json``
({"transform": 3×4, "scale": s}: world → trained), given or found beside the path, is undone; without it
the numbers are taken as coordinates of the capture's world. That "world" is the one before the
``applied_transform`` and ``applied_scale`` of the capture's ``transforms.json``, so if that file lies
beside the path too, these are applied again.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.cameras.algebra import pose_in_scene
from nerfscene.cameras.rigid import nearest_rigid
from nerfscene.errors import NerfsceneError
from nerfscene.films.paths import CameraPath, interpolate
from nerfscene.scene.atomic import write_json
from nerfscene.types import Array, Camera, Intrinsics

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenGL camera axes ↔ OpenCV's
DATAPARSER = "dataparser_transforms.json"
PERSPECTIVE = ("perspective", "pinhole")
RIGID_TOLERANCE = 1e-2
SMALLEST, LARGEST, MOST_FRAMES = 16, 8192, 100_000
DEFAULT_SIZE, DEFAULT_FPS, DEFAULT_SECONDS, DEFAULT_FOV = (1280, 720), 24.0, 4.0, 50.0


def read_camera_path(
    file: Path | str,
    width: int | None = None,
    height: int | None = None,
    dataparser: Path | str | None = None,
) -> CameraPath:
    """The cameras of a camera_path.json, in the capture's world.

    width, height: pixels, instead of the file's; if only one is given, the aspect ratio stays. If the
    aspect ratio changes, the angle across the file's shorter side becomes the angle across the film's, so
    that the subject stays in the picture. dataparser: the dataparser_transforms.json to undo, instead of
    the one beside the file. If the file has only keyframes, a smooth curve of seconds × fps frames joins
    them. Raises NerfsceneError, naming the file, for anything that can't be used.
    """
    file = Path(file)
    data = _load(file, "give a camera_path.json, or auto, orbit, spiral or walkthrough")
    kind = str(data.get("camera_type") or "perspective").lower()
    if kind not in PERSPECTIVE:
        raise NerfsceneError(
            f"{file} is a {kind} path, and only perspective cameras can be rendered; export it as one"
        )
    fps, seconds = _positive(data, "fps", file), _positive(data, "seconds", file)
    loop = bool(data.get("is_cycle", False))
    frames, keyframes = data.get("camera_path") or [], data.get("keyframes") or []
    if not isinstance(frames, list) or not isinstance(keyframes, list) or not (frames or keyframes):
        raise NerfsceneError(f"{file} holds no cameras; add keyframes and export the path again")
    name, field = ("camera", "camera_to_world") if frames else ("keyframe", "matrix")
    world_from_trained = _world_from_trained(file, dataparser)
    poses, fovs = [], []
    for i, entry in enumerate(frames or keyframes):
        where = f"{file}: {name} {i}"
        if not isinstance(entry, dict):
            raise NerfsceneError(f"{where} is not an object; export the path again")
        poses.append(pose_in_scene(world_from_trained, _pose(entry.get(field), where) @ FLIP))
        fovs.append(_fov(entry, data, where))
    file_size = _size(data, file)
    aspect = (frames or keyframes)[0].get("aspect")
    fov_pixels, (w, h) = _film_size(file_size, aspect, width, height, file)
    focals = 0.5 * fov_pixels / np.tan(np.radians(fovs) / 2)
    if not frames:
        n = (seconds or DEFAULT_SECONDS) * (fps or DEFAULT_FPS)
        if n > MOST_FRAMES:
            raise NerfsceneError(f"{file} asks for {n:.0f} frames; reduce its seconds or fps")
        poses, focals = interpolate(poses, focals, max(round(n), 2), loop=loop)
    cameras = tuple(
        Camera(Intrinsics(w, h, float(f), float(f), w / 2, h / 2), pose)
        for pose, f in zip(poses, focals, strict=True)
    )
    return CameraPath(cameras, fps, seconds, loop, file_size[0], file_size[1])


def write_camera_path(path: CameraPath, file: Path | str, fps: float = DEFAULT_FPS) -> None:
    """Writes a path in its own coordinates, for ``read_camera_path`` and nerfstudio.

    fps: used if the path has none. The format has no distortion and no principal point other than the
    centre. A file of the same name is replaced. Raises NerfsceneError for a path without cameras, poses
    that aren't finite, or a file that can't be written.
    """
    if not path.cameras:
        raise NerfsceneError(f"{file} can't be written: the path has no cameras")
    if not all(np.isfinite(c.world_from_cam).all() for c in path.cameras):
        raise NerfsceneError(f"{file} can't be written: the path has poses that aren't finite")
    fps = path.fps or fps
    frames = []
    for camera in path.cameras:
        c = camera.intrinsics
        frames.append(
            {
                "camera_to_world": (camera.world_from_cam @ FLIP).ravel().tolist(),
                "fov": math.degrees(2 * math.atan(0.5 * c.height / c.fy)),
                "aspect": c.width / c.height,
            }
        )
    k = path.cameras[0].intrinsics
    data = {
        "camera_type": "perspective",
        "render_width": k.width,
        "render_height": k.height,
        "fps": fps,
        "seconds": len(frames) / fps,
        "is_cycle": path.loop,
        "keyframes": [],
        "camera_path": frames,
    }
    write_json(data, Path(file))


def _load(file: Path, instead: str) -> dict[str, Any]:
    """The file's JSON object; ``instead``: what to do, for the message when it can't be read."""
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise NerfsceneError(f"{file} doesn't exist; {instead}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise NerfsceneError(f"{file} can't be read ({error}); {instead}") from error
    except ValueError as error:
        raise NerfsceneError(f"{file} is not valid JSON ({error}); export it again") from error
    if not isinstance(data, dict):
        raise NerfsceneError(f"{file} is not a JSON object; {instead}")
    return data


def _number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
    return float(value) if ok else None


def _positive(data: dict[str, Any], name: str, file: Path) -> float | None:
    """A number above 0; None if the file doesn't give it."""
    if data.get(name) is None:
        return None
    value = _number(data[name])
    if value is None or value <= 0:
        raise NerfsceneError(f"{file} has {name} = {data[name]}; it must be a number above 0")
    return value


def _pose(values: Any, where: str) -> Array:
    """A pose (4, 4) from 16 numbers, row-major; a string is the older viewer's and column-major."""
    as_text = isinstance(values, str)
    try:
        m = np.asarray(json.loads(values) if as_text else values, np.float64)
    except (TypeError, ValueError):
        m = np.zeros(0)
    if m.size != 16 or not np.isfinite(m).all():
        raise NerfsceneError(f"{where} is not a pose of 16 finite numbers; export the path again")
    return _rigid(m.reshape(4, 4).T if as_text else m.reshape(4, 4), where)


def _rigid(m: Array, where: str) -> Array:
    pose = nearest_rigid(m, RIGID_TOLERANCE)
    if pose is None:
        raise NerfsceneError(
            f"{where} is not a rotation and a translation (it scales, shears or mirrors); export it again"
        )
    return pose


def _fov(entry: dict[str, Any], data: dict[str, Any], where: str) -> float:
    """The vertical field of view, degrees: the entry's own, else the file's default."""
    given = entry.get("fov")
    if given is None:
        given = data.get("default_fov", DEFAULT_FOV)
    fov = _number(given)
    if fov is None or not 0 < fov < 180:
        raise NerfsceneError(f"{where} has a field of view of {given}; it must be between 0 and 180 degrees")
    return fov


def _size(data: dict[str, Any], file: Path) -> tuple[int | None, int | None]:
    w, h = (_positive(data, name, file) for name in ("render_width", "render_height"))
    return None if w is None else round(w), None if h is None else round(h)


def _film_size(
    file_size: tuple[int | None, int | None],
    aspect: Any,
    width: int | None,
    height: int | None,
    file: Path,
) -> tuple[float, tuple[int, int]]:
    """(the height in pixels that the vertical field of view spans, (width, height) of the film)."""
    ratio = _number(aspect)
    if file_size[0] and file_size[1]:
        ratio = file_size[0] / file_size[1]
    elif ratio is None or ratio <= 0:
        ratio = DEFAULT_SIZE[0] / DEFAULT_SIZE[1]
    if width is None and height is None:
        width, height = file_size
    if width is None and height is None:
        height = DEFAULT_SIZE[1]
    if height is None:
        assert width is not None
        height = round(width / ratio)
    if width is None:
        width = round(height * ratio)
    if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
        raise NerfsceneError(
            f"{file}: a film of {width}×{height} can't be made; give {SMALLEST} to {LARGEST} pixels"
        )
    if abs(width / height / ratio - 1) < 0.02:  # sizes are whole pixels, so ratios agree only roughly
        return float(height), (width, height)
    return min(width, height) / min(1.0, ratio), (width, height)


def _transform_and_scale(data: dict[str, Any], names: tuple[str, str], file: Path) -> tuple[Array, float]:
    """A rigid transform (4, 4) and a scale from a file; each is the identity if the file lacks it."""
    where = f"{file}: its {names[0]}"
    try:
        m = np.asarray(data.get(names[0], np.eye(4)[:3]), np.float64)
    except (TypeError, ValueError):
        m = np.zeros(0)
    scale = _number(data.get(names[1], 1.0))
    if m.shape not in ((3, 4), (4, 4)) or not np.isfinite(m).all() or scale is None or scale <= 0:
        raise NerfsceneError(
            f"{where} or {names[1]} is not nerfstudio's 3×4 numbers and a scale above 0; remove the "
            "file, or export it again"
        )
    return _rigid(m[:3], where), scale


def _world_from_trained(file: Path, dataparser: Path | str | None) -> Array:
    """The similarity (4, 4) from the path's coordinates to the capture's world."""
    source = Path(dataparser) if dataparser is not None else file.with_name(DATAPARSER)
    if dataparser is None and not source.is_file():
        return np.eye(4)
    data = _load(source, f"give nerfstudio's {DATAPARSER}")
    if "transform" not in data:
        raise NerfsceneError(f"{source} has no transform; give nerfstudio's {DATAPARSER}")
    transform, scale = _transform_and_scale(data, ("transform", "scale"), source)
    capture = file.with_name("transforms.json")
    if capture.is_file():
        names = ("applied_transform", "applied_scale")
        applied, applied_scale = _transform_and_scale(_load(capture, "remove it"), names, capture)
        # nerfstudio multiplies the matrices of both, and separately the scales, so the file holds
        # T @ applied and s · applied_scale; here its own T and s are recovered.
        transform, scale = transform @ np.linalg.inv(applied), scale / applied_scale
    world_from_trained = np.asarray(np.linalg.inv(transform), np.float64)
    world_from_trained[:3, :3] /= scale
    return world_from_trained
