"""What phone apps export: Polycam's raw data and Record3D's folders.

Record3D's EXR_RGBD was tried on a real export. Polycam's raw data, and Record3D's .r3d unpacked, are read
as others describe them.

Both give ARKit's cameras as world_from_cam: x to the right and y up in the picture as stored, looking
along -z; metres, y of the world up (Apple's documentation of ARCamera).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nerfscene.capture.folder import find_photos, list_photos, name_some, natural_key
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import lens_of, load_json, number, numbers, rows, table, turn_of
from nerfscene.formats.listing import Listed, finish, locate, rigid, with_masks
from nerfscene.formats.transforms import OPENGL_FROM_OPENCV
from nerfscene.types import Intrinsics, LeftOut, PosedCapture

POLYCAM_KINDS = (("corrected_images", "corrected_cameras"), ("images", "cameras"))  # the first wins
MOST_FRAMES = 300  # of a recording that are used: 60 a second are far more than differ
RECORD3D_PHOTOS = {"metadata.json": "rgb", "metadata": "rgbd"}  # file of cameras → folder beside it
NO_LENS = Intrinsics(1, 1, 1.0, 1.0, 0.5, 0.5)  # for frames without a photo


def find_polycam(root: Path) -> tuple[Path, Path] | None:
    """The folders of photos and of cameras that Polycam's raw export has; None where it is none."""
    for base in (root, root / "keyframes"):
        for images, cameras in POLYCAM_KINDS:
            if (base / images).is_dir() and _has_polycam_camera(base / cameras):
                return base / images, base / cameras
    return None


def _has_polycam_camera(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    first = next(iter(folder.glob("*.json")), None)
    try:
        return first is not None and '"t_00"' in first.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def read_polycam(root: Path) -> PosedCapture:
    """Polycam's raw data: ``cameras/*.json`` beside ``images``, here or in ``keyframes``.

    The optimised ``corrected_cameras`` are preferred, with ``corrected_images``. ``t_00`` … ``t_23``
    are the rows of world_from_cam in ARKit's axes, the lens is ideal and in pixels (polyform, Polycam's
    own description of the format). Blur scores and depth are not used.
    Raises NerfsceneError when a camera makes no sense, or its photo doesn't fit.
    """
    places = find_polycam(root)
    if places is None:
        raise NerfsceneError(f"{root} holds no raw data of Polycam: give the folder that has cameras in it.")
    images, cameras = places
    listed = []
    for path in sorted(cameras.glob("*.json"), key=lambda p: natural_key(p.name)):
        if path.name.startswith("."):
            continue
        values = table(load_json(path), str(path))
        entries = [[values.get(f"t_{row}{column}") for column in range(4)] for row in range(3)]
        matrix = rigid(numbers(entries, (3, 4), str(path), "pose t_00 to t_23"), str(path))
        lens = lens_of(
            number(values, "width", str(path)),
            number(values, "height", str(path)),
            (number(values, "fx", str(path)), number(values, "fy", str(path))),
            (number(values, "cx", str(path)), number(values, "cy", str(path))),
            str(path),
        )
        listed.append(Listed(path.stem, locate(images, path.stem), lens, matrix @ OPENGL_FROM_OPENCV))
    listed = with_masks(root, with_masks(images.parent, listed))
    return finish(cameras, root, "polycam", listed, photos_given=len(find_photos(images)))


def is_record3d(path: Path) -> bool:
    """Whether a ``metadata.json`` or ``metadata`` is Record3D's, by names of its values; false for none."""
    try:
        head = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return '"poses"' in head and '"K"' in head


def find_record3d(root: Path) -> Path | None:
    """The file of cameras in a folder that Record3D exported, or None."""
    for name, photos in RECORD3D_PHOTOS.items():
        if (root / photos).is_dir() and is_record3d(root / name):
            return root / name
    return None


def read_record3d(path: Path) -> PosedCapture:
    """Record3D's ``metadata.json``, which stands beside ``rgb`` with ``0.jpg`` … or ``0.png`` ….

    Or a .r3d's ``metadata``, beside ``rgbd`` (issue 93 of marek-simonik/record3d; written from that and
    from what public readers of such files take from them, and tried on no file of the app).
    ``K`` is the ideal lens of all frames, 3×3 by columns, or ``perFrameIntrinsicCoeffs`` that of each
    (fx, fy, cx, cy), in pixels of a picture of ``w``×``h``; ``poses`` are quaternion (x y z w) and
    position of world_from_cam in ARKit's axes (issues 27, 36 and 83 of marek-simonik/record3d, and
    nerfstudio's converter). Of more than MOST_FRAMES frames, so many are taken, evenly.
    Raises NerfsceneError when the file makes no sense or its photos don't fit.
    """
    where = str(path)
    values = table(load_json(path), where)
    width, height = number(values, "w", where), number(values, "h", where)
    poses = numbers(values.get("poses"), (-1, 7), where, "list of poses")
    each = values.get("perFrameIntrinsicCoeffs")
    if isinstance(each, list) and len(each) == len(poses) and each:
        lenses = numbers(each, (-1, 4), where, "list perFrameIntrinsicCoeffs")
    else:
        k = numbers(rows(values.get("K"), f"K in {where}"), (9,), where, "matrix K")
        lenses = np.tile(k[[0, 4, 6, 7]], (len(poses), 1))
    folder = path.parent / RECORD3D_PHOTOS.get(path.name, "rgb")
    photos = {p.stem: p for p in list_photos(folder)}
    present = [index for index in range(len(poses)) if str(index) in photos]
    if not present:
        raise NerfsceneError(
            f"none of the {len(poses)} photos that {path} lists is in {folder}: export the recording with "
            "its photos, as .r3d or as EXR and JPG."
        )
    warnings: tuple[str, ...] = ()
    chosen = range(len(poses))
    left_out: list[LeftOut] = []
    if len(present) > MOST_FRAMES:
        kept = {present[i] for i in np.linspace(0, len(present) - 1, MOST_FRAMES).round().astype(int)}
        chosen = sorted(kept)  # type: ignore[assignment]
        warnings = (f"{path} has {len(present)} frames with photos: took {len(kept)} of them, evenly.",)
    listed = []
    for index in chosen:
        frame = f"frame {index} in {path}"
        matrix = np.eye(4)
        matrix[:3, :3] = turn_of(poses[index, :4], frame)
        matrix[:3, 3] = poses[index, 4:]
        photo = photos.get(str(index))
        fx, fy, cx, cy = lenses[index]
        lens = NO_LENS if photo is None else lens_of(width, height, (fx, fy), (cx, cy), frame)
        listed.append(Listed(str(index), photo, lens, matrix @ OPENGL_FROM_OPENCV))
    unknown = sorted(set(photos) - {str(i) for i in range(len(poses))}, key=natural_key)
    if unknown:
        left_out = [LeftOut(photos[name].name, f"has no pose in {path.name}") for name in unknown]
        warnings += (
            f"{len(unknown)} photos have no pose in {path.name} and were left out ({name_some(unknown)}).",
        )
    listed = with_masks(path.parent, listed)
    return finish(
        path,
        path.parent,
        "record3d",
        listed,
        warnings=warnings,
        photos_given=len(photos),
        left_out=left_out,
    )
