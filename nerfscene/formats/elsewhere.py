"""Cameras beside those that are used, in folders below a capture's own, or in the folder above its photos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from nerfscene.capture.folder import find_photos, name_some
from nerfscene.errors import NerfsceneError
from nerfscene.formats.colmap import DEEPEST, MOST_SEARCHED, folders_inside
from nerfscene.formats.exports import SYNTHETIC, Found, exports_in
from nerfscene.formats.llff import NAME as LLFF_NAME
from nerfscene.formats.llff import why_llff_is_unread
from nerfscene.formats.unread import unread_warning
from nerfscene.types import PosedCapture

# Where COLMAP's model is that a transforms.json beside it was made from (nerfstudio, instant-ngp).
MADE_FROM = ("colmap", "colmap_text", "colmap_sparse", "colmap/sparse", "colmap/text")


def with_others_told(capture: PosedCapture, root: Path, used: Found, others: Iterable[Found]) -> PosedCapture:
    """The capture with a warning that names the cameras in ``root`` that are not used, because ``used`` are.

    Not told are those that belong to the ones used: COLMAP's model beside the ``transforms.json`` that
    nerfstudio and instant-ngp make of it, LLFF's file beside the model that it was made from, and the files
    of NeRF-synthetic.
    """
    paths = {path: None for found in others for path in found.paths if not _belongs(root, used, path)}
    if not paths:
        return capture
    names = name_some([_name(root, path) for path in paths])
    return _telling(
        capture,
        f"the cameras in {names} are not used, because {root} holds those in {_name(root, used.paths[0])} "
        f"too: to use {'these' if len(paths) == 1 else 'others'}, give {'it' if len(paths) == 1 else 'one'} "
        "instead of the folder.",
    )


def _name(root: Path, path: Path) -> str:
    return str(path.relative_to(root)) if path != root else "its own files"


def _belongs(root: Path, used: Found, path: Path) -> bool:
    """Whether the cameras in ``path`` are among those used, or were made of them, or they of these."""
    first = used.paths[0]
    if path in used.paths or path == root:
        return True
    if first.name == "transforms.json" and path.is_dir():
        return path.relative_to(root).as_posix() in MADE_FROM
    if first.name == SYNTHETIC[0]:
        return path.name in SYNTHETIC
    return path.suffix.lower() == ".npy" and used.is_model


def read_below(root: Path, images: Path | None) -> PosedCapture | None:
    """The capture whose cameras lie in a folder below ``root``; None if there is none, or it has errors.

    COLMAP's models are not among those searched. The cameras are used if at least half of the photos below
    ``root`` lie where theirs do; a warning counts the others.
    Raises NerfsceneError when several folders hold cameras, because nothing says which to use.
    """
    below = _below(root)
    if len(below) > 1:
        names = name_some([str(folder.relative_to(root)) for folder in below])
        raise NerfsceneError(
            f"{root} holds cameras in {len(below)} folders ({names}): give the one to use, or move the "
            "others to another place."
        )
    try:
        capture = _read_anywhere(root, below[0], images) if below else None
    except NerfsceneError:  # why_unread says it
        return None
    if capture is None:
        return None
    all_photos, others = _photos_elsewhere(root, capture)
    if 2 * len(others) > all_photos:
        return None
    if not others:
        return capture
    return _telling(
        capture,
        f"the cameras in {below[0].relative_to(root)} are used, so the {_photos(others)} elsewhere in {root} "
        "are not.",
    )


def why_unread_below(root: Path) -> tuple[str, ...]:
    """A warning if there are cameras in a folder below that read_below doesn't use, or can't be read."""
    below = _below(root) if root.is_dir() else []
    if not below:
        return _unread_in_folders(root)
    place = below[0].relative_to(root)
    try:
        _read_anywhere(root, below[0], None)
    except NerfsceneError as error:
        return (f"the cameras in {place} are not used: {error}",)
    return (
        f"the cameras in {place} are not used, because most photos in {root} lie elsewhere: give {below[0]} "
        "to use them.",
    )


def _unread_in_folders(root: Path) -> tuple[str, ...]:
    """A warning if there are cameras that can't be read in the folders directly in ``root``."""
    for folder in folders_inside(root):
        try:
            llff, warning = why_llff_is_unread(folder), unread_warning(root, folder)
        except OSError:  # permission denied
            continue
        if llff is not None:
            return (f"the cameras in {folder.name}/{LLFF_NAME} are not used: {llff}",)
        if warning:
            return warning
    return ()


def why_unread_above(root: Path) -> tuple[str, ...]:
    """A warning if the folder that ``root`` is in has cameras for the photos in ``root``."""
    above = root.absolute().parent
    try:
        found = next(exports_in(above), None) if root.is_dir() else None
        posed = {view.path.stem.lower() for view in found.read().views} if found is not None else set()
    except (NerfsceneError, OSError):  # broken, or the folder is not for us to read
        return ()
    if found is None:
        return ()
    photos = find_photos(root)
    if 2 * sum(photo.stem.lower() in posed for photo in photos) < max(len(photos), 1):
        return ()
    return (
        f"{_name(above, found.paths[0])} in {above} has cameras for these photos, which are not used because "
        f"only the photos were given: give {above} to use them.",
    )


def _below(root: Path) -> list[Path]:
    """The folders below, up to DEEPEST deep, that hold cameras of another kind than COLMAP's."""
    holding: list[Path] = []
    level, searched = folders_inside(root), 0
    for _ in range(DEEPEST):
        inside: list[Path] = []
        for folder in level:
            searched += 1
            if searched > MOST_SEARCHED:
                return holding
            try:
                found = next(exports_in(folder), None)
            except OSError:  # permission denied, as for lost+found
                continue
            if found is None:
                inside += folders_inside(folder)
            elif not found.is_model:
                holding.append(folder)
        level = inside
    return holding


def _read_anywhere(root: Path, folder: Path, images: Path | None) -> PosedCapture:
    """The capture of the cameras in a folder below ``root``, with photos near them or else anywhere in it."""
    try:
        return next(exports_in(folder, images)).read()
    except NerfsceneError:
        if images is not None:
            raise
        try:
            return next(exports_in(folder, root)).read()
        except NerfsceneError:
            pass
        raise


def _photos_elsewhere(root: Path, capture: PosedCapture) -> tuple[int, list[Path]]:
    """How many photos there are below ``root``, and those that lie in other folders than the capture's."""
    photos = find_photos(root)
    folders = {view.path.parent.resolve() for view in capture.views}
    return len(photos), [photo for photo in photos if photo.parent.resolve() not in folders]


def _photos(paths: Sequence[Path]) -> str:
    return f"{len(paths)} photo{'s' * (len(paths) > 1)} ({name_some([path.name for path in paths])})"


def _telling(capture: PosedCapture, sentence: str) -> PosedCapture:
    return replace(capture, warnings=(*capture.warnings, sentence))
