"""``transforms.json`` of instant-ngp and nerfstudio, and the files of NeRF-synthetic's layout → PosedCapture.

Cameras look along -z with y up (OpenGL); poses are world_from_cam. ``transforms_lens`` reads the lenses.
Sources: instant-ngp's ``nerf_loader.cu`` and ``nerf_loader.h``, nerfstudio's ``nerfstudio_dataparser.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nerfscene.capture.folder import name_some, natural_key
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import Values, as_dict, load_json, number, text_of
from nerfscene.formats.listing import (
    Export,
    PosedFrame,
    finish,
    photos_beside,
    photos_without_pose,
    rigid,
    with_masks,
)
from nerfscene.formats.photo_search import locate_listed, photo_finder
from nerfscene.formats.transforms_lens import FrameLens, frame_lens, has_own_size
from nerfscene.formats.transforms_notes import (
    beside_photos,
    count,
    lens_warnings,
    metashape_warning,
    not_applied,
)
from nerfscene.loading import loading
from nerfscene.types import Array, Intrinsics, LeftOut, PosedCapture, Source, Split

OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
MITSUBA_FROM_OPENCV = np.diag([-1.0, -1.0, 1.0, 1.0])  # cameras look along +z with y up and x to the left
NO_LENS = Intrinsics(1, 1, 1.0, 1.0, 0.5, 0.5)  # for frames without a photo, whose lens isn't used
POSES = ("transform_matrix", "transform_matrix_start")  # the second: of a camera that moves meanwhile
SAME = 1e-6  # relative to the cameras' distances: poses of one photo that differ less are the same


@dataclass(frozen=True)
class _Entry:
    """A frame as a file lists it.

    top, own: the file's values and the frame's. where: how messages name the frame.
    """

    top: Values
    own: Values
    name: str
    where: str
    split: Split


@dataclass(frozen=True)
class _Listing:
    """The frames of a file that can be used, and what is said of the others."""

    entries: list[_Entry]
    warnings: list[str]
    left_out: list[LeftOut]


def is_transforms(path: Path) -> bool:
    """Whether a .json lists frames as ``transforms.json`` does, whatever its name; False if it is broken."""
    text = text_of(path) if path.suffix.lower() == ".json" else ""
    if not all(word in text for word in ('"frames"', '"file_path"', '"transform_matrix')):
        return False
    try:
        values = load_json(path)
    except NerfsceneError:
        return False
    frames = values.get("frames") if isinstance(values, dict) else None
    return isinstance(frames, list) and any(
        isinstance(frame, dict) and "file_path" in frame and any(key in frame for key in POSES)
        for frame in frames
    )


def read_transforms(path: Path, images: Path | None = None) -> PosedCapture:
    """Reads a ``transforms.json``, whatever its name. Photos are found as photo_finder says, from its folder.

    ``train_filenames``, ``val_filenames`` and ``test_filenames`` (nerfstudio) give the split; if there are
    no test names, the validation names are used for testing. ``test_frames`` (ScanNet++) are for testing.
    ``mask_path`` names a frame's mask, which is
    otherwise looked for in the folder ``masks``. ``ply_file_path``, depth and ``aabb_scale`` are not used.
    ``images``: the folder of photos, if the user named one.
    Raises NerfsceneError when the file or a frame makes no sense, or its photos don't fit.
    """
    values = as_dict(load_json(path), str(path))
    listing = _listing(values, path)
    if values.get("test_frames"):  # ScanNet++
        listing = _joined(listing, _listing(values | {"frames": values["test_frames"]}, path, "test"))
    return _finished(_split_by_lists(values, listing, path), path, images)


def read_synthetic(root: Path) -> PosedCapture:
    """Reads a folder of NeRF-synthetic's layout: trains on ``transforms_train.json``, tests on another file.

    That is ``transforms_test.json`` or, without it, ``transforms_val.json``. The validation views are not
    used otherwise, as is customary, so that results can be compared. Without ``transforms_train.json``, the
    file that there is serves for training.
    Raises NerfsceneError as read_transforms does.
    """
    train, test, val = (root / f"transforms_{part}.json" for part in ("train", "test", "val"))
    held_out = test if test.is_file() else val
    if not train.is_file():
        return read_transforms(held_out)
    listing = _listing(as_dict(load_json(train), str(train)), train)
    if held_out.is_file():
        values = as_dict(load_json(held_out), str(held_out))
        listing = _joined(listing, _listing(values, held_out, "test"))
    listed_in = f"{train.name} and {held_out.name}" if held_out.is_file() else ""
    return _finished(listing, train, kind="synthetic", listed_in=listed_in)


def _listing(values: Values, path: Path, split: Split = "train") -> _Listing:
    """The frames of a file that name a photo and have a pose.

    Raises NerfsceneError when there are none, or the file lists no frames at all.
    """
    frames = values.get("frames")
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise NerfsceneError(
            f"{path} has no list of frames, so it is not a transforms file of instant-ngp or nerfstudio: "
            "give one that is, or only the folder of photos."
        )
    if not frames:
        raise NerfsceneError(f"{path} lists no frames: export the cameras again.")
    entries, bare = [], []
    for index, frame in enumerate(frames):
        name = _photo_name(frame, index, path)
        if name is None or all(frame.get(key) is None for key in POSES):
            bare.append(f"frame {index}" if name is None else name)
            continue
        where = f"frame {index} ({name}) in {path}"
        entries.append(_Entry(values, frame, name, where, split))
    if not entries:
        raise NerfsceneError(
            f"{bare[0]} in {path} has no file_path or no transform_matrix, and none of the others has both: "
            "export the cameras again."
        )
    reason = f"has no photo's name or no pose in {path.name}"
    said = []
    if bare:
        said.append(
            f"{count(len(bare), 'frame')} in {path.name} without a file_path or a transform_matrix "
            f"{'was' if len(bare) == 1 else 'were'} left out ({name_some(bare)})."
        )
    most = round(number(values, "n_frames", str(path), len(entries)))
    if 0 < most < len(entries):  # as instant-ngp does
        said.append(f"only the first {most} of the {len(entries)} frames in {path.name} are used (n_frames).")
        entries = sorted(entries, key=lambda entry: natural_key(entry.name))[:most]
    said += not_applied(values, [entry.own for entry in entries], path.name)
    return _Listing(entries, said, [LeftOut(_file_name(name), reason) for name in bare])


def _joined(listing: _Listing, more: _Listing) -> _Listing:
    """Both listings as one."""
    said = list(dict.fromkeys([*listing.warnings, *more.warnings]))
    return _Listing(listing.entries + more.entries, said, listing.left_out + more.left_out)


def _photo_name(frame: Values, index: int, path: Path) -> str | None:
    """The name of a frame's photo, with forward slashes; None if it has none.

    An empty name stands for train_000/rgba.png and so on, as in NeRFactor's data sets and instant-ngp.
    """
    name = frame.get("file_path")
    if name == "":
        return f"{path.stem.rpartition('_')[2]}_{index:03d}/rgba.png"
    return name.replace("\\", "/") if isinstance(name, str) else None


def _split_by_lists(values: Values, listing: _Listing, path: Path) -> _Listing:
    """The listing with the split that nerfstudio's lists of names give; frames in no list are left out."""

    def names(key: str) -> set[str]:
        found = values.get(key)
        found = found if isinstance(found, list) else []
        return {Path(str(name).replace("\\", "/")).as_posix() for name in found}

    def among(entry: _Entry, listed: set[str]) -> bool:
        return Path(entry.name).as_posix() in listed

    train, test = names("train_filenames"), names("test_filenames") or names("val_filenames")
    if not train and not test:
        return listing
    kept: list[_Entry] = []
    dropped, both = [], []
    for entry in listing.entries:
        if among(entry, train) and among(entry, test):
            both.append(entry.name)
        if among(entry, train) or (not train and not among(entry, test)):
            kept.append(entry)
        elif among(entry, test):
            kept.append(replace(entry, split="test"))
        else:
            dropped.append(entry.name)
    if not kept:
        raise NerfsceneError(f"{path} lists no frames for training: check its lists of names.")
    said = list(listing.warnings)
    if dropped:
        said.append(
            f"{count(len(dropped), 'frame')} of {path.name} in none of its lists for training and testing "
            f"{'was' if len(dropped) == 1 else 'were'} left out ({name_some(dropped)})."
        )
    said += _for_both(both)
    reason = f"is in none of the lists for training and testing in {path.name}"
    return _Listing(kept, said, [*listing.left_out, *(LeftOut(_file_name(name), reason) for name in dropped)])


def _for_both(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    return [
        f"{count(len(names), 'photo')} listed for training and for testing, used for training "
        f"({name_some(names)})."
    ]


def _posed(listing: _Listing, path: Path, images: Path | None) -> Export:
    """The frames with their photos, lenses, poses and masks."""
    root, entries = path.parent, listing.entries
    any_size = all(has_own_size(entry.top | entry.own) for entry in entries)
    names = [entry.name for entry in entries]
    find = photo_finder(root, images, names, path, relative_to=(root,), shrunk=any_size)
    frames: list[PosedFrame] = []
    lenses: list[FrameLens] = []
    moving = 0
    for entry in entries:
        pose, moves = _pose(entry)
        moving += moves
        photo = find(entry.name)
        lens = None if photo is None else frame_lens(entry.top, entry.own, photo, entry.where)
        if lens is not None:
            lenses.append(lens)
        given = entry.own.get("mask_path")
        mask = locate_listed(root, given) if isinstance(given, str) and given else None
        frames.append(
            PosedFrame(entry.name, photo, NO_LENS if lens is None else lens.lens, pose, entry.split, mask)
        )
    frames, doubled = _without_doubles(frames, path)
    frames = with_masks(root, frames)
    said = [*listing.warnings, *doubled, *lens_warnings(lenses, path.name)]
    said += metashape_warning(entries[0].top, lenses, path.name)
    if moving:
        said.append(
            f"the camera moves during {count(moving, 'frame')} of {path.name} (transform_matrix_start and "
            "…_end), which is not modelled: one pose between the two is used."
        )
    said += beside_photos([frame.path for frame in frames if frame.path is not None], path.name)
    said += _missing_masks(entries, frames, path)
    named = {entry.name for entry in entries if entry.own.get("mask_path")}
    told = {frame.path for frame in frames if frame.path is not None and frame.name in named}
    return Export(path, root, "transforms", frames, tuple(said), left_out=listing.left_out, masks_told=told)


def _pose(entry: _Entry) -> tuple[Array, bool]:
    """The pose (4, 4) in OpenCV's axes, and whether the camera moves while it takes the photo."""
    start_key = POSES[1] if entry.own.get(POSES[1]) is not None else POSES[0]
    matrix = rigid(entry.own.get(start_key), entry.where, any_scale=True)
    if entry.own.get("transform_matrix_end") is not None:
        end = rigid(entry.own["transform_matrix_end"], entry.where, any_scale=True)
        moves = not np.allclose(matrix, end, atol=1e-9)
        matrix = _between(matrix, end, _middle_of_exposure(entry)) if moves else matrix
    else:
        moves = False
    mitsuba = entry.top.get("from_mitsuba", "normal_mts_args" in entry.top)
    return matrix @ (MITSUBA_FROM_OPENCV if mitsuba else OPENGL_FROM_OPENCV), moves


def _middle_of_exposure(entry: _Entry) -> float:
    """When, from 0 (start) to 1 (end), the middle of the picture is taken, on average.

    instant-ngp's rolling_shutter holds a, b, c, d: the pixel at u, v (0 to 1) is taken at
    a + b u + c v + d t, where t is spread over 0 to 1.
    """
    given = (entry.top | entry.own).get("rolling_shutter")
    if not isinstance(given, list) or len(given) < 3:
        return 0.0
    a, b, c, d = (number({"rolling_shutter": x}, "rolling_shutter", entry.where) for x in [*given, 0.0][:4])
    return min(max(a + (b + c + d) / 2, 0.0), 1.0)


def _between(start: Array, end: Array, share: float) -> Array:
    """The pose at ``share`` (0 to 1) of the way from ``start`` to ``end`` (4, 4), both rigid."""
    with loading():
        from scipy.spatial.transform import Rotation, Slerp

    rotations = Rotation.from_matrix(np.stack([start[:3, :3], end[:3, :3]]))
    result = (1 - share) * start + share * end
    result[:3, :3] = Slerp([0.0, 1.0], rotations)(share).as_matrix()
    return result


def _without_doubles(frames: Sequence[PosedFrame], path: Path) -> tuple[list[PosedFrame], list[str]]:
    """The frames, each photo once, and what is said of it.

    Raises NerfsceneError when a photo has several poses.
    """
    size = max(float(np.ptp([f.world_from_cam[:3, 3] for f in frames], axis=0).max()), 1e-12)
    kept: dict[Path | int, PosedFrame] = {}
    both, twice = [], []
    for index, frame in enumerate(frames):
        key = index if frame.path is None else frame.path
        other = kept.setdefault(key, frame)
        if other is frame:
            continue
        if other.split != frame.split:
            both.append(frame.name)
            kept[key] = other if other.split == "train" else frame
            continue
        off = np.abs(other.world_from_cam - frame.world_from_cam)
        if off[:3, :3].max() > SAME or off[:3, 3].max() > SAME * size:
            raise NerfsceneError(
                f"{path} lists {frame.name} twice with different poses: remove the one that is wrong."
            )
        twice.append(frame.name)
    said = _for_both(both)
    if twice:
        said.append(
            f"{count(len(twice), 'frame')} in {path.name} listed twice, used once ({name_some(twice)})."
        )
    return list(kept.values()), said


def _missing_masks(entries: Sequence[_Entry], frames: Sequence[PosedFrame], path: Path) -> list[str]:
    """A sentence if masks that the file names aren't there, nor in masks_2, masks_4 … or masks."""
    given = {entry.name: entry.own["mask_path"] for entry in entries if entry.own.get("mask_path")}
    bare = [f.name for f in frames if f.path is not None and f.mask is None]
    missing = [str(given[name]) for name in bare if name in given]
    if not missing:
        return []
    return [
        f"{len(missing)} of the masks that {path.name} names are not on disk ({name_some(missing)}): their "
        "photos are used without a mask."
    ]


def _finished(
    listing: _Listing,
    path: Path,
    images: Path | None = None,
    kind: Source = "transforms",
    listed_in: str = "",
) -> PosedCapture:
    """The capture of a file's frames, told of the photos beside theirs that it doesn't list.

    Pictures that a frame names under another key, such as depth_path, are no photos.
    """
    posed = _posed(listing, path, images)
    others = [v for e in listing.entries for key, v in e.own.items() if key != "file_path"]
    named = [_file_name(value) for value in others if isinstance(value, str)]
    named += [out.name for out in listing.left_out]
    no_pose, told = photos_without_pose(posed.frames, path, ignoring=named)
    put_aside = {out.name.lower() for out in listing.left_out}
    on_disk = sum(frame.path is not None for frame in posed.frames)
    on_disk += sum(bool({p.name.lower(), p.stem.lower()} & put_aside) for p in photos_beside(posed.frames))
    posed = replace(
        posed,
        kind=kind,
        listed_in=listed_in,
        warnings=posed.warnings + told,
        left_out=[*posed.left_out, *no_pose],
        photos_given=on_disk + len(no_pose),
        sampled=True,
    )
    return finish(posed)


def _file_name(name: str) -> str:
    """A listed name without its folders."""
    return name.replace("\\", "/").rpartition("/")[2]
