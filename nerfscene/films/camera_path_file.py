"""Reads camera paths from files of several programs, and makes nerfstudio's format.

``nerfstudio_path``, ``instant_ngp_path``, ``supersplat_path``, ``gltf_path`` and ``blender_path`` say what
these formats hold. The first two programs' paths are in coordinates of their own; ``trained_world`` takes
them back to the capture's. Those of the others are about an export of the scene, see ``export_world``. Paths
made here are marked as being in the scene's own world, so that nothing is undone.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.cameras.algebra import pose_in_scene, similarity_scale
from nerfscene.cameras.plausible import camera_doubt, invertible
from nerfscene.errors import NerfsceneError
from nerfscene.films import (
    blender_path,
    gltf_path,
    instant_ngp_path,
    nerfstudio_path,
    supersplat_path,
    trained_world,
)
from nerfscene.films.export_world import (
    ALIKE,
    CLEARLY,
    ENOUGH,
    Y_DOWN_FROM_Z_UP,
    Y_UP_FROM_Z_UP,
    chosen,
    ways_of,
)
from nerfscene.films.gltf_file import Gltf
from nerfscene.films.own_keyframes import LARGEST, OURS, SMALLEST, own_tracks, tracks_part
from nerfscene.films.path_fit import cameras_in_place, turned_from_photos
from nerfscene.films.path_parts import FLIP, FilePath
from nerfscene.films.path_sources import opened
from nerfscene.films.paths import CameraPath
from nerfscene.films.presets import PRESETS
from nerfscene.films.pulling import with_tracks
from nerfscene.films.tracks import Tracks
from nerfscene.films.trained_world import DATAPARSER, Undone
from nerfscene.given import path_given
from nerfscene.scene.scene import Scene
from nerfscene.types import Array, Camera, Intrinsics, Lens

DEFAULT_SIZE, WRITTEN_FPS = (1280, 720), 24.0
# What nerfstudio calls the lenses of films.
CAMERA_TYPES: dict[Lens, str] = {
    "perspective": "perspective",
    "fisheye": "fisheye",
    "equirectangular": "equirectangular",
    "stereo180": "vr180",
}
GIVE = f"give a path file such as camera_path.json, auto, {', '.join(PRESETS[:-1])} or {PRESETS[-1]}"


def read_camera_path(
    file: Path | str,
    width: int | None = None,
    height: int | None = None,
    transform: Path | str | None = None,
    scene: Scene | None = None,
    usual_size: tuple[int, int] = DEFAULT_SIZE,
) -> CameraPath:
    """The cameras of a path's file, of any program that ``path_sources`` opens, in the scene's world.

    width, height: pixels, instead of the file's; if only one is given, the aspect ratio stays. If the
    aspect ratio changes, the angle across the file's shorter side becomes the angle across the film's, so
    that the subject stays in the picture. transform: the dataparser_transforms.json to undo, or the
    transforms.json that instant-ngp trained on, instead of the one found. scene: the scene to be filmed,
    whose world and photos are then taken into account; without it, the capture's own world is meant, or
    the upright one in which scenes are exported.
    usual_size: (width, height) in pixels, where neither the file nor the caller gives a size; if the file
    gives an aspect ratio, only the longer side counts.
    Raises NerfsceneError, naming the file, for anything that can't be used.
    """
    file = path_given(file, "file")
    named = None if transform is None else path_given(transform, "transform")
    data = opened(file, GIVE)
    undone: Undone | None
    tracks = Tracks()
    exported = _of_export(data, file, named, scene)
    if exported is not None:
        path, undone, doubts = exported
    elif isinstance(data, Gltf):  # ``_of_export`` has taken these
        raise NerfsceneError(f"{file} is no camera path")
    elif instant_ngp_path.is_one(data):
        path, undone, doubts = _of_instant_ngp(data, file, named, scene)
    else:
        tracks = own_tracks(data, file)
        path, undone, doubts = _of_nerfstudio(data, file, named, scene)
    fov_pixels, (w, h) = _film_size(path, width, height, usual_size, file)
    cameras = tuple(
        Camera(_intrinsics(path.lens, w, h, float(f)), pose)
        for pose, f in zip(_in_world(path, undone, scene), fov_pixels * path.focals, strict=True)
    )
    box = None if path.box is None else world_from_file(undone, scene) @ path.box
    _check_numbers(cameras, box, file, undone)
    made = CameraPath(
        cameras,
        path.fps,
        path.seconds,
        path.loop,
        path.width,
        path.height,
        box,
        path.background,
        (*path.notes, *doubts),
    )
    return with_tracks(made, tracks, file)


def _intrinsics(lens: Lens, width: int, height: int, focal: float) -> Intrinsics:
    """The lens of a film's cameras; ``focal``, in pixels, is for those that don't show all round."""
    if lens in ("perspective", "fisheye"):
        return Intrinsics(width, height, focal, focal, width / 2, height / 2, lens)
    per_radian = width / (2 * math.pi)
    middle = width / 2 if lens == "equirectangular" else width / 4  # of the left eye's half
    return Intrinsics(width, height, per_radian, per_radian, middle, height / 2, lens)


def _check_numbers(cameras: tuple[Camera, ...], box: Array | None, file: Path, undone: Undone | None) -> None:
    """Raises NerfsceneError for cameras or a crop of which nothing can be computed."""
    by = (
        ""
        if undone is None or undone.source == file
        else f", taken to the capture's coordinates by {undone.source}"
    )
    for number, camera in enumerate(cameras, 1):
        doubt = camera_doubt(camera.intrinsics, camera.world_from_cam)
        if doubt is not None:
            raise NerfsceneError(
                f"camera {number} of {file}{by} can't be right: {doubt}; export the path again"
            )
    if box is not None and not invertible(box):
        raise NerfsceneError(f"the crop of {file}{by} is impossibly thin, large or far; remove it from there")


def _of_export(
    data: dict[str, Any] | Gltf, file: Path, named: Path | None, scene: Scene | None
) -> tuple[FilePath, Undone, tuple[str, ...]] | None:
    """A path of SuperSplat or Blender, what takes it to the capture's world, and notes; None: another's."""
    told: tuple[str, ...] = ()
    z_up_from_y_up: Array = Y_UP_FROM_Z_UP.T
    if isinstance(data, Gltf):
        program, path = "Blender", gltf_path.read(data)
        ways = ways_of(scene, (Y_UP_FROM_Z_UP, np.eye(4)), (np.eye(4), Y_UP_FROM_Z_UP))
    elif blender_path.is_one(data):
        program, path = "Blender", blender_path.read(data, file)
        ways = ways_of(scene, (np.eye(4),), (z_up_from_y_up, np.eye(4)))
    elif supersplat_path.is_one(data):
        program, path = "SuperSplat", supersplat_path.read(data, file)
        shown, told = supersplat_path.supersplat_from_file(data, file)
        ways = ways_of(scene, (shown @ Y_DOWN_FROM_Z_UP,), (shown,))
    else:
        return None
    if named is not None:
        raise NerfsceneError(
            f"--path-transform is for paths of nerfstudio and instant-ngp, and {file} is one of {program}: "
            "leave it out"
        )
    found, doubts = chosen(path.poses, ways, scene, file, program)
    capture = None if scene is None else scene.world_from_capture
    capture_from_world = np.eye(4) if capture is None else np.linalg.inv(capture)
    return path, Undone(np.asarray(capture_from_world @ found), file, True), (*told, *doubts)


def _of_nerfstudio(
    data: dict[str, Any], file: Path, named: Path | None, scene: Scene | None
) -> tuple[FilePath, Undone | None, tuple[str, ...]]:
    """A nerfstudio path, what takes it to the capture's world, and notes on that."""
    _check_kind(data, file)
    path = nerfstudio_path.read(data, file)
    if isinstance(data.get(OURS), dict):
        if named is None:
            return path, None, ()
        return path, None, (f"{file} is in the scene's own coordinates, so {named} is not used.",)
    undone, note = trained_world.of_nerfstudio(file, named, scene)
    notes = [note] if note else []
    n = len(path.poses)
    before = _in_place(path, None, scene)
    if undone is not None and not undone.certain:
        better = _in_place(path, undone, scene) - before
        if better > 0 or (better == 0 and file.parent.name == trained_world.CAMERA_PATHS):
            notes.append(f"{file}: taken to the capture's coordinates by {undone.source}.")
        else:
            undone = None
    if undone is not None:
        turned = trained_world.half_turned(undone)
        if _clearly_better(scene, (path, undone), (path, turned)):
            undone = turned
            notes.append(
                f"{file}: {undone.source} is half a turn off, as nerfstudio may write it for the "
                "orientation pca; this is corrected, because then the path fits the photos."
            )
    found = before if undone is None else _in_place(path, undone, scene)
    if found < ENOUGH * n:
        far = f"{file} leads through places that no photo stands near ({n - found} of its {n} cameras)."
        if undone is None and not note:
            notes.append(
                f"{far} If nerfstudio wrote it, it may be in the coordinates that nerfstudio trained in: put "
                f"{DATAPARSER} from its outputs/NAME/METHOD/DATE beside the path, or name it with "
                "--path-transform."
            )
        elif undone is not None:
            notes.append(f"{far} {undone.source} may belong to another training or capture.")
    return path, undone, tuple(notes)


def _of_instant_ngp(
    data: dict[str, Any], file: Path, named: Path | None, scene: Scene | None
) -> tuple[FilePath, Undone, tuple[str, ...]]:
    """An instant-ngp path, what takes it to the capture's world, and notes on that."""
    path = instant_ngp_path.read(data, file)
    undone = trained_world.of_instant_ngp(file, named, scene)
    notes = []
    other = instant_ngp_path.with_w_first(data)
    if other is not None:
        turned = instant_ngp_path.read(other, file)
        if _clearly_better(scene, (path, undone), (turned, undone)):
            path = turned
            notes.append(f"{file}: its rotations are read as w, x, y, z, because then they fit the photos.")
    n, found = len(path.poses), _in_place(path, undone, scene)
    if found < ENOUGH * n:
        used = (
            f"{undone.source} was used" if undone.certain else "none was found, so the usual scale was used"
        )
        notes.append(
            f"{file} leads through places that no photo stands near ({n - found} of its {n} cameras). Its "
            "coordinates depend on the transforms.json that instant-ngp trained on, and this scene's cameras "
            f"must be that file's: {used}; name the right one with --path-transform."
        )
    return path, undone, tuple(notes)


def _check_kind(data: dict[str, Any], file: Path) -> None:
    """Raises NerfsceneError for JSON files that hold something else, and are easily mistaken for a path."""
    if data.get("camera_path") or data.get("keyframes"):
        return
    if isinstance(data.get("frames"), list):
        raise NerfsceneError(
            f"{file} is a transforms.json, the photos' cameras, and not a camera path; --path walkthrough "
            "films along the photos"
        )
    if "transform" in data and "scale" in data:
        raise NerfsceneError(
            f"{file} is nerfstudio's {DATAPARSER}; give the camera path as --path and this file as "
            "--path-transform"
        )


def world_from_file(undone: Undone | None, scene: Scene | None) -> Array:
    """The similarity (4, 4) from a path's own coordinates to the scene's world."""
    if undone is None:
        return np.eye(4)
    if scene is None or scene.world_from_capture is None:
        return undone.capture_from_file
    return np.asarray(scene.world_from_capture @ undone.capture_from_file)


def _in_place(path: FilePath, undone: Undone | None, scene: Scene | None) -> int:
    """How many of a path's cameras are where the scene's photos are; all of them if there is no scene."""
    if scene is None:
        return len(path.poses)
    poses = _in_world(path, undone, scene)
    return cameras_in_place(poses, scene.views, 1 / similarity_scale(scene.scene_from_world))


def _clearly_better(
    scene: Scene | None, one: tuple[FilePath, Undone], other: tuple[FilePath, Undone]
) -> bool:
    """Whether only the other way to read a path has its cameras held as the photos were."""
    if scene is None:
        return False
    a, b = (turned_from_photos(_in_world(*way, scene), scene.views) for way in (one, other))
    return b < ALIKE and a > CLEARLY * b


def _in_world(path: FilePath, undone: Undone | None, scene: Scene | None) -> list[Array]:
    """A path's poses (4, 4) in the scene's world."""
    there = world_from_file(undone, scene)
    return [pose_in_scene(there, pose) for pose in path.poses]


def path_data(
    path: CameraPath, file: Path, fps: float = WRITTEN_FPS, trained_from_world: Array | None = None
) -> dict[str, Any]:
    """A path in nerfstudio's format, for ``read_camera_path``, in the scene's own coordinates.

    file: for messages. fps: used if the path has none. The format has no distortion, no principal point other
    than the centre, and no distance between eyes. Raises NerfsceneError for a path without cameras, poses
    that aren't finite, or a lens that the format doesn't have.
    trained_from_world: a similarity (4, 4) to the coordinates that nerfstudio trained in, which the path is
    then in, instead of the scene's own.
    """
    if not path.cameras:
        raise NerfsceneError(f"{file} can't be written: the path has no cameras")
    if not all(np.isfinite(c.world_from_cam).all() for c in path.cameras):
        raise NerfsceneError(f"{file} can't be written: the path has poses that aren't finite")
    k = path.cameras[0].intrinsics
    kind = CAMERA_TYPES.get(k.lens)
    if kind is None or any(camera.intrinsics.lens != k.lens for camera in path.cameras):
        raise NerfsceneError(f"{file} can't be written: nerfstudio's format has no {k.lens} path")
    fps = path.fps or fps
    moved = np.eye(4) if trained_from_world is None else trained_from_world
    eye_width = k.width // 2 if kind == "vr180" else k.width
    frames = []
    for camera in path.cameras:
        c = camera.intrinsics
        frames.append(
            {
                "camera_to_world": (pose_in_scene(moved, camera.world_from_cam) @ FLIP).ravel().tolist(),
                "fov": math.degrees(2 * math.atan(0.5 * c.height / c.fy)),
                "aspect": eye_width / c.height,
            }
        )
    data = {
        "camera_type": kind,
        "render_width": eye_width,  # of one eye
        "render_height": k.height,
        "fps": fps,
        "seconds": len(frames) / fps,
        "is_cycle": path.loop,
        "keyframes": [],
        "camera_path": frames,
    }
    if trained_from_world is None:
        data[OURS] = {"coordinates": "scene", **tracks_part(path.tracks)}
    if path.crop is not None:
        data["crop"] = nerfstudio_path.crop_of(moved @ path.crop, path.background)
    return data


def _film_size(
    path: FilePath, width: int | None, height: int | None, usual: tuple[int, int], file: Path
) -> tuple[float, tuple[int, int]]:
    """(the height in pixels that the vertical field of view spans, (width, height) of the film)."""
    ratio = usual[0] / usual[1]
    of_file = path.width, path.height
    if path.lens not in ("perspective", "fisheye"):
        ratio, of_file = 2.0, (path.width, None if path.width else path.height)
    elif path.width and path.height:
        ratio = path.width / path.height
    elif path.aspect is not None and path.aspect > 0:
        ratio = path.aspect
    if width is None and height is None:
        width, height = of_file
    if width is None and height is None:
        if ratio >= 1:
            width = max(usual)
        else:
            height = max(usual)
    if height is None:
        assert width is not None
        height = round(width / ratio)
    if width is None:
        width = round(height * ratio)
    if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
        raise NerfsceneError(
            f"{file}: a film of {width}×{height} can't be made; give {SMALLEST} to {LARGEST} pixels"
        )
    if path.longer_side:
        return float(max(width, height)), (width, height)
    if abs(width / height / ratio - 1) < 0.02:  # sizes are whole pixels, so ratios agree only roughly
        return float(height), (width, height)
    return min(width, height) / min(1.0, ratio), (width, height)
