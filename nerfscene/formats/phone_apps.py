"""Exports of phone apps: Polycam's raw data and Record3D's folders → PosedCapture.

Both apps write ARKit's cameras as world_from_cam: x to the right and y up in the stored picture, looking
along -z; units are metres and the world's y is up (Apple's documentation of ARCamera).

Record3D's EXR_RGBD was tried on a real export. For Polycam's raw data and unpacked .r3d files, public
descriptions and other public readers were followed; these were not tried on files of the apps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nerfscene.capture.folder import find_photos, list_photos, name_some, natural_key
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
from nerfscene.formats.listing import Export, PosedFrame, finish, rigid, with_masks
from nerfscene.formats.photo_search import locate
from nerfscene.formats.transforms import NO_LENS, OPENGL_FROM_OPENCV
from nerfscene.types import Array, LeftOut, PosedCapture

# (photos, cameras) in the order of preference.
POLYCAM_FOLDERS = (("corrected_images", "corrected_cameras"), ("images", "cameras"))
MOST_FRAMES = 300  # used of one recording: at 60 a second, neighbouring frames hardly differ
RECORD3D_PHOTOS = {"metadata.json": "rgb", "metadata": "rgbd"}  # file of cameras → folder of its photos


def find_polycam(root: Path) -> tuple[Path, Path] | None:
    """(folder of photos, folder of cameras) of Polycam's raw export; None if ``root`` is not one."""
    for base in (root, root / "keyframes"):
        for images, cameras in POLYCAM_FOLDERS:
            if (base / images).is_dir() and _has_polycam_camera(base / cameras):
                return base / images, base / cameras
    return None


def _has_polycam_camera(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    first = next(iter(folder.glob("*.json")), None)
    return first is not None and '"t_00"' in text_of(first)


def read_polycam(root: Path) -> PosedCapture:
    """Reads Polycam's raw data: ``cameras/*.json`` beside ``images``, in ``root`` or in its ``keyframes``.

    If there are optimised ``corrected_cameras``, these and ``corrected_images`` are used. ``t_00`` …
    ``t_23`` are the rows of world_from_cam in ARKit's axes; the lens is in pixels and has no distortion
    (polyform, Polycam's own description of the format). Blur scores and depth are not used.
    Raises NerfsceneError when a camera makes no sense or its photo doesn't fit.
    """
    folders = find_polycam(root)
    if folders is None:
        raise NerfsceneError(
            f"{root} holds no raw data of Polycam: give the folder that contains the folder cameras."
        )
    images, cameras = folders
    frames = []
    for path in sorted(cameras.glob("*.json"), key=lambda p: natural_key(p.name)):
        if path.name.startswith("."):
            continue
        values = as_dict(load_json(path), str(path))
        entries = [[values.get(f"t_{row}{column}") for column in range(4)] for row in range(3)]
        matrix = rigid(numbers(entries, (3, 4), str(path), "pose t_00 to t_23"), str(path))
        lens = lens_of(
            number(values, "width", str(path)),
            number(values, "height", str(path)),
            (number(values, "fx", str(path)), number(values, "fy", str(path))),
            (number(values, "cx", str(path)), number(values, "cy", str(path))),
            str(path),
        )
        photo = locate(images, path.stem)
        frames.append(PosedFrame(path.stem, photo, lens, matrix @ OPENGL_FROM_OPENCV))
    frames = with_masks(root, with_masks(images.parent, frames))
    return finish(Export(cameras, root, "polycam", frames, photos_given=len(find_photos(images))))


def is_record3d(path: Path) -> bool:
    """Whether a ``metadata.json`` or ``metadata`` looks like Record3D's; False if it doesn't exist."""
    text = text_of(path)
    return '"poses"' in text and '"K"' in text


def find_record3d(root: Path) -> Path | None:
    """The file of cameras in a folder that Record3D exported; None if ``root`` is no such folder."""
    for name, photos in RECORD3D_PHOTOS.items():
        if (root / photos).is_dir() and is_record3d(root / name):
            return root / name
    return None


def read_record3d(path: Path) -> PosedCapture:
    """Reads Record3D's ``metadata.json``, or the ``metadata`` of an unpacked .r3d file.

    Photos lie beside it, in ``rgb`` or ``rgbd`` respectively, and are called ``0.jpg`` … or ``0.png`` ….
    ``poses`` are (quaternion x y z w, position) of world_from_cam in ARKit's axes. ``K`` is the lens of all
    frames, 3×3 by columns and without distortion; ``perFrameIntrinsicCoeffs`` instead holds (fx, fy, cx, cy)
    of each frame. Lenses are in pixels of a picture of ``w``×``h``. Sources: issues 27, 36, 83 and 93 of
    marek-simonik/record3d, and nerfstudio's converter. If there are more than MOST_FRAMES frames, that many
    are used, evenly spaced.
    Raises NerfsceneError when the file makes no sense or its photos don't fit.
    """
    where = str(path)
    values = as_dict(load_json(path), where)
    poses = numbers(values.get("poses"), (-1, 7), where, "list of poses")
    lenses = _record3d_lenses(values, len(poses), where)
    width, height = number(values, "w", where), number(values, "h", where)
    folder = path.parent / RECORD3D_PHOTOS.get(path.name, "rgb")
    photos = {p.stem: p for p in list_photos(folder)}
    present = [index for index in range(len(poses)) if str(index) in photos]
    if not present:
        raise NerfsceneError(
            f"none of the {len(poses)} photos that {path} lists is in {folder}: export the recording with "
            "its photos, as .r3d or as EXR and JPG."
        )
    warnings: tuple[str, ...] = ()
    indices = list(range(len(poses)))
    if len(present) > MOST_FRAMES:
        evenly = np.linspace(0, len(present) - 1, MOST_FRAMES).round().astype(int)
        indices = [present[i] for i in np.unique(evenly)]
        warnings = (
            f"{path} has {len(present)} frames with photos: took {len(indices)} of them, evenly spaced.",
        )
    frames = []
    for index in indices:
        frame = f"frame {index} in {path}"
        pose = np.eye(4)
        pose[:3, :3] = rotation_of(poses[index, :4], frame)
        pose[:3, 3] = poses[index, 4:]
        photo = photos.get(str(index))
        fx, fy, cx, cy = lenses[index]
        lens = NO_LENS if photo is None else lens_of(width, height, (fx, fy), (cx, cy), frame)
        frames.append(PosedFrame(str(index), photo, lens, pose @ OPENGL_FROM_OPENCV))
    no_pose = sorted(set(photos) - {str(i) for i in range(len(poses))}, key=natural_key)
    if no_pose:
        warnings += (
            f"{len(no_pose)} photos have no pose in {path.name} and were left out ({name_some(no_pose)}).",
        )
    left_out = [LeftOut(photos[name].name, f"has no pose in {path.name}") for name in no_pose]
    frames = with_masks(path.parent, frames)
    return finish(
        Export(
            path,
            path.parent,
            "record3d",
            frames,
            warnings,
            photos_given=len(photos),
            left_out=left_out,
            sampled=True,
        )
    )


def _record3d_lenses(values: Values, n_frames: int, where: str) -> Array:
    """(fx, fy, cx, cy) of each frame, (n_frames, 4), pixels."""
    each = values.get("perFrameIntrinsicCoeffs")
    if isinstance(each, list) and len(each) == n_frames and each:
        return numbers(each, (-1, 4), where, "list perFrameIntrinsicCoeffs")
    k = numbers(as_list(values.get("K"), f"K in {where}"), (9,), where, "matrix K")
    return np.tile(k[[0, 4, 6, 7]], (n_frames, 1))
