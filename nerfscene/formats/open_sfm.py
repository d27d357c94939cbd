"""OpenSfM's ``reconstruction.json`` and OpenMVG's ``sfm_data.json`` → PosedCapture.

In both, cameras look along +z with y down, as ours do; both come with a sparse model's points. Pixels are
the stored ones, whatever EXIF says about orientation. Tried on projects of OpenSfM and, for OpenMVG, on
the converted sfm_data.bin of a real reconstruction.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.lens_fit import NOTICEABLE
from nerfscene.capture.folder import natural_key
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import (
    Values,
    as_dict,
    as_list,
    lens_of,
    load_json,
    number,
    numbers,
    panorama_lens,
    printable,
    rotation_of,
    text_of,
)
from nerfscene.formats.listing import PosedFrame, photos_without_pose, rigid
from nerfscene.formats.open_sfm_lens import opensfm_lens
from nerfscene.formats.photo_search import finish_app_export, photo_finder
from nerfscene.types import Array, Intrinsics, PosedCapture, Source

# Lens type → the key of its coefficients, and how many there are.
OPENMVG_DISTORTION = {
    "pinhole": ("", 0),
    "pinhole_radial_k1": ("disto_k1", 1),
    "pinhole_radial_k3": ("disto_k3", 3),
    "pinhole_brown_t2": ("disto_t2", 5),
    "fisheye": ("fisheye", 4),
}
OPENMVG_PANORAMA = "spherical"
NEW_TYPE = 1 << 31  # this bit of a type's id is set where the type's name is given too
GREY = (128.0, 128.0, 128.0)  # colour of points without one


def is_opensfm(values: object) -> bool:
    """Whether parsed JSON is a list of reconstructions, as OpenSfM writes it."""
    return isinstance(values, list) and any(
        isinstance(v, dict) and {"shots", "cameras"} <= set(v) for v in values
    )


def is_openmvg(values: object) -> bool:
    """Whether parsed JSON is a scene, as OpenMVG writes it."""
    return isinstance(values, dict) and {"views", "intrinsics", "extrinsics"} <= set(values)


def is_posed_opensfm(path: Path) -> bool:
    """Whether a file looks like OpenSfM's with at least one shot, judged by its text; it may be damaged."""
    text = text_of(path)
    return '"cameras"' in text and re.search(r'"shots"\s*:\s*\{\s*"', text) is not None


def is_posed_openmvg(path: Path) -> bool:
    """Whether a file looks like OpenMVG's with poses, judged by its text; it may be damaged."""
    text = text_of(path)
    is_scene = all(f'"{name}"' in text for name in ("sfm_data_version", "views"))
    return is_scene and re.search(r'"extrinsics"\s*:\s*\[\s*\]', text) is None


def is_packed_openmvg(path: Path) -> bool:
    """Whether a file is OpenMVG's sfm_data.bin, judged by its name; nerfscene can't read its contents."""
    return path.name.lower().startswith("sfm_data") and path.suffix.lower() == ".bin"


def how_to_convert(path: Path) -> str:
    """How to convert OpenMVG's sfm_data.bin to the JSON that can be read, as part of a message."""
    return f"run openMVG_main_ConvertSfM_DataFormat -i {path.name} -o {path.stem}.json there"


def read_opensfm(path: Path, images: Path | None = None) -> PosedCapture:
    """Reads a ``reconstruction.json``; photos are in ``images``, or where photo_search.photo_finder looks.

    If there are several reconstructions, the one with most shots is used, with a warning. Photos beside
    those of its shots are left out; those without a pose in any reconstruction get a warning. A shot's
    rotation (axis times angle) and translation are cam_from_world. A shot without them has those of its rig
    instance, followed by those of its rig camera. Projection types: those of open_sfm_lens; dual, fisheye62
    and fisheye624 are approximated by the nearest lens of ours, with a warning if that is visibly off.
    Raises NerfsceneError when the file makes no sense, a lens is of another type, or photos don't fit.
    """
    reconstructions = [as_dict(r, f"a reconstruction in {path}") for r in as_list(load_json(path), str(path))]
    shots = [as_dict(r.get("shots", {}), f"shots in {path}") for r in reconstructions]
    if not any(shots):
        raise NerfsceneError(f"{path} has no shots with poses: run OpenSfM again, or give only the photos.")
    best = max(range(len(reconstructions)), key=lambda i: len(shots[i]))
    warnings: tuple[str, ...] = ()
    if sum(map(bool, shots)) > 1:
        warnings = (
            f"{path.name} holds {sum(map(bool, shots))} reconstructions that don't connect: took the "
            f"largest, with {len(shots[best])} of {sum(map(len, shots))} photos.",
        )
    frames, off = _opensfm_frames(path, images, reconstructions[best], shots[best])
    if off > NOTICEABLE:
        warnings += (
            f"a lens in {path.name} is of a type that is not supported: the nearest one that is differs by "
            f"up to {off:.1f} pixels; reconstruct with brown or fisheye_opencv for sharper results.",
        )
    points, colors = [], []
    for key, value in as_dict(reconstructions[best].get("points") or {}, f"points in {path}").items():
        point = as_dict(value, f"point {printable(key)} in {path}")
        points.append(point.get("coordinates"))
        colors.append(point.get("color") or GREY)
    every_shot = [name for group in shots for name in group]
    return _finish(path, "opensfm", frames, points, colors, warnings, every_shot)


def _opensfm_frames(
    path: Path, images: Path | None, reconstruction: Values, shots: Values
) -> tuple[list[PosedFrame], float]:
    """A frame for each shot, in the natural order of names; by how many pixels a lens is off at most."""
    cameras = as_dict(reconstruction.get("cameras"), f"cameras in {path}")
    by_rig = _rig_poses(reconstruction, path)
    lenses: dict[str, tuple[Intrinsics, float]] = {}
    find = photo_finder(path.parent, images, shots, path)
    frames = []
    for name in sorted(shots, key=natural_key):
        where = f"shot {printable(name)} in {path}"
        shot = as_dict(shots[name], where)
        key = str(shot.get("camera"))
        if key not in lenses:
            camera = f"camera {printable(key)} in {path}"
            lenses[key] = opensfm_lens(as_dict(cameras.get(key), camera), camera)
        own = "rotation" in shot or name not in by_rig
        cam_from_world = _transform(shot, where) if own else by_rig[name]
        pose = _inverse(cam_from_world[:3, :3], cam_from_world[:3, 3])
        frames.append(PosedFrame(printable(name), find(name), lenses[key][0], pose))
    return frames, max((off for _, off in lenses.values()), default=0.0)


def _rig_poses(reconstruction: Values, path: Path) -> dict[str, Array]:
    """cam_from_world (4, 4) of the shots of rigs, by name: rig camera from rig, after rig from world."""
    cameras = as_dict(reconstruction.get("rig_cameras") or {}, f"rig_cameras in {path}")
    instances = as_dict(reconstruction.get("rig_instances") or {}, f"rig_instances in {path}")
    poses = {}
    for key, value in instances.items():
        where = f"rig instance {printable(key)} in {path}"
        instance = as_dict(value, where)
        for shot, camera in as_dict(instance.get("rig_camera_ids") or {}, where).items():
            inside = f"rig camera {printable(camera)} in {path}"
            cam_from_rig = _transform(as_dict(cameras.get(str(camera)), inside), inside)
            poses[shot] = cam_from_rig @ _transform(instance, where)
    return poses


def _transform(values: Values, where: str) -> Array:
    """The rigid transform (4, 4) of a rotation (axis times angle) and a translation, 0 if there is none."""
    axis_angle = numbers(values.get("rotation"), (3,), where, "rotation")
    angle = float(np.linalg.norm(axis_angle))
    sine = np.sin(angle / 2) / angle if angle > 1e-12 else 0.5
    result = np.eye(4)
    result[:3, :3] = rotation_of([*(axis_angle * sine), np.cos(angle / 2)], where)
    result[:3, 3] = numbers(values.get("translation", [0.0] * 3), (3,), where, "translation")
    return result


def read_openmvg(path: Path, images: Path | None = None) -> PosedCapture:
    """Reads a ``sfm_data.json``; photos are in ``images``, or where photo_search.photo_finder looks.

    Rotations are cam_from_world, centres are in the world, lenses in pixels (OpenMVG's documentation, SfM
    data format). Lens types: pinhole, pinhole_radial_k1, pinhole_radial_k3, pinhole_brown_t2, fisheye
    and spherical.
    Photos without a pose are left out, with a warning.
    Raises NerfsceneError when the file makes no sense, a lens is of another type, or photos don't fit.
    """
    values = as_dict(load_json(path), str(path))
    poses = {
        str(key): as_dict(value, f"pose {printable(key)} in {path}")
        for key, value in _entries(values, "extrinsics", path)
    }
    type_names: dict[int, str] = {}
    lenses = {}
    for key, value in _entries(values, "intrinsics", path):
        where = f"lens {printable(key)} in {path}"
        lenses[str(key)] = _openmvg_lens(as_dict(value, where), type_names, where)
    folder = values.get("root_path")
    frames = []
    views = _openmvg_views(values, poses, path)
    find = photo_finder(path.parent, images, [_joined(folder, name) for name, _ in views], path)
    for name, view in sorted(views, key=lambda item: natural_key(item[0])):
        where = f"view {printable(name)} in {path}"
        lens = lenses.get(str(view.get("id_intrinsic")))
        if lens is None:
            raise NerfsceneError(f"{where} has a lens that is not in the file: export it again.")
        pose = poses[str(view.get("id_pose"))]
        rotation = numbers(pose.get("rotation"), (3, 3), where, "rotation")
        centre = numbers(pose.get("center"), (3,), where, "center")
        world_from_cam = rigid(np.column_stack([rotation.T, centre]), where)
        photo = find(_joined(folder, name))
        frames.append(PosedFrame(printable(name), photo, lens, world_from_cam))
    points = [
        as_dict(value, f"point {printable(key)} in {path}").get("X")
        for key, value in _entries(values, "structure", path)
    ]
    return _finish(path, "openmvg", frames, points, [GREY] * len(points), (), [])


def _openmvg_views(values: Values, poses: dict[str, Values], path: Path) -> list[tuple[str, Values]]:
    """(name with folders, values) of each view that has a pose. Raises NerfsceneError if there is none."""
    views = []
    for key, value in _entries(values, "views", path):
        where = f"view {printable(key)} in {path}"
        view = _data(as_dict(value, where), where)
        name = view.get("filename")
        if not isinstance(name, str) or not name:
            raise NerfsceneError(f"{where} has no filename: export it again.")
        if str(view.get("id_pose")) in poses:
            views.append((_joined(view.get("local_path"), name), view))
    if not views:
        raise NerfsceneError(f"{path} has no views with poses: give the file that the reconstruction wrote.")
    return views


def _joined(folder: object, name: str) -> str:
    return f"{folder}/{name}" if isinstance(folder, str) and folder else name


def _finish(
    path: Path,
    kind: Source,
    frames: list[PosedFrame],
    points: list[Any],
    colors: list[Any],
    warnings: tuple[str, ...],
    posed_names: list[str],
) -> PosedCapture:
    """The capture. posed_names: all photos that the file has a pose for, in unused reconstructions too."""
    xyz = np.zeros((0, 3))
    rgb: NDArray[np.uint8] = np.zeros((0, 3), np.uint8)
    if points:
        xyz = numbers(points, (-1, 3), str(path), "list of points")
        rgb = numbers(colors, (-1, 3), str(path), "list of colours").clip(0, 255).astype(np.uint8)
    left_out, no_pose = photos_without_pose(frames, path, posed_names)
    return finish_app_export(path, kind, frames, warnings + no_pose, left_out, xyz, rgb)


def _inverse(rotation: Array, translation: Array) -> Array:
    """world_from_cam (4, 4) from the rotation (3, 3) and translation (3,) of cam_from_world."""
    result = np.eye(4)
    result[:3, :3] = rotation.T
    result[:3, 3] = -rotation.T @ translation
    return result


def _entries(values: Values, name: str, path: Path) -> list[tuple[object, object]]:
    """(key, value) of each entry in a map, which OpenMVG writes as a list of objects."""
    items = as_list(values.get(name, []), f"{name} in {path}")
    found = [as_dict(item, f"an entry of {name} in {path}") for item in items]
    return [(item.get("key"), item.get("value")) for item in found]


def _data(values: Values, where: str) -> Values:
    """The object behind a pointer; newer versions nest the fields of its base class under value0."""
    data = as_dict(as_dict(values.get("ptr_wrapper"), where).get("data"), where)
    base = data.get("value0")
    return (base | data) if isinstance(base, dict) else data


def _openmvg_lens(values: Values, type_names: dict[int, str], where: str) -> Intrinsics:
    """A lens. ``type_names``, by id, is filled on the way: only the first lens of a type names it."""
    type_id = int(number(values, "polymorphic_id", where, 0.0)) % NEW_TYPE
    if isinstance(values.get("polymorphic_name"), str):
        type_names[type_id] = values["polymorphic_name"]
    kind = type_names.get(type_id, "")
    if kind not in OPENMVG_DISTORTION and kind != OPENMVG_PANORAMA:
        raise NerfsceneError(
            f"{where} is of the type {printable(kind) or '(none)'}, which is not supported: reconstruct with "
            f"{', '.join([*OPENMVG_DISTORTION, OPENMVG_PANORAMA])}."
        )
    data = _data(values, where)
    if kind == OPENMVG_PANORAMA:
        width, height = number(data, "width", where), number(data, "height", where)
        return panorama_lens(width, height, where, "give uncropped panoramas")
    key, count = OPENMVG_DISTORTION[kind]
    terms = list(numbers(data.get(key), (count,), where, key)) if count else []
    if kind == "pinhole_brown_t2":  # k1 k2 k3 t1 t2
        terms = [terms[i] for i in (0, 1, 3, 4, 2)]
    elif kind == "pinhole_radial_k3":
        terms = [terms[0], terms[1], 0.0, 0.0, terms[2]]
    focal = number(data, "focal_length", where)
    return lens_of(
        number(data, "width", where),
        number(data, "height", where),
        (focal, focal),
        tuple(numbers(data.get("principal_point"), (2,), where, "principal_point")),
        where,
        terms,
        "fisheye" if kind == "fisheye" else "perspective",
    )
