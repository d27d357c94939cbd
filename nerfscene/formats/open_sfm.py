"""OpenSfM's ``reconstruction.json`` and OpenMVG's ``sfm_data.json`` → PosedCapture.

Both have cameras that look along +z with y down, as ours, and points with them; their pixels are those
of the file, whatever EXIF says of its orientation. Tried on projects of OpenSfM, and for OpenMVG on a
sfm_data.bin of a real reconstruction, converted.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerfscene.capture.folder import natural_key
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import (
    Values,
    as_shown,
    capture_root,
    left_without,
    lens_of,
    load_json,
    number,
    numbers,
    photo_finder,
    photos_beside,
    rows,
    said,
    table,
    turn_of,
)
from nerfscene.formats.listing import Listed, finish, rigid, with_masks
from nerfscene.types import Array, Intrinsics, PosedCapture, Source

# Kind of lens → terms of ours, in the order of Intrinsics.distortion.
OPENSFM_PERSPECTIVE = {
    "perspective": ("k1", "k2"),
    "simple_radial": ("k1",),
    "radial": ("k1", "k2"),
    "brown": ("k1", "k2", "p1", "p2", "k3"),
}
OPENSFM_FISHEYE = {"fisheye": ("k1", "k2"), "fisheye_opencv": ("k1", "k2", "k3", "k4")}
OPENMVG_DISTORTION = {
    "pinhole": ("", 0),
    "pinhole_radial_k1": ("disto_k1", 1),
    "pinhole_radial_k3": ("disto_k3", 3),
    "pinhole_brown_t2": ("disto_t2", 5),
    "fisheye": ("fisheye", 4),
}
NEW_TYPE = 1 << 31  # set in an id where the type's name stands beside it


def is_opensfm(values: object) -> bool:
    """Whether parsed JSON is a list of reconstructions, as OpenSfM writes."""
    return isinstance(values, list) and any(
        isinstance(v, dict) and {"shots", "cameras"} <= set(v) for v in values
    )


def is_openmvg(values: object) -> bool:
    """Whether parsed JSON is a scene, as OpenMVG writes."""
    return isinstance(values, dict) and {"views", "intrinsics", "extrinsics"} <= set(values)


def is_posed_opensfm(path: Path) -> bool:
    """Whether a file is one of OpenSfM's with shots in it, by the look of its text; it need not be whole."""
    text = _text(path)
    return '"cameras"' in text and re.search(r'"shots"\s*:\s*\{\s*"', text) is not None


def is_posed_openmvg(path: Path) -> bool:
    """Whether a file is one of OpenMVG's and not a list of photos alone; it need not be whole."""
    text = _text(path)
    named = all(f'"{name}"' in text for name in ("sfm_data_version", "views"))
    return named and re.search(r'"extrinsics"\s*:\s*\[\s*\]', text) is None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def is_packed_openmvg(path: Path) -> bool:
    """Whether a file is OpenMVG's sfm_data.bin, by its name: what it holds is not read here."""
    return path.name.lower().startswith("sfm_data") and path.suffix.lower() == ".bin"


def how_to_convert(path: Path) -> str:
    """What to do for the cameras in OpenMVG's sfm_data.bin, as part of a message."""
    return f"run openMVG_main_ConvertSfM_DataFormat -i {path.name} -o {path.stem}.json there"


def read_opensfm(path: Path, images: Path | None = None) -> PosedCapture:
    """A ``reconstruction.json`` with its points; photos are in ``images``, or ``images`` or right beside it.

    Or they are in ``images`` beside its folder or, if that is called ``opensfm``, anywhere beside it.

    Of several reconstructions, the one with most shots is taken, with a warning; photos beside those of
    its shots are left out, with a warning of those that are in none. A shot's rotation
    (axis times angle) and translation are cam_from_world; focal lengths and centres are shares of the
    picture's longer side (OpenSfM's documentation, Geometric Models). Projection types perspective,
    simple_radial, radial, brown, fisheye and fisheye_opencv.
    Raises NerfsceneError when the file makes no sense, a lens is of another type, or photos don't fit.
    """
    every = [table(r, f"a reconstruction in {path}") for r in rows(load_json(path), str(path))]
    shots = [table(r.get("shots", {}), f"shots in {path}") for r in every]
    if not any(shots):
        raise NerfsceneError(f"{path} has no shots with poses: run OpenSfM again, or give the photos alone.")
    best = max(range(len(every)), key=lambda i: len(shots[i]))
    warnings: tuple[str, ...] = ()
    if sum(map(bool, shots)) > 1:
        warnings = (
            f"{path.name} holds {sum(map(bool, shots))} reconstructions that don't connect: took the "
            f"largest, with {len(shots[best])} of {sum(map(len, shots))} photos.",
        )
    cameras = table(every[best].get("cameras"), f"cameras in {path}")
    lenses: dict[str, Intrinsics] = {}
    find = photo_finder(path.parent, images, shots[best], path)
    listed = []
    for name in sorted(shots[best], key=natural_key):
        where = f"shot {said(name)} in {path}"
        shot = table(shots[best][name], where)
        key = str(shot.get("camera"))
        if key not in lenses:
            lenses[key] = _opensfm_lens(
                table(cameras.get(key), f"camera {said(key)} in {path}"), f"{said(key)} in {path}"
            )
        axis = numbers(shot.get("rotation"), (3,), where, "rotation")
        shift = numbers(shot.get("translation"), (3,), where, "translation")
        angle = float(np.linalg.norm(axis))
        sine = np.sin(angle / 2) / angle if angle > 1e-12 else 0.5
        turn = turn_of([*(axis * sine), np.cos(angle / 2)], where)
        listed.append(as_shown(Listed(said(name), find(name), lenses[key], _inverse(turn, shift))))
    points, colors = [], []
    for key, value in table(every[best].get("points") or {}, f"points in {path}").items():
        point = table(value, f"point {said(key)} in {path}")
        points.append(point.get("coordinates"))
        colors.append(point.get("color") or (128.0, 128.0, 128.0))
    return _finish(path, "opensfm", listed, points, colors, warnings, [name for s in shots for name in s])


def read_openmvg(path: Path, images: Path | None = None) -> PosedCapture:
    """A ``sfm_data.json`` with its points; photos are in ``images``, or where those of OpenSfM's.

    Rotations are cam_from_world, centres in the world, lenses in pixels (OpenMVG's documentation, SfM
    data format): pinhole, pinhole_radial_k1, _k3, pinhole_brown_t2 and fisheye. Photos without a pose
    are left out, with a warning. Raises NerfsceneError when the file makes no sense or photos don't fit.
    """
    values = table(load_json(path), str(path))
    poses = {
        str(key): table(value, f"pose {said(key)} in {path}")
        for key, value in _keyed(values, "extrinsics", path)
    }
    types: dict[int, str] = {}
    lenses = {}
    for key, value in _keyed(values, "intrinsics", path):
        lenses[str(key)] = _openmvg_lens(
            table(value, f"lens {said(key)} in {path}"), types, f"lens {said(key)} in {path}"
        )
    views = []
    for key, value in _keyed(values, "views", path):
        view = _data(table(value, f"view {said(key)} in {path}"), f"view {said(key)} in {path}")
        name = view.get("filename")
        if not isinstance(name, str) or not name:
            raise NerfsceneError(f"view {said(key)} in {path} has no filename: export it again.")
        if str(view.get("id_pose")) in poses:
            views.append((_joined(view.get("local_path"), name), view))
    if not views:
        raise NerfsceneError(f"{path} has no views with poses: give the file that the reconstruction left.")
    top = values.get("root_path")
    find = photo_finder(path.parent, images, [_joined(top, name) for name, _ in views], path)
    listed = []
    for name, view in sorted(views, key=lambda item: natural_key(item[0])):
        where = f"view {said(name)} in {path}"
        lens = lenses.get(str(view.get("id_intrinsic")))
        if lens is None:
            raise NerfsceneError(f"{where} has a lens that is not in the file: export it again.")
        pose = poses[str(view.get("id_pose"))]
        turn = numbers(pose.get("rotation"), (3, 3), where, "rotation")
        centre = numbers(pose.get("center"), (3,), where, "center")
        matrix = rigid(np.column_stack([turn.T, centre]), where)
        listed.append(as_shown(Listed(said(name), find(_joined(top, name)), lens, matrix)))
    found = [
        table(value, f"point {said(key)} in {path}").get("X")
        for key, value in _keyed(values, "structure", path)
    ]
    return _finish(path, "openmvg", listed, found, [(128.0, 128.0, 128.0)] * len(found), (), [])


def _joined(folder: object, name: str) -> str:
    return f"{folder}/{name}" if isinstance(folder, str) and folder else name


def _finish(
    path: Path,
    kind: Source,
    listed: list[Listed],
    points: list[Any],
    colors: list[Any],
    told: tuple[str, ...],
    shots: list[str],
) -> PosedCapture:
    """``shots``: names of all photos that the file has a pose for, those of smaller reconstructions too."""
    xyz = np.zeros((0, 3))
    rgb: NDArray[np.uint8] = np.zeros((0, 3), np.uint8)
    if points:
        xyz = numbers(points, (-1, 3), str(path), "list of points")
        rgb = numbers(colors, (-1, 3), str(path), "list of colours").clip(0, 255).astype(np.uint8)
    left_out, lost = left_without(listed, path, shots)
    root = capture_root(path, listed)
    return finish(
        path,
        root,
        kind,
        with_masks(root, listed),
        warnings=told + lost,
        photos_given=len(photos_beside(listed)),
        left_out=left_out,
        points=xyz,
        point_colors=rgb,
    )


def _inverse(turn: Array, shift: Array) -> Array:
    """world_from_cam (4, 4) from the parts of cam_from_world."""
    result = np.eye(4)
    result[:3, :3] = turn.T
    result[:3, 3] = -turn.T @ shift
    return result


def _opensfm_lens(values: Values, where: str) -> Intrinsics:
    kind = str(values.get("projection_type", "perspective"))
    terms = OPENSFM_PERSPECTIVE.get(kind) or OPENSFM_FISHEYE.get(kind)
    if terms is None:
        raise NerfsceneError(
            f"camera {where} has the projection {said(kind)}, which is not supported: reconstruct with "
            f"{', '.join([*OPENSFM_PERSPECTIVE, *OPENSFM_FISHEYE])}."
        )
    width, height = number(values, "width", where), number(values, "height", where)
    longer = max(width, height)
    if "focal" in values:
        focal = (number(values, "focal", where),) * 2
    else:
        focal = number(values, "focal_x", where), number(values, "focal_y", where)
    return lens_of(
        width,
        height,
        (focal[0] * longer, focal[1] * longer),
        (
            width / 2 + number(values, "c_x", where, 0.0) * longer,
            height / 2 + number(values, "c_y", where, 0.0) * longer,
        ),
        where,
        [number(values, term, where, 0.0) for term in terms],
        "fisheye" if kind in OPENSFM_FISHEYE else "perspective",
    )


def _keyed(values: Values, what: str, path: Path) -> list[tuple[object, object]]:
    """OpenMVG's maps: lists of a key and a value each."""
    found = [
        table(item, f"an entry of {what} in {path}")
        for item in rows(values.get(what, []), f"{what} in {path}")
    ]
    return [(item.get("key"), item.get("value")) for item in found]


def _data(values: Values, where: str) -> Values:
    """What a pointer points to, with what it inherits (as newer versions write it) among it."""
    data = table(table(values.get("ptr_wrapper"), where).get("data"), where)
    base = data.get("value0")
    return (base | data) if isinstance(base, dict) else data


def _openmvg_lens(values: Values, types: dict[int, str], where: str) -> Intrinsics:
    """``types`` collects the names of lens types by id: only the first of a type has its name."""
    number_of_type = int(number(values, "polymorphic_id", where, 0.0)) % NEW_TYPE
    if isinstance(values.get("polymorphic_name"), str):
        types[number_of_type] = values["polymorphic_name"]
    kind = types.get(number_of_type, "")
    if kind not in OPENMVG_DISTORTION:
        raise NerfsceneError(
            f"{where} is of the type {said(kind) or '(none)'}, which is not supported: reconstruct with "
            f"{', '.join(OPENMVG_DISTORTION)}."
        )
    data = _data(values, where)
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
