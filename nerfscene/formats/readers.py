"""Recognises captures that come with cameras (``find_posed``). Every kind has a reader in its own module."""

from __future__ import annotations

import os
from pathlib import Path

from nerfscene.capture.folder import VIDEO_SUFFIXES, find_photos, only_folder, subfolders
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import load_json
from nerfscene.formats.blocks_exchange import is_blocks_exchange, read_blocks_exchange
from nerfscene.formats.colmap import find_colmap, find_colmap_below, incomplete_model, read_colmap
from nerfscene.formats.elsewhere import read_below, why_unread_above, why_unread_below, with_others_told
from nerfscene.formats.exports import OPENMVG_INNER, exports_in
from nerfscene.formats.llff import NAME as LLFF_NAME
from nerfscene.formats.llff import read_llff, why_llff_is_unread
from nerfscene.formats.metashape import is_metashape, read_metashape
from nerfscene.formats.open_sfm import (
    how_to_convert,
    is_openmvg,
    is_opensfm,
    is_packed_openmvg,
    read_openmvg,
    read_opensfm,
)
from nerfscene.formats.phone_apps import RECORD3D_PHOTOS, is_record3d, read_record3d
from nerfscene.formats.pix4d import is_pix4d, read_pix4d
from nerfscene.formats.realitycapture import is_realitycapture, read_realitycapture
from nerfscene.formats.realitycapture_xmp import find_realitycapture_xmp, read_realitycapture_xmp
from nerfscene.formats.transforms import read_synthetic, read_transforms
from nerfscene.formats.unread import unread_form, unread_warning
from nerfscene.types import PosedCapture


def find_posed(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None
) -> PosedCapture | None:
    """The capture with its cameras if ``path`` is a known kind of export, else None.

    ``path`` is a file, or a folder that contains one of these; the first match in this order is used:

    - ``transforms.json`` (instant-ngp, nerfstudio)
    - ``transforms_train.json`` (NeRF-synthetic)
    - a COLMAP model: the folder itself, or one in ``sparse/0``, ``colmap/sparse/0``, ``colmap_text``,
      ``dense/0/sparse`` and the like (``colmap.PLACES``)
    - raw data of Polycam
    - ``frame_….json`` with ARKit's cameras (3D Scanner App)
    - ``metadata.json`` beside ``rgb``, or ``metadata`` beside ``rgbd`` (Record3D)
    - an .xml of Metashape, or of BlocksExchange
    - a .csv of RealityCapture
    - ``…_calibrated_camera_parameters.txt``, also in ``1_initial/params`` (Pix4D)
    - ``reconstruction.json``, also in ``opensfm`` (OpenSfM, OpenDroneMap)
    - ``sfm_data.json``, also in ``reconstruction_…`` (OpenMVG)
    - ``poses_bounds.npy`` (LLFF)
    - .xmp files of RealityCapture beside the photos
    - a .json that lists frames as ``transforms.json`` does
    - any of these in a folder below, up to three deep, if most photos in ``path`` are with it
    - a COLMAP model in any other folder below, up to three deep

    If only one folder in a folder holds photos or videos, that one is searched too. In a folder, files that
    only have the right name or extension are ignored, and so are exports without cameras. Where there are
    several kinds, a warning names those that are not used. ``images`` is the folder of photos for COLMAP,
    Metashape, RealityCapture, OpenSfM or OpenMVG, if they are not in ``images`` beside the export.
    Raises NerfsceneError when ``path`` is of a known kind but can't be used.
    """
    root = Path(path).expanduser()
    photos = None if images is None else Path(images)
    if root.is_file():
        return _read_file(root, photos)
    exports = exports_in(root, photos)
    first = next(exports, None)
    if first is not None:
        return with_others_told(first.read(), root, first, exports)
    if not root.is_dir():
        return None
    if find_realitycapture_xmp(photos or root):
        return read_realitycapture_xmp(root, photos)
    packed = _packed_openmvg(root)
    if packed and not find_photos(root) and not _has_videos(root):
        raise NerfsceneError(_packed_message(packed[0]))
    only = only_folder(root)
    found = find_posed(only, photos) if only is not None else None
    if found is None:
        found = read_below(root, photos)
    if found is None and find_colmap_below(root):
        found = read_colmap(root, photos)
    return found


def unread_cameras(root: Path) -> tuple[str, ...]:
    """A warning if a folder, or the only folder in it, has cameras in a form that find_posed can't read."""
    packed = _packed_openmvg(root)
    incomplete = incomplete_model(root) if root.is_dir() else None
    if incomplete is not None:
        return (f"{incomplete} to use its cameras.",)
    llff = why_llff_is_unread(root)
    if llff is not None:
        return (f"the cameras in {LLFF_NAME} are not used: {llff}",)
    if not packed:
        only = only_folder(root) if root.is_dir() else None
        own = unread_warning(root) or (() if only is None else unread_cameras(only))
        return own or why_unread_below(root) or why_unread_above(root)
    return (
        f"the cameras in {packed[0].relative_to(root)} are not used, because nerfscene can't read that file: "
        f"to use them, {how_to_convert(packed[0])}.",
    )


def _packed_message(path: Path) -> str:
    return f"{path} can't be read here: {how_to_convert(path)}, and give the .json."


def _packed_openmvg(root: Path) -> list[Path]:
    """The files sfm_data.bin in a folder of OpenMVG's."""
    places = [root, *sorted(root.glob(OPENMVG_INNER))] if root.is_dir() else []
    return [path for place in places for path in sorted(place.glob("*.bin")) if is_packed_openmvg(path)]


def _read_file(path: Path, images: Path | None) -> PosedCapture | None:
    """The capture of one file, or None."""
    suffix = path.suffix.lower()
    if find_colmap(path):
        return read_colmap(path, images)
    if suffix == ".xml" and is_metashape(path):
        return read_metashape(path, images)
    if suffix == ".xml" and is_blocks_exchange(path):
        return read_blocks_exchange(path, images)
    if suffix == ".csv" and is_realitycapture(path):
        return read_realitycapture(path, images)
    if suffix == ".txt" and is_pix4d(path):
        return read_pix4d(path, images)
    if path.name.lower() == LLFF_NAME:
        return read_llff(path, images)
    if is_packed_openmvg(path):
        raise NerfsceneError(_packed_message(path))
    if path.name in RECORD3D_PHOTOS and is_record3d(path):
        return read_record3d(path)
    incomplete = incomplete_model(path) if path.stem in ("images", "points3D", "frames", "rigs") else None
    if incomplete is not None:
        raise NerfsceneError(f"{incomplete}, or give only the folder of photos.")
    if suffix != ".json":
        _check_form(path)
        return None
    if path.name in ("transforms_train.json", "transforms_test.json"):
        return read_synthetic(path.parent)
    if path.name == "transforms.json":
        return read_transforms(path, images)
    values = load_json(path)
    if is_opensfm(values):
        return read_opensfm(path, images)
    if is_openmvg(values):
        return read_openmvg(path, images)
    if not isinstance(values, dict) or "frames" not in values:
        _check_form(path)
    return read_transforms(path, images)


def _check_form(path: Path) -> None:
    """Raises NerfsceneError if a file holds cameras in a form that is known and not read."""
    form = unread_form(path)
    if form is not None:
        raise NerfsceneError(
            f"{path} ({form.program}) holds cameras in a form that is not read: {form.way}, or give only "
            "the folder of photos."
        )


def _has_videos(folder: Path) -> bool:
    """Whether a folder or its sub-folders hold videos: intake uses them if there are no photos."""
    files = (p for p in folder.iterdir() if p.name.lower().endswith(VIDEO_SUFFIXES) and p.is_file())
    return any(p.name[0] != "." for p in files) or any(map(_has_videos, subfolders(folder)))
