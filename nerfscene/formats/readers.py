"""Recognises captures that come with cameras (``find_posed``). Every kind has a reader in its own module."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from nerfscene.capture.folder import (
    VIDEO_SUFFIXES,
    find_photos,
    name_some,
    only_folder,
    short_names,
    subfolders,
)
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import load_json
from nerfscene.formats.blocks_exchange import is_blocks_exchange, read_blocks_exchange
from nerfscene.formats.colmap import find_colmap, find_colmap_below, read_colmap
from nerfscene.formats.llff import NAME as LLFF_NAME
from nerfscene.formats.llff import find_llff, read_llff, why_llff_is_unread
from nerfscene.formats.metashape import is_metashape, is_posed_metashape, read_metashape
from nerfscene.formats.open_sfm import (
    how_to_convert,
    is_openmvg,
    is_opensfm,
    is_packed_openmvg,
    is_posed_openmvg,
    is_posed_opensfm,
    read_openmvg,
    read_opensfm,
)
from nerfscene.formats.phone_apps import (
    RECORD3D_PHOTOS,
    find_polycam,
    find_record3d,
    is_record3d,
    read_polycam,
    read_record3d,
)
from nerfscene.formats.photo_search import INNER
from nerfscene.formats.pix4d import is_pix4d, read_pix4d
from nerfscene.formats.realitycapture import is_realitycapture, read_realitycapture
from nerfscene.formats.realitycapture_xmp import find_realitycapture_xmp, read_realitycapture_xmp
from nerfscene.formats.scanner_3d_app import find_scanner_3d_app, read_scanner_3d_app
from nerfscene.formats.transforms import is_transforms, read_synthetic, read_transforms
from nerfscene.formats.unread import unread_form, unread_warning
from nerfscene.types import PosedCapture

OPENSFM_INNER, OPENMVG_INNER = INNER
PIX4D_FILE = "*calibrated_camera_parameters.txt"
Read = Callable[[Path, Path | None], PosedCapture]


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
    - a COLMAP model in any other folder below, up to three deep

    If only one folder in a folder holds photos or videos, that one is searched too. Cameras in another folder
    inside are used if they are the only ones and no photos lie elsewhere that they don't belong to. In a
    folder, files that only have the right name or extension are ignored, and so are exports without cameras.
    ``images`` is the folder of photos for COLMAP, Metashape, RealityCapture, OpenSfM or OpenMVG, if they are
    not in ``images`` beside the export.
    Raises NerfsceneError when ``path`` is of a known kind but can't be used.
    """
    root = Path(path).expanduser()
    photos = None if images is None else Path(images)
    if root.is_file():
        return _read_file(root, photos)
    if (root / "transforms.json").is_file():
        return read_transforms(root / "transforms.json", photos)
    if (root / "transforms_train.json").is_file():
        return read_synthetic(root)
    if find_colmap(root):
        return read_colmap(root, photos)
    if not root.is_dir():
        return None
    found = _read_export(root, photos)
    only = None if found is not None else only_folder(root)
    if only is not None:
        found = find_posed(only, photos)
    if found is None and find_colmap_below(root):
        found = read_colmap(root, photos)
    return _read_below(root, photos, only) if found is None else found


def _read_below(root: Path, images: Path | None, searched: Path | None) -> PosedCapture | None:
    """The capture of the one folder in ``root`` with cameras, if all photos belong to it; else None.

    searched: a folder that is known to have none.
    """
    below = _posed_below(root, images, searched)
    if len(below) != 1:
        return None
    ((folder, found),) = below.items()
    return found if isinstance(found, PosedCapture) and not _elsewhere(root, folder, found) else None


def _posed_below(
    root: Path, images: Path | None = None, searched: Path | None = None
) -> dict[Path, PosedCapture | NerfsceneError]:
    """The folders in ``root`` that hold cameras: what is read from each, or why it can't be read."""
    below: dict[Path, PosedCapture | NerfsceneError] = {}
    for folder in sorted(folder for folder in subfolders(root) if folder != searched):
        for photos in dict.fromkeys(
            (images, images or root)
        ):  # the export's photos may lie beside its folder
            try:
                found = find_posed(folder, photos)
            except NerfsceneError as error:
                below.setdefault(folder, error)
                continue
            if found is not None:
                below[folder] = found
            break
    return below


def _elsewhere(root: Path, folder: Path, found: PosedCapture) -> list[Path]:
    """The photos in ``root`` that are neither in ``folder`` nor in the folders of the capture's photos."""
    homes = {folder.resolve(), *(view.path.resolve().parent for view in found.views)}
    return [photo for photo in find_photos(root) if not homes & {*photo.resolve().parents}]


def unread_cameras(root: Path) -> tuple[str, ...]:
    """Warnings if a folder, or a folder in it, has cameras that find_posed can't read or doesn't choose."""
    if not root.is_dir():
        return ()
    packed = _packed_openmvg(root)
    llff = why_llff_is_unread(root)
    if llff is not None:
        return (f"the cameras in {LLFF_NAME} are not used: {llff}",)
    if packed:
        return (
            f"the cameras in {packed[0].relative_to(root)} are not used, because nerfscene can't read that "
            f"file: to use them, {how_to_convert(packed[0])}.",
        )
    told = unread_warning(root) or _unused_below(root)
    inside = [] if told else [line for folder in sorted(subfolders(root)) for line in unread_cameras(folder)]
    return told or tuple(dict.fromkeys(inside))


def _unused_below(root: Path) -> tuple[str, ...]:
    """A warning if folders in ``root`` hold cameras that can be read but are not used."""
    below = _posed_below(root)
    if not below:
        return ()
    names = [folder.name for folder in below]
    if len(below) > 1:
        return (
            f"the cameras in {name_some(names)} are not used, because each of these folders has cameras of "
            "its own: give one of them to use its cameras.",
        )
    ((folder, found),) = below.items()
    if isinstance(found, NerfsceneError):
        return (f"the cameras in {names[0]} are not used: {str(found).rstrip('.')}.",)
    others = _elsewhere(root, folder, found)
    if not others:
        return ()
    lie = "lies" if len(others) == 1 else "lie"
    return (
        f"the cameras in {names[0]} are not used, because {len(others)} of the photos {lie} elsewhere "
        f"({name_some(short_names(others))}): give that folder to use its cameras.",
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
    if path.name == LLFF_NAME:
        return read_llff(path, images)
    if is_packed_openmvg(path):
        raise NerfsceneError(_packed_message(path))
    if path.name in RECORD3D_PHOTOS and is_record3d(path):
        return read_record3d(path)
    if suffix != ".json":
        form = unread_form(path)
        if form is not None:
            raise NerfsceneError(
                f"{path} ({form.program}) holds cameras in a form that is not read: {form.way}, or give only "
                "the folder of photos."
            )
        return None
    if path.name in ("transforms_train.json", "transforms_test.json"):
        return read_synthetic(path.parent)
    if path.name == "transforms.json":
        return read_transforms(path, images)
    values = load_json(path)
    if is_opensfm(values):
        return read_opensfm(path, images)
    return read_openmvg(path, images) if is_openmvg(values) else read_transforms(path, images)


def _read_export(root: Path, images: Path | None) -> PosedCapture | None:
    """The capture of another program's export in a folder, or None.

    Raises NerfsceneError when the folder holds two exports of the same kind.
    """
    if find_polycam(root):
        return read_polycam(root)
    if find_scanner_3d_app(root):
        return read_scanner_3d_app(root, images)
    record3d = find_record3d(root)
    if record3d is not None:
        return read_record3d(record3d)
    anywhere = images or root  # cameras in a sub-folder belong to photos anywhere in the project
    kinds: tuple[tuple[str, Callable[[Path], bool], Read, Path | None], ...] = (
        ("*.[xX][mM][lL]", is_posed_metashape, read_metashape, images),
        ("*.[xX][mM][lL]", is_blocks_exchange, read_blocks_exchange, images),
        ("*.[cC][sS][vV]", is_realitycapture, read_realitycapture, images),
        (PIX4D_FILE, is_pix4d, read_pix4d, images),
        (f"1_initial/params/{PIX4D_FILE}", is_pix4d, read_pix4d, anywhere),
        ("reconstruction.json", is_posed_opensfm, read_opensfm, images),
        ("sfm_data.json", is_posed_openmvg, read_openmvg, images),
        (f"{OPENSFM_INNER}/reconstruction.json", is_posed_opensfm, read_opensfm, anywhere),
        (f"{OPENMVG_INNER}/sfm_data.json", is_posed_openmvg, read_openmvg, anywhere),
        ("*.[jJ][sS][oO][nN]", is_transforms, read_transforms, images),
    )
    for pattern, is_export, read, photos in kinds:
        files = sorted(path for path in root.glob(pattern) if not path.name.startswith("."))
        found = [path for path in files if path.is_file() and is_export(path)]
        if found:
            return read(_only_export(found, root), photos)
    llff = find_llff(root)
    if llff is not None:
        return read_llff(llff, images)
    if find_realitycapture_xmp(images or root):
        return read_realitycapture_xmp(root, images)
    packed = _packed_openmvg(root)
    if packed and not find_photos(root) and not _has_videos(root):
        raise NerfsceneError(_packed_message(packed[0]))
    return None


def _has_videos(folder: Path) -> bool:
    """Whether a folder or its sub-folders hold videos: intake uses them if there are no photos."""
    files = (p for p in folder.iterdir() if p.name.lower().endswith(VIDEO_SUFFIXES) and p.is_file())
    return any(p.name[0] != "." for p in files) or any(map(_has_videos, subfolders(folder)))


def _only_export(exports: Sequence[Path], root: Path) -> Path:
    """The one export. Raises NerfsceneError when there are several."""
    if len(exports) > 1:
        names = name_some([str(path.relative_to(root)) for path in exports])
        raise NerfsceneError(
            f"{root} holds {len(exports)} exports of cameras ({names}): give the one to use, or move the "
            "others to another folder."
        )
    return exports[0]
