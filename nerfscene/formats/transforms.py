"""``transforms.json`` of instant-ngp and nerfstudio, and the three of NeRF-synthetic.

Their cameras look along -z with y up (OpenGL) and come as world_from_cam; lenses are given in
pixels of the photo (``fl_x`` …) or as angles of view in radians (``camera_angle_x`` …), for all
frames at once or in each.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.capture.folder import name_some, photo_size
from nerfscene.errors import NerfsceneError
from nerfscene.formats.listing import Listed, finish, locate, rigid, with_masks
from nerfscene.types import Intrinsics, Lens, PosedCapture, Split

OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
FISHEYE = ("OPENCV_FISHEYE", "FISHEYE")

MOVED_TO = (".", "images")
SHRUNK_TO = ("images_2", "images_4", "images_8")

Values = dict[str, Any]


def read_transforms(path: Path) -> PosedCapture:
    """A ``transforms.json``; photos are looked for relative to it, also without their ending.

    Where none of them is there, they are taken from beside the file, ``images`` or nerfstudio's shrunken
    copies, ``images_2`` to ``images_8``, from the one that has most: people shrink, move and throw away.

    ``train_filenames``, ``val_filenames`` and ``test_filenames`` (nerfstudio) are taken as the
    split; where test is absent val stands in for it. ``mask_path`` names a frame's mask, else it is
    looked for in ``masks``. ``ply_file_path``, depth and ``aabb_scale`` are not used.
    Raises NerfsceneError when the file or a frame makes no sense, or its photos don't fit.
    """
    values = _load(path)
    splits = _given_splits(values)
    listed = []
    lost = []
    frames = _frames(values, path)
    names = [_frame_name(frame, index, path) for index, frame in enumerate(frames)]
    scalable = all(_scalable(values | frame) for frame in frames)
    photos = _find(path.parent, [name for name, _ in names], scalable)
    for frame, (name, where), photo in zip(frames, names, photos, strict=True):
        split: Split = "train"
        if splits is not None:
            if Path(name).as_posix() not in splits:
                continue
            split = splits[Path(name).as_posix()]
        one = _listed(values | frame, name, where, photo, split)
        if isinstance(frame.get("mask_path"), str):
            one = replace(one, mask=locate(path.parent, frame["mask_path"]))
            if one.mask is None:
                lost.append(frame["mask_path"])
        listed.append(one)
    if not listed:
        raise NerfsceneError(f"{path} lists no frames for training: check its lists of names.")
    warnings: tuple[str, ...] = ()
    if lost:
        warnings = (
            f"{len(lost)} of the masks that {path.name} names are not on disk ({name_some(lost)}): their "
            "photos are used whole.",
        )
    listed = with_masks(path.parent, listed)
    return finish(path, path.parent, "transforms", listed, warnings=warnings)


def read_synthetic(root: Path) -> PosedCapture:
    """A NeRF-synthetic folder: views of ``transforms_train.json`` train, ``…_test.json`` test.

    The validation views are used for neither, as is the custom, so that figures compare.
    Raises NerfsceneError as read_transforms does.
    """
    listed = []
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        path = root / f"transforms_{split}.json"
        if split == "test" and not path.is_file():
            continue
        values = _load(path)
        for index, frame in enumerate(_frames(values, path)):
            name, where = _frame_name(frame, index, path)
            listed.append(_listed(values | frame, name, where, locate(root, name), split))
    return finish(root / "transforms_train.json", root, "synthetic", listed)


def _load(path: Path) -> Values:
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise NerfsceneError(
            f"{path} is broken: line {error.lineno}, column {error.colno}: {error.msg}; export it "
            "again or mend that line."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise NerfsceneError(f"{path} cannot be read ({error}): export it again.") from error
    if not isinstance(values, dict):
        raise NerfsceneError(f"{path} is not a transforms file: it holds no named values.")
    return values


def _frames(values: Values, path: Path) -> list[Values]:
    frames = values.get("frames")
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise NerfsceneError(
            f"{path} has no list of frames, so it is no transforms file of instant-ngp or "
            "nerfstudio: give one that has, or the folder of photos alone."
        )
    if not frames:
        raise NerfsceneError(f"{path} lists no frames: export the cameras again.")
    return frames


def _frame_name(frame: Values, index: int, path: Path) -> tuple[str, str]:
    name = frame.get("file_path")
    if not isinstance(name, str) or not name:
        raise NerfsceneError(f"frame {index} in {path} has no file_path: export it again.")
    return name.replace("\\", "/"), f"frame {index} ({name}) in {path}"


def _given_splits(values: Values) -> dict[str, Split] | None:
    """Name → split where the file says; names in neither list are to be left out."""

    def names(key: str) -> list[str]:
        found = values.get(key)
        if not isinstance(found, list):
            return []
        return [Path(str(name).replace("\\", "/")).as_posix() for name in found]

    test = names("test_filenames") or names("val_filenames")
    train = names("train_filenames")
    if not train and not test:
        return None
    if not train:  # only the test views are named: all others train
        every = [str(f.get("file_path", "")) for f in values["frames"] if isinstance(f, dict)]
        train = [Path(name.replace("\\", "/")).as_posix() for name in every]
    splits: dict[str, Split] = dict.fromkeys(train, "train")
    return splits | dict.fromkeys(test, "test")


def _find(folder: Path, names: list[str], scalable: bool) -> list[Path | None]:
    """The frames' photos where they are listed or, if none is there, in the one folder that has most.

    ``scalable``: the lenses fit shrunken copies too.
    """
    found = [locate(folder, name) for name in names]
    bare = [Path(name).name for name in names]
    if any(found) or len(set(bare)) < len(bare):  # a photo elsewhere could be either of two
        return found
    places = [folder / place for place in (*MOVED_TO, *(SHRUNK_TO if scalable else ()))]
    elsewhere = [[locate(place, name) for name in bare] for place in places]
    return max(elsewhere, key=lambda paths: sum(path is not None for path in paths))  # the first of equals


def _scalable(values: Values) -> bool:
    """Whether a lens is known for photos of any size: its own size is given, or nothing in pixels."""
    return all(values.get(key) for key in ("w", "h")) or not {"fl_x", "fl_y", "cx", "cy"} & set(values)


def _listed(values: Values, name: str, where: str, path: Path | None, split: Split) -> Listed:
    """One frame; ``values`` are its own over the file's, ``path`` its photo, if there is one."""
    matrix = rigid(values.get("transform_matrix"), where)
    if path is None:  # its lens doesn't matter, and may need the photo's size
        return Listed(name, None, Intrinsics(1, 1, 1.0, 1.0, 0.5, 0.5), matrix, split)
    lens = _intrinsics(values, path, where)
    return Listed(name, path, lens, matrix @ OPENGL_FROM_OPENCV, split)


def _intrinsics(values: Values, path: Path, where: str) -> Intrinsics:
    def number(key: str, default: float = 0.0) -> float:
        value = values.get(key, default)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise NerfsceneError(f"{where} has {key} = {value}, which is no number: mend it.")
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
            f"{where} has a lens term k4 that is not supported: export it with k1, k2, k3, p1, p2."
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
