"""Laan Labs' 3D Scanner App, its export "All Data" → PosedCapture.

A folder of ``frame_00000.json`` with ARKit's camera of each frame, and ``frame_00000.jpg`` for those that the
app kept a photo of. ``cameraPoseARFrame`` is world_from_cam by rows, in ARKit's axes: x to the right and y up
in the stored landscape picture, looking along -z; the world's y is up, in metres. ``intrinsics`` is 3×3 by
rows, in pixels of the photo. ``depth_….png``, ``conf_….png``, ``thumb_….jpg`` and the mesh are not used.

The layout is as public readers of the app's sample scans (laanlabs/3dScannerApp_samples) describe it; it was
not tried on a file of the app.
"""

from __future__ import annotations

import re
from pathlib import Path

from nerfscene.capture.folder import list_photos, name_some, natural_key
from nerfscene.errors import NerfsceneError
from nerfscene.formats.app_files import as_dict, load_json, numbers, text_of
from nerfscene.formats.arkit import arkit_lens, arkit_pose
from nerfscene.formats.listing import Export, PosedFrame, finish, size_of_stored, with_masks
from nerfscene.formats.photo_search import photo_finder
from nerfscene.formats.transforms import OPENGL_FROM_OPENCV
from nerfscene.types import LeftOut, PosedCapture

CAMERAS = "frame_*.json"
PHOTO = re.compile(r"frame_\d+", re.IGNORECASE)


def find_scanner_3d_app(root: Path) -> Path | None:
    """``root`` if it is a folder that the app exported, else None."""
    first = next(iter(root.glob(CAMERAS)), None) if root.is_dir() else None
    return root if first is not None and '"cameraPoseARFrame"' in text_of(first) else None


def read_scanner_3d_app(root: Path, images: Path | None = None) -> PosedCapture:
    """Reads the export in ``root``; ``images`` is the folder of its photos if they are elsewhere.

    The size of the picture that a lens belongs to is not in the files: see ``arkit_lens``.
    Raises NerfsceneError when a file makes no sense or its photo doesn't fit.
    """
    paths = sorted(root.glob(CAMERAS), key=lambda p: natural_key(p.name))
    find = photo_finder(root, images, [path.stem for path in paths], root / CAMERAS)
    frames, without = [], []
    for path in paths:
        where = str(path)
        photo = find(path.stem)
        if photo is None:
            without.append(path.name)
            continue
        values = as_dict(load_json(path), where)
        k = numbers(_flat(values.get("intrinsics")), (9,), where, "list intrinsics")
        pose = numbers(_flat(values.get("cameraPoseARFrame")), (16,), where, "list cameraPoseARFrame")
        lens = arkit_lens(k[[0, 4, 2, 5]], size_of_stored(photo), where)
        frames.append(PosedFrame(path.stem, photo, lens, arkit_pose(pose, where) @ OPENGL_FROM_OPENCV))
    if not frames:
        raise NerfsceneError(
            f"{root} has {len(paths)} cameras, but none of their photos (such as {paths[0].stem}.jpg): "
            "export the scan with its photos, as All Data."
        )
    warnings = []
    if without:
        warnings.append(
            f"{len(without)} of the {len(paths)} cameras have no photo ({name_some(without)}): the app keeps "
            "one for some of its frames only."
        )
    used = {frame.path for frame in frames}
    folders = sorted({path.parent for path in used if path is not None})
    photos = [p for folder in folders for p in list_photos(folder) if PHOTO.fullmatch(p.stem)]
    unposed = [p.name for p in photos if p not in used]
    if unposed:
        have, were = ("photo has", "was") if len(unposed) == 1 else ("photos have", "were")
        warnings.append(f"{len(unposed)} {have} no camera and {were} left out ({name_some(unposed)}).")
    left_out = [LeftOut(name, "has no camera beside it") for name in unposed]
    listed = with_masks(root, frames)
    given = len(photos)
    export = Export(root, root, "3d-scanner-app", listed, tuple(warnings), given, left_out, sampled=True)
    return finish(export)


def _flat(value: object) -> object:
    """Rows of numbers in one list; anything else as it is."""
    if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        return [entry for row in value for entry in row]
    return value
