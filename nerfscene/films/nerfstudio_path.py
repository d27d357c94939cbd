"""Reads what nerfstudio's viewers and its Blender add-on write: camera_path.json.

The format, as in nerfstudio 0.1 to 1.1 (``viewer/render_panel.py``, before that the web viewer's
``CameraPanel.jsx``, and ``scripts/blender/nerfstudio_blender.py``), read by its ``scripts/render.py``:

- ``camera_path``: a list of {``camera_to_world``: 16 numbers, row-major, OpenGL axes; ``fov``: vertical,
  degrees; ``aspect``}. Blender's cameras may be scaled, alike on all axes.
- ``keyframes``: a list of {``matrix``: 16 numbers, row-major (the web viewer and Blender: a string,
  column-major); ``fov``; ``aspect``; ``override_transition_enabled``, ``override_transition_sec``: seconds
  since the keyframe before, instead of ``default_transition_sec``}
- ``default_fov``, ``render_width``, ``render_height``, ``fps``, ``seconds``, ``is_cycle``
- ``camera_type``: perspective; fisheye, where the angle from the middle grows evenly with the distance, and
  the focal length is that of a perspective camera of this ``fov``; equirectangular; of the Blender add-on
  also omnidirectional (all round, for two eyes) and vr180, whose ``render_width`` is one eye's. Capital
  letters don't matter. The last three have no use for ``fov``
- ``crop``: {``crop_center``, ``crop_scale``: the whole sides of a box, ``crop_rot``: roll, pitch, yaw in
  radians (not in old files), ``crop_bg_color``: {r, g, b}, 0 to 255}, null or missing
- ``render_time`` of a frame: a moving scene's time, for which there is no use here
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np

from nerfscene.capture.json_text import parsed
from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import LENSES
from nerfscene.films.path_parts import (
    DEFAULT_FPS,
    DEFAULT_SECONDS,
    FLIP,
    FilePath,
    focal_of,
    frame_count,
    number,
    positive,
    rigid,
    vector,
)
from nerfscene.films.paths import interpolate
from nerfscene.formats.app_files import printable
from nerfscene.loading import loading
from nerfscene.types import Array, Lens

# The lenses of films that they are; what films can't have is refused.
TYPES = {
    "perspective": "perspective",
    "pinhole": "perspective",
    "fisheye": "fisheye",
    "equirectangular": "equirectangular",
    "omnidirectional": "equirectangular",
    "vr180": "stereo180",
}
FLAT = ("perspective", "fisheye")  # the others show all round, or half of it for each eye: they have no fov
DEFAULT_FOV = 50.0


def read(data: dict[str, Any], file: Path) -> FilePath:
    """The path in a camera_path.json, ``data``, in its own coordinates.

    If the file has only keyframes, a smooth curve of seconds × fps frames joins them.
    Raises NerfsceneError, naming the file, for anything that can't be used.
    """
    lens = _lens(data, str(file))
    frames, keyframes = data.get("camera_path") or [], data.get("keyframes") or []
    if not isinstance(frames, list) or not isinstance(keyframes, list) or not (frames or keyframes):
        raise NerfsceneError(f"{file} holds no cameras; add keyframes and export the path again")
    name, field = ("camera", "camera_to_world") if frames else ("keyframe", "matrix")
    poses, focals = [], []
    for i, entry in enumerate(frames or keyframes):
        where = f"{file}: {name} {i}"
        if not isinstance(entry, dict):
            raise NerfsceneError(f"{where} is not an object; export the path again")
        if entry.get("camera_type") is not None and _lens(entry, where) != lens:
            raise NerfsceneError(f"{where} has another camera_type than the path; export it with one for all")
        poses.append(_pose(entry.get(field), where) @ FLIP)
        focals.append(focal_of(_fov(entry, data), where) if lens in FLAT else 1 / math.pi)
    fps, loop = positive(data, "fps", file), bool(data.get("is_cycle", False))
    # A path whose frames are there may say 0 seconds.
    seconds = None if number(data.get("seconds")) == 0 else positive(data, "seconds", file)
    if not frames:
        poses, focals, fps, seconds = _joined(poses, focals, keyframes, data, fps, seconds, file)
    elif seconds is None and fps is not None:
        seconds = len(frames) / fps
    aspect = number((frames or keyframes)[0].get("aspect", data.get("aspect")))
    width, height = (positive(data, side, file) for side in ("render_width", "render_height"))
    told: tuple[str, ...] = ()
    if lens not in FLAT:
        width, height, told = _all_round(lens, width, height, file)
    box, background, notes = _crop(data, file)
    return FilePath(
        poses,
        np.array(focals),
        fps,
        seconds,
        loop,
        None if width is None else round(width),
        None if height is None else round(height),
        aspect,
        box,
        background,
        (*told, *notes, *_unused(data, frames or keyframes, lens, file)),
        lens=lens,
    )


def _lens(entry: dict[str, Any], where: str) -> Lens:
    """The lens of a path or of one of its cameras. Raises NerfsceneError for one that can't be rendered."""
    kind = str(entry.get("camera_type") or "perspective").lower()
    lens = TYPES.get(kind)
    if lens is None or lens not in LENSES:
        raise NerfsceneError(
            f"{where} is a {printable(kind)} path, and only "
            f"{', '.join(t for t in TYPES if TYPES[t] in LENSES)} cameras can be rendered; export it as one"
        )
    return cast(Lens, lens)


def _all_round(
    lens: Lens, width: float | None, height: float | None, file: Path
) -> tuple[float | None, float | None, tuple[str, ...]]:
    """(the film's width, its height, sentences) of a path whose pictures are twice as wide as high."""
    if width is not None and lens != "equirectangular":
        width *= 2  # both eyes, side by side
    if width is None or height is None or round(width) == 2 * round(height):
        return width, height, ()
    return (
        width,
        width / 2,
        (f"{file}: its size isn't twice as wide as high; the film is {width:.0f}×{width / 2:.0f}.",),
    )


def _pose(values: Any, where: str) -> Array:
    """A pose (4, 4) from 16 numbers, row-major; a string is the older viewer's and column-major."""
    as_text = isinstance(values, str)
    try:
        m = np.asarray(parsed(values) if as_text else values, np.float64)
    except (TypeError, ValueError, OverflowError):
        m = np.zeros(0)
    if m.size != 16 or not np.isfinite(m).all():
        raise NerfsceneError(f"{where} is not a pose of 16 finite numbers; export the path again")
    return rigid(m.reshape(4, 4).T if as_text else m.reshape(4, 4), where, any_scale=True)


def _fov(entry: dict[str, Any], data: dict[str, Any]) -> Any:
    """The vertical field of view: the entry's own, else the file's."""
    given = (entry.get("fov"), data.get("default_fov"), data.get("fov"))
    return next((fov for fov in given if fov is not None), DEFAULT_FOV)


def _joined(
    poses: list[Array],
    focals: list[float],
    keyframes: list[dict[str, Any]],
    data: dict[str, Any],
    fps: float | None,
    seconds: float | None,
    file: Path,
) -> tuple[list[Array], list[float], float, float]:
    """(poses, focal lengths, fps, seconds) of the frames of a smooth curve through keyframes."""
    loop = bool(data.get("is_cycle", False))
    steps = _transitions(data, keyframes, loop)
    seconds = seconds or sum(steps) or DEFAULT_SECONDS
    fps = fps or DEFAULT_FPS
    n = frame_count(seconds, fps, file)
    key_times = None
    if steps and sum(steps) > 0:
        share = np.linspace(0, 1, n, endpoint=not loop) * sum(steps)
        key_times = np.interp(share, np.append(0.0, np.cumsum(steps)), np.arange(len(steps) + 1.0))
    made, lengths = interpolate(poses, np.array(focals), n, loop=loop, key_times=key_times)
    return made, list(lengths), fps, seconds


def _transitions(data: dict[str, Any], keyframes: list[dict[str, Any]], loop: bool) -> list[float]:
    """Seconds from each keyframe to the next, in a loop also to the first; none if the file gives none."""
    usual = number(data.get("default_transition_sec"))
    steps = []
    for key in keyframes:
        own = number(key.get("override_transition_sec")) if key.get("override_transition_enabled") else None
        step = usual if own is None else own
        if step is None or step < 0:
            return []
        steps.append(step)
    return steps[1:] + steps[:1] if loop else steps[1:]


def _crop(
    data: dict[str, Any], file: Path
) -> tuple[Array | None, tuple[float, float, float] | None, tuple[str, ...]]:
    """(file_from_box, the background, notes), as in FilePath."""
    with loading():
        from scipy.spatial.transform import Rotation  # imported here because it takes long

    crop = data.get("crop")
    if not crop or (isinstance(crop, dict) and crop.get("crop_enabled") is False):
        return None, None, ()
    given = crop if isinstance(crop, dict) else {}
    centre, sides = vector(given.get("crop_center"), 3), vector(given.get("crop_scale"), 3)
    angles = vector(given.get("crop_rot", [0, 0, 0]), 3)
    if centre is None or sides is None or angles is None or not (sides > 0).all():
        what = "a box with a center, a scale above 0 and three angles"
        return None, None, (f"{file}: its crop is not {what}, so the film shows everything.",)
    box = np.eye(4)
    box[:3, :3] = Rotation.from_euler("xyz", angles).as_matrix() * (sides / 2)
    box[:3, 3] = centre
    color = given.get("crop_bg_color")
    parts = [number(color.get(c)) for c in "rgb"] if isinstance(color, dict) else []
    if len(parts) != 3 or None in parts:
        return box, None, (f"{file}: its crop has no background colour of r, g and b: the scene's stays.",)
    r, g, b = (min(max((part or 0.0) / 255, 0.0), 1.0) for part in parts)
    return box, (r, g, b), ()


def crop_of(world_from_box: Array, background: tuple[float, float, float] | None) -> dict[str, Any]:
    """The ``crop`` that a file needs for a box (4, 4), whose axes are at right angles, and a colour."""
    with loading():
        from scipy.spatial.transform import Rotation

    half = np.linalg.norm(world_from_box[:3, :3], axis=0)
    angles = Rotation.from_matrix(world_from_box[:3, :3] / half).as_euler("xyz")
    crop: dict[str, Any] = {
        "crop_center": world_from_box[:3, 3].tolist(),
        "crop_scale": (2 * half).tolist(),
        "crop_rot": angles.tolist(),
    }
    if background is not None:
        crop["crop_bg_color"] = {c: 255 * part for c, part in zip("rgb", background, strict=True)}
    return crop


def _unused(data: dict[str, Any], entries: list[dict[str, Any]], lens: Lens, file: Path) -> tuple[str, ...]:
    """Sentences on what the file asks for and a film here can't show."""
    notes = []
    if str(data.get("camera_type")).lower() == "omnidirectional":
        notes.append(f"{file}: its cameras are for two eyes all round; they are filmed for one eye.")
    if len({str(e.get("render_time")) for e in entries}) > 1:
        notes.append(f"{file}: its render_time is not applied, because nothing moves in a scene here.")
    if lens in FLAT and all(_given is None for _given in (data.get("default_fov"), data.get("fov"))):
        without = sum(e.get("fov") is None for e in entries)
        if without:
            notes.append(f"{file}: {without} of its cameras have no fov; {DEFAULT_FOV:g} degrees are taken.")
    return tuple(notes)
