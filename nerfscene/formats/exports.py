"""Recognises the exports with cameras that lie in a folder: ``exports_in`` lists them, ``read`` reads one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nerfscene.capture.folder import name_some
from nerfscene.errors import NerfsceneError
from nerfscene.formats.blocks_exchange import is_blocks_exchange, read_blocks_exchange
from nerfscene.formats.colmap import find_colmap, model_place, read_colmap
from nerfscene.formats.llff import find_llff, read_llff
from nerfscene.formats.metashape import is_posed_metashape, read_metashape
from nerfscene.formats.open_sfm import is_posed_openmvg, is_posed_opensfm, read_openmvg, read_opensfm
from nerfscene.formats.phone_apps import find_polycam, find_record3d, read_polycam, read_record3d
from nerfscene.formats.photo_search import INNER
from nerfscene.formats.pix4d import is_pix4d, read_pix4d
from nerfscene.formats.realitycapture import is_realitycapture, read_realitycapture
from nerfscene.formats.scanner_3d_app import find_scanner_3d_app, read_scanner_3d_app
from nerfscene.formats.transforms import is_transforms, read_synthetic, read_transforms
from nerfscene.types import PosedCapture

OPENSFM_INNER, OPENMVG_INNER = INNER
PIX4D_FILE = "*calibrated_camera_parameters.txt"
SYNTHETIC = ("transforms_train.json", "transforms_val.json", "transforms_test.json")
Read = Callable[[Path, Path | None], PosedCapture]


@dataclass(frozen=True)
class Found:
    """Exports of one kind in a folder.

    paths: their files or folders. read: makes the capture of them. is_model: whether it is a COLMAP model.
    """

    paths: tuple[Path, ...]
    read: Callable[[], PosedCapture]
    is_model: bool = False


def exports_in(root: Path, images: Path | None = None) -> Iterator[Found]:
    """The exports that lie in a folder, one entry for each kind; the one to use comes first.

    ``images``: the folder of photos, if the user named one. Reading raises NerfsceneError when there are
    several exports of the kind.
    """
    if (root / "transforms.json").is_file():
        yield _found(root / "transforms.json", read_transforms, images)
    if (root / SYNTHETIC[0]).is_file():
        yield Found((root / SYNTHETIC[0],), partial(read_synthetic, root))
    if find_colmap(root):
        yield Found((model_place(root),), partial(read_colmap, root, images), is_model=True)
    if not root.is_dir():
        return
    if find_polycam(root):
        yield Found((root,), partial(read_polycam, root))
    if find_scanner_3d_app(root):
        yield _found(root, read_scanner_3d_app, images)
    record3d = find_record3d(root)
    if record3d is not None:
        yield Found((record3d,), partial(read_record3d, record3d))
    yield from _files_in(root, images)
    llff = find_llff(root)
    if llff is not None:
        yield _found(llff, read_llff, images)


def _found(path: Path, read: Read, images: Path | None) -> Found:
    return Found((path,), partial(read, path, images))


def _files_in(root: Path, images: Path | None) -> Iterator[Found]:
    """The exports that are known by a file's name and content."""
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
            yield Found(tuple(found), partial(_read_only, found, root, read, photos))


def _read_only(exports: Sequence[Path], root: Path, read: Read, images: Path | None) -> PosedCapture:
    """The capture of the one export. Raises NerfsceneError when there are several."""
    if len(exports) > 1:
        names = name_some([str(path.relative_to(root)) for path in exports])
        raise NerfsceneError(
            f"{root} holds {len(exports)} exports of cameras ({names}): give the one to use, or move the "
            "others to another folder."
        )
    return read(exports[0], images)
