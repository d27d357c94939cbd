"""nerfstudio's camera_path.json, read as its users wrote it, and written.

Format (as published in nerfstudio's documentation and written by its viewer): ``camera_path`` is a list
of {``camera_to_world``: 16 numbers, row-major, OpenGL axes; ``fov``: vertical, degrees; ``aspect``};
``keyframes`` a list of {``matrix``: 16 numbers; ``fov``; ``aspect``}; ``render_width``,
``render_height``, ``fps``, ``seconds``, ``is_cycle``, ``camera_type``.

nerfstudio's paths are in the coordinates that it trained in. Where its ``dataparser_transforms.json``
({"transform": 3×4, "scale": s}: world → trained) lies beside the path, it is undone; without it the
numbers are taken as the capture's world.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.paths import CameraPath, interpolate
from nerfscene.types import Array, Camera, Intrinsics

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenGL camera axes ↔ OpenCV's


def _load(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise NerfsceneError(
            f"{file} doesn't exist; give a camera_path.json, or orbit, spiral or walkthrough"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise NerfsceneError(f"{file} can't be read ({error}); check the path") from error
    except ValueError as error:
        raise NerfsceneError(f"{file} is not valid JSON ({error}); export the path again") from error
    if not isinstance(data, dict):
        raise NerfsceneError(f"{file} is not a camera path; nerfstudio's camera_path.json is read")
    return data


def _matrix(values: Any, file: Path, what: str) -> Array:
    try:
        m = np.asarray(values, np.float64).ravel()
    except (TypeError, ValueError):
        m = np.zeros(0)
    if m.size != 16 or not np.isfinite(m).all():
        raise NerfsceneError(f"{file}: {what} is not 16 finite numbers; export the path again")
    m = m.reshape(4, 4)
    r = m[:3, :3]
    scale = np.cbrt(abs(np.linalg.det(r)))
    if scale < 1e-9 or not np.allclose(r.T @ r, scale**2 * np.eye(3), atol=1e-2 * scale**2):
        raise NerfsceneError(f"{file}: {what} is not a camera's pose; export the path again")
    out = np.eye(4)
    u, _, vt = np.linalg.svd(r / scale)
    out[:3, :3] = u @ vt
    out[:3, 3] = m[:3, 3]
    return out @ FLIP


def _undo_dataparser(file: Path) -> tuple[Array, float]:
    """(world_from_trained rotation and shift (4, 4), 1 / scale)."""
    beside = file.with_name("dataparser_transforms.json")
    if not beside.is_file():
        return np.eye(4), 1.0
    data = _load(beside)
    try:
        transform = np.vstack([np.asarray(data["transform"], np.float64).reshape(3, 4), [0, 0, 0, 1]])
        scale = float(data["scale"])
        return np.linalg.inv(transform), 1.0 / scale
    except (KeyError, TypeError, ValueError, ZeroDivisionError, np.linalg.LinAlgError) as error:
        raise NerfsceneError(f"{beside} is not nerfstudio's; remove it or export it again") from error


def read_camera_path(file: Path | str, width: int | None = None, height: int | None = None) -> CameraPath:
    """Cameras of a camera_path.json; ``width`` and ``height`` override the file's.

    Where the file has keyframes only, they are joined by a smooth curve of seconds × fps frames.
    Raises NerfsceneError, naming the file, for anything that can't be used.
    """
    file = Path(file)
    data = _load(file)
    kind = str(data.get("camera_type", "perspective")).lower()
    if kind not in {"perspective", "pinhole"}:
        raise NerfsceneError(f"{file} is a {kind} path; only perspective cameras can be rendered")
    try:
        w = int(width or data.get("render_width") or 1280)
        h = int(height or data.get("render_height") or 720)
        fps = float(data["fps"]) if data.get("fps") else None
        seconds = float(data["seconds"]) if data.get("seconds") else None
    except (TypeError, ValueError) as error:
        raise NerfsceneError(f"{file}: size, fps and seconds must be numbers ({error})") from error
    undo, unscale = _undo_dataparser(file)
    loop = bool(data.get("is_cycle", False))
    frames = data.get("camera_path") or []
    keys = data.get("keyframes") or []
    if not isinstance(frames, list) or not isinstance(keys, list) or not (frames or keys):
        raise NerfsceneError(f"{file} holds no cameras; add keyframes and export the path again")
    entries = frames or keys
    poses, fovs = [], []
    for i, entry in enumerate(entries):
        what = f"camera {i}" if frames else f"keyframe {i}"
        if not isinstance(entry, dict):
            raise NerfsceneError(f"{file}: {what} is not an object; export the path again")
        values = entry.get("camera_to_world" if frames else "matrix")
        if isinstance(values, str):
            try:
                values = json.loads(values)
            except ValueError:
                values = None
        pose = _matrix(values, file, what)
        pose[:3, 3] *= unscale
        poses.append(undo @ pose)
        fov = entry.get("fov", data.get("default_fov", 50.0))
        if not isinstance(fov, (int, float)) or not math.isfinite(fov) or not 0 < fov < 180:
            raise NerfsceneError(f"{file}: {what} has a field of view of {fov}; it must be 0 to 180")
        fovs.append(float(fov))
    if not frames:
        n = max(round((seconds or 4.0) * (fps or 24.0)), 2)
        ends = [*fovs, fovs[0]] if loop else fovs
        at = np.linspace(0, len(ends) - 1, n, endpoint=not loop)
        poses = interpolate(poses, n, loop=loop)
        fovs = [float(f) for f in np.interp(at, np.arange(len(ends)), ends)]
    cameras = []
    for pose, fov in zip(poses, fovs, strict=True):
        focal = 0.5 * h / math.tan(math.radians(fov) / 2)
        cameras.append(Camera(Intrinsics(w, h, focal, focal, w / 2, h / 2), pose))
    return CameraPath(tuple(cameras), fps=fps, seconds=seconds, loop=loop)


def write_camera_path(path: CameraPath, file: Path | str, fps: float = 24.0) -> None:
    """Writes a path that nerfstudio, and ``read_camera_path``, read back."""
    fps = path.fps or fps
    k = path.cameras[0].intrinsics
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
    Path(file).write_text(json.dumps(data, indent=1) + "\n")
