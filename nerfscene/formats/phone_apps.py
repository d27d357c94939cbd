"""Exports of phone apps: Polycam's raw data and Record3D's folders → PosedCapture.

Both apps write ARKit's cameras as world_from_cam: x to the right and y up in the stored picture, looking
along -z; units are metres and the world's y is up (Apple's documentation of ARCamera).

Record3D's EXR_RGBD was tried on a real export. For Polycam's raw data and unpacked .r3d files, public
descriptions and other public readers were followed; these were not tried on files of the apps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nerfscene.capture.folder import list_photos, name_some, natural_key
from nerfscene.capture.masks import same_proportions
from nerfscene.capture.not_photos import without_maps
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import (
    Values,
    as_dict,
    as_list,
    lens_of,
    load_json,
    number,
    numbers,
    rotation_of,
    text_of,
)
from nerfscene.formats.listing import (
    Export,
    PosedFrame,
    finish,
    photos_beside,
    rigid,
    size_of_stored,
    with_masks,
)
from nerfscene.formats.photo_search import photo_finder
from nerfscene.formats.transforms import NO_LENS, OPENGL_FROM_OPENCV
from nerfscene.types import Array, Intrinsics, LeftOut, PosedCapture

# (photos, cameras) in the order of preference.
POLYCAM_FOLDERS = (("corrected_images", "corrected_cameras"), ("images", "cameras"))
MOST_FRAMES = 300  # used of one recording: at 60 a second, neighbouring frames hardly differ
RECORD3D_PHOTOS = {"metadata.json": "rgb", "metadata": "rgbd"}  # file of cameras → folder of its photos


def find_polycam(root: Path) -> tuple[Path, Path] | None:
    """(folder of photos, folder of cameras) of Polycam's raw export; None if ``root`` is not one.

    The corrected ones if at least half of the photos have them: the app may stop before it is through.
    """
    for base in (root, root / "keyframes"):
        found = [
            (base / images, base / cameras)
            for images, cameras in POLYCAM_FOLDERS
            if (base / images).is_dir() and _polycam_cameras(base / cameras)
        ]
        if found:
            most = max(len(_polycam_pairs(*folders)) for folders in found)
            return next(folders for folders in found if 2 * len(_polycam_pairs(*folders)) >= most)
    return None


def _polycam_cameras(folder: Path) -> list[Path]:
    """The files of cameras in a folder, in their natural order; [] if they are not Polycam's."""
    if not folder.is_dir():
        return []
    files = [p for p in folder.glob("*.json") if not p.name.startswith(".")]
    files.sort(key=lambda p: natural_key(p.name))
    return files if files and '"t_00"' in text_of(files[0]) else []


def _polycam_pairs(images: Path, cameras: Path) -> set[str]:
    """The names that have both a photo and a camera."""
    return {p.stem for p in list_photos(images)} & {p.stem for p in _polycam_cameras(cameras)}


def read_polycam(root: Path) -> PosedCapture:
    """Reads Polycam's raw data: ``cameras/*.json`` beside ``images``, in ``root`` or in its ``keyframes``.

    If there are optimised ``corrected_cameras``, these and ``corrected_images`` are used. ``t_00`` …
    ``t_23`` are the rows of world_from_cam in ARKit's axes; the lens is in pixels and has no distortion
    (polyform, Polycam's own description of the format). Blur scores and depth are not used.

    Since 2025, corrected cameras don't state their ``width`` and ``height`` (nerfstudio's pull request 3725):
    they are those of the camera of the same name in ``cameras``, if the photo has the same proportions, else
    the photo's own.
    Raises NerfsceneError when a camera makes no sense or its photo doesn't fit.
    """
    folders = find_polycam(root)
    if folders is None:
        raise NerfsceneError(
            f"{root} holds no raw data of Polycam: give the folder that contains the folder cameras."
        )
    images, cameras = folders
    paths = _polycam_cameras(cameras)
    find = photo_finder(images.parent, images, [path.stem for path in paths], cameras)
    frames = []
    for path in paths:
        where = str(path)
        values = as_dict(load_json(path), where)
        entries = [[values.get(f"t_{row}{column}") for column in range(4)] for row in range(3)]
        matrix = rigid(numbers(entries, (3, 4), where, "pose t_00 to t_23"), where)
        photo = find(path.stem)
        lens = NO_LENS if photo is None else _polycam_lens(values, path, photo)
        frames.append(PosedFrame(path.stem, photo, lens, matrix @ OPENGL_FROM_OPENCV))
    warnings: tuple[str, ...] = ()
    uncorrected = _polycam_pairs(images.parent / "images", images.parent / "cameras")
    uncorrected -= {photo.stem for photo in list_photos(images)} | {path.stem for path in paths}
    if cameras.name != "cameras" and uncorrected:
        are, their = "s that Polycam has not corrected are", "cameras don't"
        if len(uncorrected) == 1:
            are, their = " that Polycam has not corrected is", "camera doesn't"
        warnings = (f"{len(uncorrected)} photo{are} not used: the {their} fit the corrected ones exactly.",)
    given = len(photos_beside(frames)) + len(uncorrected) * (cameras.name != "cameras")
    listed = with_masks(root, with_masks(images.parent, frames))
    return finish(Export(cameras, root, "polycam", listed, warnings, given))


def _polycam_lens(values: Values, path: Path, photo: Path) -> Intrinsics:
    """The lens of a camera; what the file doesn't state is taken as read_polycam says."""
    where = str(path)
    stored = size_of_stored(photo)
    if values.get("width") is None or values.get("height") is None:
        first = path.parent.parent / "cameras" / path.name
        original = as_dict(load_json(first), str(first)) if first.is_file() else {}
        width, height = (number(original, key, str(first), 0) for key in ("width", "height"))
        fits = min(width, height) >= 1 and same_proportions((int(width), int(height)), stored)
        values = values | dict(zip(("width", "height"), (width, height) if fits else stored, strict=True))
    return lens_of(
        number(values, "width", where),
        number(values, "height", where),
        (number(values, "fx", where), number(values, "fy", where)),
        (number(values, "cx", where), number(values, "cy", where)),
        where,
    )


def is_record3d(path: Path) -> bool:
    """Whether a ``metadata.json`` or ``metadata`` looks like Record3D's; False if it doesn't exist."""
    text = text_of(path)
    return '"poses"' in text and '"K"' in text


def find_record3d(root: Path) -> Path | None:
    """The file of cameras in a folder that Record3D exported; None if ``root`` is no such folder.

    None also for recordings of the front camera, which have no poses (see poseless_record3d).
    """
    path = _record3d_file(root)
    return None if path is None or _poseless(path) else path


def poseless_record3d(root: Path) -> tuple[str, ...]:
    """A warning if ``root`` is a recording of Record3D without poses, as the front camera's are; else ()."""
    path = _record3d_file(root) if root.is_dir() else None
    if path is None or not _poseless(path):
        return ()
    return (
        f"{path.name} gives all frames the same pose, as Record3D does for the front camera, so the photos "
        "are posed anew.",
    )


def _record3d_file(root: Path) -> Path | None:
    files = (root / name for name, photos in RECORD3D_PHOTOS.items() if (root / photos).is_dir())
    return next((path for path in files if is_record3d(path)), None)


def _poseless(path: Path) -> bool:
    """Whether the poses of a recording are all the same; False if they make no sense."""
    try:
        poses = numbers(as_dict(load_json(path), str(path)).get("poses"), (-1, 7), str(path), "poses")
    except NerfsceneError:
        return False
    return len(poses) > 1 and bool(np.ptp(poses, axis=0).max() == 0)


def read_record3d(path: Path) -> PosedCapture:
    """Reads Record3D's ``metadata.json``, or the ``metadata`` of an unpacked .r3d file.

    Photos lie beside it, in ``rgb`` or ``rgbd`` respectively, and are called ``0.jpg`` … or ``0.png`` ….
    ``poses`` are (quaternion x y z w, position) of world_from_cam in ARKit's axes, for the photo as stored:
    upright, or since version 1.10.1 on its side if it was so recorded. ``K`` is the lens of all frames, 3×3
    by columns and without distortion; ``perFrameIntrinsicCoeffs`` instead holds (fx, fy, cx, cy) of each
    frame. Lenses are in pixels of a picture of ``w``×``h``. Sources: issues 27, 36, 63, 83 and 93 of
    marek-simonik/record3d, pull request 11 of notmahi/dobb-e, and nerfstudio's converter. If there are more
    than MOST_FRAMES frames, that many are used, evenly spaced.
    Raises NerfsceneError when the file makes no sense or its photos don't fit.
    """
    where = str(path)
    values = as_dict(load_json(path), where)
    poses = numbers(values.get("poses"), (-1, 7), where, "list of poses")
    lenses = _record3d_lenses(values, len(poses), where)
    width, height = number(values, "w", where), number(values, "h", where)
    folder = path.parent / RECORD3D_PHOTOS.get(path.name, "rgb")
    names = [str(index) for index in range(len(poses))]
    find = photo_finder(path.parent, None, names, path, relative_to=(folder,))
    photos = {index: photo for index, name in enumerate(names) if (photo := find(name)) is not None}
    if not photos:
        raise NerfsceneError(
            f"none of the {len(poses)} photos that {path} lists is in {folder}: export the recording with "
            "its photos, as .r3d or as EXR and JPG."
        )
    tracked = np.linalg.norm(poses[:, :4], axis=1) > 0.5
    frames, warnings = [], []
    for index in _evenly([i for i in range(len(poses)) if tracked[i]], photos):
        frame = f"frame {index} in {path}"
        pose = np.eye(4)
        pose[:3, :3] = rotation_of(poses[index, :4], frame)
        pose[:3, 3] = poses[index, 4:]
        photo = photos.get(index)
        fx, fy, cx, cy = lenses[index]
        lens = NO_LENS if photo is None else lens_of(width, height, (fx, fy), (cx, cy), frame)
        frames.append(PosedFrame(str(index), photo, lens, pose @ OPENGL_FROM_OPENCV))
    if sum(bool(tracked[index]) for index in photos) > MOST_FRAMES:
        none = f", and {len(poses) - len(photos)} without" if len(photos) < len(poses) else ""
        warnings.append(
            f"{path} has {len(photos)} frames with photos{none}: took {len(frames)} of them, evenly spaced."
        )
    beside = [p for p in without_maps(list_photos(folder)) if p not in set(photos.values())]
    lost = [photo for index, photo in photos.items() if not tracked[index]]
    no_pose = sorted((p.name for p in (*beside, *lost)), key=natural_key)
    if no_pose:
        have, were = ("photo has", "was") if len(no_pose) == 1 else ("photos have", "were")
        warnings.append(
            f"{len(no_pose)} {have} no pose in {path.name} and {were} left out ({name_some(no_pose)})."
        )
    left_out = [LeftOut(name, f"has no pose in {path.name}") for name in no_pose]
    listed = with_masks(path.parent, frames)
    given = len(photos) + len(beside)
    export = Export(path, path.parent, "record3d", listed, tuple(warnings), given, left_out, sampled=True)
    return finish(export)


def _evenly(numbers_: list[int], photos: dict[int, Path]) -> list[int]:
    """All frames, or, if more than MOST_FRAMES have photos, so many of those, evenly spaced."""
    present = [index for index in numbers_ if index in photos]
    if len(present) <= MOST_FRAMES:
        return numbers_
    evenly = np.linspace(0, len(present) - 1, MOST_FRAMES).round().astype(int)
    return [present[i] for i in np.unique(evenly)]


def _record3d_lenses(values: Values, n_frames: int, where: str) -> Array:
    """(fx, fy, cx, cy) of each frame, (n_frames, 4), pixels."""
    each = values.get("perFrameIntrinsicCoeffs")
    if isinstance(each, list) and len(each) == n_frames and each:
        return numbers(each, (-1, 4), where, "list perFrameIntrinsicCoeffs")
    k = numbers(as_list(values.get("K"), f"K in {where}"), (9,), where, "matrix K")
    return np.tile(k[[0, 4, 6, 7]], (n_frames, 1))
