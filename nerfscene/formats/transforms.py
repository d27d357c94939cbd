"""``transforms.json`` of instant-ngp and nerfstudio, and NeRF-synthetic's three files → PosedCapture.

Cameras look along -z with y up (OpenGL); poses are world_from_cam. Lenses are given in pixels of the photo
(``fl_x`` …) or as angles of view in radians (``camera_angle_x`` …), once for all frames or in each frame.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from nerfscene.capture.folder import name_some, photo_size
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import Values, as_dict, load_json
from nerfscene.formats.listing import Export, PosedFrame, finish, rigid, with_masks
from nerfscene.formats.photo_search import locate
from nerfscene.types import Intrinsics, Lens, PosedCapture, Split

OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
FISHEYE = ("OPENCV_FISHEYE", "FISHEYE")

# Folders beside the file where photos are looked for if they aren't where it says.
MOVED_TO = (".", "images")
SHRUNK_TO = ("images_2", "images_4", "images_8")  # nerfstudio's shrunken copies
NO_LENS = Intrinsics(1, 1, 1.0, 1.0, 0.5, 0.5)  # for frames without a photo, whose lens isn't used


def read_transforms(path: Path) -> PosedCapture:
    """Reads a ``transforms.json``; photos are looked for relative to it, with and without file extension.

    If none of them is there, the photos are taken from the folder of the file, ``images`` or nerfstudio's
    shrunken copies ``images_2`` to ``images_8``, whichever holds most, because people shrink, move and
    delete photos.

    ``train_filenames``, ``val_filenames`` and ``test_filenames`` (nerfstudio) give the split; if there are
    no test names, the validation names are used for testing. ``mask_path`` names a frame's mask, which is
    otherwise looked for in the folder ``masks``. ``ply_file_path``, depth and ``aabb_scale`` are not used.
    Raises NerfsceneError when the file or a frame makes no sense, or its photos don't fit.
    """
    values = as_dict(load_json(path), str(path))
    listed = _listed_frames(values, path)
    splits = _given_splits(values, listed)
    names = [_frame_name(frame, index, path) for index, frame in enumerate(listed)]
    any_size = all(_fits_any_size(values | frame) for frame in listed)
    photos = _find(path.parent, [name for name, _ in names], any_size)
    frames = []
    missing_masks = []
    for frame, (name, where), photo in zip(listed, names, photos, strict=True):
        split: Split = "train"
        if splits is not None:
            if Path(name).as_posix() not in splits:
                continue
            split = splits[Path(name).as_posix()]
        posed = _posed_frame(values | frame, name, where, photo, split)
        if isinstance(frame.get("mask_path"), str):
            posed = replace(posed, mask=locate(path.parent, frame["mask_path"]))
            if posed.mask is None:
                missing_masks.append(frame["mask_path"])
        frames.append(posed)
    if not frames:
        raise NerfsceneError(f"{path} lists no frames for training: check its lists of names.")
    warnings: tuple[str, ...] = ()
    if missing_masks:
        warnings = (
            f"{len(missing_masks)} of the masks that {path.name} names are not on disk "
            f"({name_some(missing_masks)}): their photos are used without a mask.",
        )
    return finish(Export(path, path.parent, "transforms", with_masks(path.parent, frames), warnings))


def read_synthetic(root: Path) -> PosedCapture:
    """Reads a NeRF-synthetic folder: trains on ``transforms_train.json``, tests on ``transforms_test.json``.

    The validation views are not used, as is customary, so that results can be compared.
    Raises NerfsceneError as read_transforms does.
    """
    frames = []
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        path = root / f"transforms_{split}.json"
        if split == "test" and not path.is_file():
            continue
        values = as_dict(load_json(path), str(path))
        for index, frame in enumerate(_listed_frames(values, path)):
            name, where = _frame_name(frame, index, path)
            frames.append(_posed_frame(values | frame, name, where, locate(root, name), split))
    return finish(Export(root / "transforms_train.json", root, "synthetic", frames))


def _listed_frames(values: Values, path: Path) -> list[Values]:
    frames = values.get("frames")
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise NerfsceneError(
            f"{path} has no list of frames, so it is not a transforms file of instant-ngp or nerfstudio: "
            "give one that is, or only the folder of photos."
        )
    if not frames:
        raise NerfsceneError(f"{path} lists no frames: export the cameras again.")
    return frames


def _frame_name(frame: Values, index: int, path: Path) -> tuple[str, str]:
    """The name of a frame's photo, and how messages name the frame."""
    name = frame.get("file_path")
    if not isinstance(name, str) or not name:
        raise NerfsceneError(f"frame {index} in {path} has no file_path: export it again.")
    return name.replace("\\", "/"), f"frame {index} ({name}) in {path}"


def _given_splits(values: Values, frames: list[Values]) -> dict[str, Split] | None:
    """Name → split, if the file gives one; frames with other names are left out."""

    def names(key: str) -> list[str]:
        found = values.get(key)
        if not isinstance(found, list):
            return []
        return [Path(str(name).replace("\\", "/")).as_posix() for name in found]

    test = names("test_filenames") or names("val_filenames")
    train = names("train_filenames")
    if not train and not test:
        return None
    if not train:  # only the test views are named: all others are for training
        all_names = [str(frame.get("file_path", "")) for frame in frames]
        train = [Path(name.replace("\\", "/")).as_posix() for name in all_names]
    splits: dict[str, Split] = dict.fromkeys(train, "train")
    return splits | dict.fromkeys(test, "test")


def _find(folder: Path, names: list[str], any_size: bool) -> list[Path | None]:
    """The frames' photos: where they are listed or, if none is there, in the folder that holds most.

    any_size: the lenses fit shrunken copies too.
    """
    found = [locate(folder, name) for name in names]
    file_names = [Path(name).name for name in names]
    if any(found) or len(set(file_names)) < len(file_names):  # the same file name twice: can't tell which
        return found
    places = [folder / place for place in (*MOVED_TO, *(SHRUNK_TO if any_size else ()))]
    elsewhere = [[locate(place, name) for name in file_names] for place in places]
    return max(elsewhere, key=lambda paths: sum(path is not None for path in paths))  # the first of equals


def _fits_any_size(values: Values) -> bool:
    """Whether the lens is known for photos of any size: its own size is given, or nothing is in pixels."""
    return all(values.get(key) for key in ("w", "h")) or not {"fl_x", "fl_y", "cx", "cy"} & set(values)


def _posed_frame(values: Values, name: str, where: str, path: Path | None, split: Split) -> PosedFrame:
    matrix = rigid(values.get("transform_matrix"), where)
    if path is None:  # reading the lens may need the photo's size
        return PosedFrame(name, None, NO_LENS, matrix, split)
    lens = _intrinsics(values, path, where)
    return PosedFrame(name, path, lens, matrix @ OPENGL_FROM_OPENCV, split)


def _intrinsics(values: Values, path: Path, where: str) -> Intrinsics:
    def number(key: str, default: float = 0.0) -> float:
        value = values.get(key, default)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise NerfsceneError(f"{where} has {key} = {value}, which is not a finite number: correct it.")
        return float(value)

    width, height = int(number("w")), int(number("h"))
    if width <= 0 or height <= 0:
        width, height = photo_size(path)
    fx, fy = number("fl_x"), number("fl_y")
    angle_x, angle_y = number("camera_angle_x"), number("camera_angle_y")
    fx = fx or (width / 2 / math.tan(angle_x / 2) if 0 < angle_x < math.pi else 0.0)
    fy = fy or (height / 2 / math.tan(angle_y / 2) if 0 < angle_y < math.pi else 0.0)
    fx, fy = fx or fy, fy or fx
    if fx <= 0 or fy <= 0:
        raise NerfsceneError(
            f"{where} has no focal length (fl_x, or camera_angle_x in radians): export it again."
        )
    lens = _lens(values, where)
    order = ["k1", "k2", "k3", "k4"] if lens == "fisheye" else ["k1", "k2", "p1", "p2", "k3"]
    if values.get("camera_model") in ("PINHOLE", "SIMPLE_PINHOLE"):
        order = []
    elif lens == "perspective" and number("k4") != 0:
        raise NerfsceneError(
            f"{where} has the lens term k4, which is not supported: export it with k1, k2, k3, p1, p2."
        )
    coefficients = [number(key) for key in order]
    coefficients += [0.0] * (5 - len(coefficients))
    return Intrinsics(
        width=width,
        height=height,
        fx=fx,
        fy=fy,
        cx=number("cx", width / 2),
        cy=number("cy", height / 2),
        lens=lens,
        distortion=tuple(coefficients),  # type: ignore[arg-type]
    )


def _lens(values: Values, where: str) -> Lens:
    model = values.get("camera_model", "OPENCV")
    if model in FISHEYE or values.get("is_fisheye"):
        return "fisheye"
    if model in PERSPECTIVE:
        return "perspective"
    raise NerfsceneError(
        f"{where} uses the camera_model {model}, which is not supported: use OPENCV or OPENCV_FISHEYE."
    )
