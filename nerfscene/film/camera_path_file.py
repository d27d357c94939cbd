"""nerfstudio's camera_path.json, read as its users wrote it, and written.

Format (as nerfstudio's viewers write it): ``camera_path`` is a list of {``camera_to_world``: 16 numbers,
row-major, OpenGL axes; ``fov``: vertical, degrees; ``aspect``}; ``keyframes`` a list of {``matrix``: 16
numbers, row-major; ``fov``; ``aspect``} (the older viewer wrote them as a string, column-major);
``render_width``, ``render_height``, ``fps``, ``seconds``, ``is_cycle``, ``camera_type``. A ``crop`` is
not applied.

nerfstudio's paths are in the coordinates that it trained in. Where its ``dataparser_transforms.json``
({"transform": 3×4, "scale": s}: world → trained) lies beside the path, or is given, it is undone;
without it the numbers are taken as the capture's world. That "world" is the one before the
``applied_transform`` and ``applied_scale`` which a ``transforms.json`` may name, so where a capture's
``transforms.json`` lies beside the path as well, these are applied again.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.film.paths import CameraPath, interpolate
from nerfscene.scene.folder import write_json
from nerfscene.types import Array, Camera, Intrinsics

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenGL camera axes ↔ OpenCV's
DATAPARSER = "dataparser_transforms.json"
PERSPECTIVE = ("perspective", "pinhole")
RIGID_TOLERANCE = 1e-2
SMALLEST, LARGEST, MOST_FRAMES = 16, 8192, 100_000
DEFAULT_SIZE, DEFAULT_FPS, DEFAULT_SECONDS, DEFAULT_FOV = (1280, 720), 24.0, 4.0, 50.0


@dataclass(frozen=True)
class Similarity:
    """x → scale · (rotation @ x) + shift; a pose keeps its unit length under it."""

    scale: float
    rotation: Array
    shift: Array

    def pose(self, m: Array) -> Array:
        """A pose (4, 4) in the new coordinates."""
        out = np.eye(4)
        out[:3, :3] = self.rotation @ m[:3, :3]
        out[:3, 3] = self.scale * (self.rotation @ m[:3, 3]) + self.shift
        return out


def read_camera_path(
    file: Path | str,
    width: int | None = None,
    height: int | None = None,
    dataparser: Path | str | None = None,
) -> CameraPath:
    """Cameras of a camera_path.json, in the capture's world.

    ``width`` and ``height``, pixels, override the file's; one of them alone keeps its proportions. At
    other proportions the angle across the file's shorter side becomes that across the film's, so that
    the subject stays in the picture. ``dataparser``: a dataparser_transforms.json to undo, otherwise
    the one beside the file. Where the file has keyframes only, they are joined by a smooth curve of
    seconds × fps frames. Raises NerfsceneError, naming the file, for anything that can't be used.
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
    frames, keys = data.get("camera_path") or [], data.get("keyframes") or []
    if not isinstance(frames, list) or not isinstance(keys, list) or not (frames or keys):
        raise NerfsceneError(f"{file} holds no cameras; add keyframes and export the path again")
    name, field = ("camera", "camera_to_world") if frames else ("keyframe", "matrix")
    world_from_trained = _world_from_trained(file, dataparser)
    poses, fovs = [], []
    for i, entry in enumerate(frames or keys):
        what = f"{file}: {name} {i}"
        if not isinstance(entry, dict):
            raise NerfsceneError(f"{what} is not an object; export the path again")
        poses.append(world_from_trained.pose(_pose(entry.get(field), what) @ FLIP))
        fovs.append(_fov(entry, data, what))
    said = _size(data, file)
    spanned, (w, h) = _film_size(said, (frames or keys)[0].get("aspect"), width, height, file)
    focals = 0.5 * spanned / np.tan(np.radians(fovs) / 2)
    if not frames:
        n = (seconds or DEFAULT_SECONDS) * (fps or DEFAULT_FPS)
        if n > MOST_FRAMES:
            raise NerfsceneError(f"{file} asks for {n:.0f} frames; mend its seconds and fps")
        poses, focals = interpolate(poses, focals, max(round(n), 2), loop=loop)
    cameras = tuple(
        Camera(Intrinsics(w, h, float(f), float(f), w / 2, h / 2), pose)
        for pose, f in zip(poses, focals, strict=True)
    )
    return CameraPath(cameras, fps, seconds, loop, said[0], said[1])


def write_camera_path(path: CameraPath, file: Path | str, fps: float = DEFAULT_FPS) -> None:
    """Writes a path that ``read_camera_path``, and nerfstudio, read back, in the path's coordinates.

    ``fps`` counts where the path has none. The format holds no distortion and no principal point
    other than the centre. Raises NerfsceneError for a path without cameras, with numbers that aren't
    finite, or a file that can't be written; a file of the same name is replaced.
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
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise NerfsceneError(f"{file} doesn't exist; {instead}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise NerfsceneError(f"{file} can't be read ({error}); {instead}") from error
    except ValueError as error:
        raise NerfsceneError(f"{file} is not valid JSON ({error}); export it again") from error
    if not isinstance(data, dict):
        raise NerfsceneError(f"{file} holds no named values; {instead}")
    return data


def _number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
    return float(value) if ok else None


def _positive(data: dict[str, Any], name: str, file: Path) -> float | None:
    """A number above zero; None where the file is silent."""
    if data.get(name) is None:
        return None
    value = _number(data[name])
    if value is None or value <= 0:
        raise NerfsceneError(f"{file} has {name} = {data[name]}; it must be a number above 0")
    return value


def _pose(values: Any, what: str) -> Array:
    """16 numbers, row-major; as a string they are the older viewer's, column-major."""
    as_text = isinstance(values, str)
    try:
        m = np.asarray(json.loads(values) if as_text else values, np.float64)
    except (TypeError, ValueError):
        m = np.zeros(0)
    if m.size != 16 or not np.isfinite(m).all():
        raise NerfsceneError(f"{what} is not a pose of 16 finite numbers; export the path again")
    m = m.reshape(4, 4).T if as_text else m.reshape(4, 4)
    return _rigid(m, what)


def _rigid(m: Array, what: str) -> Array:
    r = m[:3, :3]
    off = np.abs(r.T @ r - np.eye(3)).max()
    bottom = np.abs(m[3] - [0, 0, 0, 1]).max()
    if max(off, bottom) > RIGID_TOLERANCE or np.linalg.det(r) < 0:
        raise NerfsceneError(
            f"{what} is not a rotation and a shift (it scales, shears or mirrors); export it again"
        )
    out = np.eye(4)
    u, _, vt = np.linalg.svd(r)
    out[:3, :3] = u @ vt
    out[:3, 3] = m[:3, 3]
    return out


def _fov(entry: dict[str, Any], data: dict[str, Any], what: str) -> float:
    """Vertical, degrees."""
    given = entry.get("fov")
    if given is None:
        given = data.get("default_fov", DEFAULT_FOV)
    fov = _number(given)
    if fov is None or not 0 < fov < 180:
        raise NerfsceneError(f"{what} has a field of view of {given}; it must be 0 to 180 degrees")
    return fov


def _size(data: dict[str, Any], file: Path) -> tuple[int | None, int | None]:
    w, h = (_positive(data, name, file) for name in ("render_width", "render_height"))
    return None if w is None else round(w), None if h is None else round(h)


def _film_size(
    said: tuple[int | None, int | None],
    aspect: Any,
    width: int | None,
    height: int | None,
    file: Path,
) -> tuple[float, tuple[int, int]]:
    """(pixels that the vertical field of view spans, (width, height)) of the film."""
    ratio = _number(aspect)
    if said[0] and said[1]:
        ratio = said[0] / said[1]
    elif ratio is None or ratio <= 0:
        ratio = DEFAULT_SIZE[0] / DEFAULT_SIZE[1]
    if width is None and height is None:
        width, height = said
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
    if abs(width / height / ratio - 1) < 0.02:  # pixels are whole, so proportions agree only about
        return float(height), (width, height)
    return min(width, height) / min(1.0, ratio), (width, height)


def _similarity(data: dict[str, Any], names: tuple[str, str], file: Path) -> Similarity:
    """x → scale · (transform @ x) of a file; what it doesn't name is the identity."""
    what = f"{file}: its {names[0]}"
    try:
        m = np.asarray(data.get(names[0], np.eye(4)[:3]), np.float64)
    except (TypeError, ValueError):
        m = np.zeros(0)
    scale = _number(data.get(names[1], 1.0))
    if m.shape not in ((3, 4), (4, 4)) or not np.isfinite(m).all() or scale is None or scale <= 0:
        raise NerfsceneError(
            f"{what} or {names[1]} is not nerfstudio's 3×4 numbers and a scale above 0; remove the "
            "file, or export it again"
        )
    m = _rigid(np.vstack([m[:3], [0, 0, 0, 1]]), what)
    return Similarity(scale, m[:3, :3], scale * m[:3, 3])


def _world_from_trained(file: Path, dataparser: Path | str | None) -> Similarity:
    """Capture's world from the coordinates of the path."""
    source = Path(dataparser) if dataparser is not None else file.with_name(DATAPARSER)
    if dataparser is None and not source.is_file():
        return Similarity(1.0, np.eye(3), np.zeros(3))
    data = _load(source, f"give nerfstudio's {DATAPARSER}")
    if "transform" not in data:
        raise NerfsceneError(f"{source} has no transform; give nerfstudio's {DATAPARSER}")
    trained = _similarity(data, ("transform", "scale"), source)
    capture = file.with_name("transforms.json")
    applied = Similarity(1.0, np.eye(3), np.zeros(3))
    if capture.is_file():
        applied = _similarity(_load(capture, "remove it"), ("applied_transform", "applied_scale"), capture)
    # nerfstudio multiplies the matrices and the scales of both apart from each other, so that is what
    # is taken apart here: its own transform T and scale s from T @ applied and s · applied scale.
    rotation = trained.rotation @ applied.rotation.T
    shift = trained.shift / trained.scale - rotation @ (applied.shift / applied.scale)
    scale = trained.scale / applied.scale
    return Similarity(1 / scale, rotation.T, -rotation.T @ shift)
