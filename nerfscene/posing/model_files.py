"""Reads COLMAP's models from disk, text or binary, of versions 3 and 4, also where their files disagree.

COLMAP 4 keeps poses twice: per image in ``images.*``, as all versions do, and per frame of a rig in
``rigs.*`` and ``frames.*``. Programs that don't know the latter leave them as they were, and pycolmap then
takes the poses from them, but the points from the new files. So the poses in ``images.*`` are used, unless
those of the frames fit the points better.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pycolmap

from nerfscene.cameras.plausible import FARTHEST
from nerfscene.errors import NerfsceneError
from nerfscene.posing import mapping
from nerfscene.posing.known_points import posed_ids, well_determined
from nerfscene.posing.mapping import Model
from nerfscene.posing.model_binary import (
    check_cameras,
    check_points,
    image_names,
    points_without_tracks,
    rigs_are_whole,
)
from nerfscene.posing.model_lenses import lens_of_camera
from nerfscene.posing.model_place import NEEDED, suffix_of
from nerfscene.posing.model_text import plain_cameras, plain_images
from nerfscene.posing.model_text import points_without_tracks as text_points_without_tracks
from nerfscene.posing.sparse import SparseModel
from nerfscene.types import Array, Intrinsics

FROM_PYCOLMAP = (
    *(ValueError, RuntimeError, OSError, LookupError),
    *(MemoryError, OverflowError, TypeError),
)  # for a model that it can't read
RIGS = ("rigs", "frames")
SAME = 1e-5  # largest difference of two poses that are the same, relative to their largest number
MISFIT = 0.01  # of the picture's longer side: a larger reprojection error (median) means other cameras
BEHIND = 1e9  # pixels: pycolmap gives points behind a camera a larger error than this
LEAST_QUATERNION = 1e-6  # length of one that is a rotation; they should have length 1
NOTICEABLE = 0.5  # pixels: a lens that differs by more deserves a warning


def read_model(folder: Path) -> SparseModel:
    """The COLMAP model in ``folder``, text or binary, with those of its images that have poses.

    Its reprojection error is computed from its points and cameras: what the file says of it may be stale.
    Raises NerfsceneError when the model can't be read, its poses and points contradict each other, or it uses
    a lens model that nothing here comes near.
    """
    suffix = suffix_of(folder)
    if suffix is None:
        raise NerfsceneError(
            f"{folder} holds no COLMAP model: it lacks cameras.bin and images.bin (or .txt)."
        )
    with TemporaryDirectory(prefix="nerfscene-") as place, mapping.quiet():
        staged = Path(place)
        try:
            names = _stage(folder, staged, suffix)
            rec, warnings = _consistent(folder, staged, suffix)
            if suffix == ".bin":
                warnings += _other_text(folder, staged, set(names.values()))
        except OSError as error:
            raise NerfsceneError(
                f"{folder} cannot be read as a COLMAP model ({error.strerror or error}): copy or "
                "export it again."
            ) from error
    return _sparse_model(folder, rec, names, warnings)


def _stage(folder: Path, staged: Path, suffix: str) -> dict[int, str]:
    """Puts the model without rigs and frames into the folder ``staged``; returns the images' names by id.

    pycolmap reads that folder. Text is rewritten so that it can: see model_text.
    """
    points = f"points3D{suffix}"
    if (folder / points).is_file():
        _link(folder / points, staged)
    else:
        (staged / points).write_bytes(b"" if suffix == ".txt" else bytes(8))  # a count of 0
    if suffix == ".bin":
        for part in NEEDED:
            _link(folder / f"{part}{suffix}", staged)
        check_cameras(folder / "cameras.bin")
        if (folder / points).is_file():
            check_points(folder / points)
        return image_names(folder / "images.bin")
    cameras = plain_cameras(folder / "cameras.txt", staged / "cameras.txt")
    return plain_images(folder / "images.txt", staged / "images.txt", cameras)


def _other_text(folder: Path, staged: Path, names: set[str]) -> tuple[str, ...]:
    """A warning if the model also lies in ``folder`` as text, but with other images than ``names``."""
    if not all((folder / f"{part}.txt").is_file() for part in NEEDED):
        return ()
    try:
        cameras = plain_cameras(folder / "cameras.txt", staged / "other-cameras.txt")
        others = set(plain_images(folder / "images.txt", staged / "other-images.txt", cameras).values())
    except NerfsceneError:
        return ()
    if others == names:
        return ()
    return (
        f"images.txt of the COLMAP model {folder} lists other images than images.bin, which is used: move "
        "the .bin files away to use the text.",
    )


def _link(path: Path, staged: Path) -> None:
    try:
        (staged / path.name).symlink_to(path.absolute())
    except OSError:  # not every file system has links
        shutil.copyfile(path, staged / path.name)


def _load(folder: Path, staged: Path) -> Model:
    """The model in ``staged``, which came from ``folder``, by pycolmap."""
    try:
        return pycolmap.Reconstruction(str(staged))
    except FROM_PYCOLMAP as error:
        raise NerfsceneError(
            f"{folder} cannot be read as a COLMAP model (its files are damaged or contradict each other): "
            "copy or export it again."
        ) from error


def _consistent(folder: Path, staged: Path, suffix: str) -> tuple[Model, tuple[str, ...]]:
    """The model with those of its poses that fit its points, and warnings."""
    warnings: tuple[str, ...] = ()
    try:
        plain = _load(folder, staged)
    except NerfsceneError as error:
        plain = _without_tracks(folder, staged, suffix, error)
        warnings = (
            f"the points of the COLMAP model {folder} are damaged, or name images or features that "
            f"images{suffix} lacks: they are used without knowing which photos show them.",
        )
    rigs = [folder / f"{part}{suffix}" for part in RIGS]
    both = all(path.is_file() for path in rigs)
    if both and suffix == ".bin" and not rigs_are_whole(*rigs):
        warnings += (
            f"rigs.bin or frames.bin of the COLMAP model {folder} is damaged: the poses in images.bin are "
            "used.",
        )
        best = plain
    elif both:
        for path in rigs:
            _link(path, staged)
        best, told = _better(folder, staged, suffix, plain)
        warnings += told
    else:
        best = plain
    errors = _point_errors(best)
    if _misfit(best, errors):
        warnings += (
            f"the points of the COLMAP model {folder} miss its photos by {_pixels(_typical(errors, best))}, "
            "as if they were of another run: they don't guide the training.",
        )
    return best, warnings


def _without_tracks(folder: Path, staged: Path, suffix: str, error: NerfsceneError) -> Model:
    """The model in ``staged``, with its points but not their tracks. Raises ``error`` if that fails too.

    A program or person may have removed images without removing them from the points, and some programs
    write points with tracks but no features for them.
    """
    name = f"points3D{suffix}"
    if not (folder / name).is_file():
        raise error
    (staged / name).unlink()
    write = text_points_without_tracks if suffix == ".txt" else points_without_tracks
    write(folder / name, staged / name)
    try:
        return _load(folder, staged)
    except NerfsceneError:
        raise error from None


def _better(folder: Path, staged: Path, suffix: str, plain: Model) -> tuple[Model, tuple[str, ...]]:
    """``plain``, or the model with its poses from rigs and frames where these alone fit the points.

    Raises NerfsceneError when the two disagree and neither fits.
    """
    images, frames = f"images{suffix}", f"frames{suffix}"
    try:
        framed = _load(folder, staged)
        same_images = set(framed.reg_image_ids()) == set(plain.reg_image_ids())
        differ = not same_images or _poses_differ(plain, framed)
    except (NerfsceneError, *FROM_PYCOLMAP):
        same_images = False
    if not same_images:
        return plain, (
            f"{frames} of the COLMAP model {folder} lists other images than {images}, as if an older program "
            f"had changed the model: the poses in {images} are used.",
        )
    if not differ:
        return plain, ()
    errors, others = _point_errors(plain), _point_errors(framed)
    known = len(errors) > 0 and len(others) > 0
    typical, other = _typical(errors, plain), _typical(others, framed)
    if not known or (_misfit(plain, errors) and _misfit(framed, others)):
        neither = f"neither fits its points ({_pixels(typical)} and {_pixels(other)})"
        raise NerfsceneError(
            f"{folder} is a COLMAP model with other poses in {images} than in {frames}, and "
            f"{neither if known else 'no points that show which are right'}: delete {frames} and "
            f"rigs{suffix} if another program changed the model since, or export the model again."
        )
    if other < typical:
        return framed, (
            f"the poses in {images} of the COLMAP model {folder} are not used, because those in {frames} fit "
            f"its points better ({_pixels(other)} off instead of {_pixels(typical)}).",
        )
    return plain, (
        f"the poses in {frames} of the COLMAP model {folder} are not used, because those in {images} fit its "
        f"points better ({_pixels(typical)} off instead of {_pixels(other)}), as if an older program had "
        "changed the model.",
    )


def _misfit(rec: Model, errors: Array) -> bool:
    """Whether points with these errors (n,) can't belong to the cameras of a model."""
    return len(errors) > 0 and float(np.median(errors)) > MISFIT * _longer_side(rec)


def _typical(errors: Array, rec: Model) -> float:
    """The mean of errors in pixels. None counts more than a picture's side: points behind a camera would."""
    return float(np.minimum(errors, _longer_side(rec)).mean()) if len(errors) else 0.0


def _pixels(error: float) -> str:
    return f"{error:.1f} pixels"


def _poses_differ(one: Model, two: Model) -> bool:
    for i in set(posed_ids(one)) & set(posed_ids(two)):
        first, second = (rec.images[i].cam_from_world().matrix() for rec in (one, two))
        if not np.abs(first - second).max() <= SAME * (1 + np.abs(first).max()):
            return True
    return False


def _point_errors(rec: Model) -> Array:
    """The reprojection error of each point in pixels, by its cameras; (0,) if that can't be computed.

    Points that no image observes have none. Those in the model are updated along with it.
    """
    try:
        rec.update_point_3d_errors()
    except FROM_PYCOLMAP:  # the points name features that aren't listed
        return np.zeros(0)
    return np.array([p.error for p in rec.points3D.values() if p.track.length()], np.float64)


def _longer_side(rec: Model) -> float:
    return float(np.median([max(c.width, c.height) for c in rec.cameras.values()] or [0]))


def _sparse_model(folder: Path, rec: Model, names: dict[int, str], warnings: tuple[str, ...]) -> SparseModel:
    """The model in this package's types."""
    no_numbers = [key for key, p in rec.points3D.items() if not np.abs(p.xyz).max() <= FARTHEST]
    for key in no_numbers:
        rec.delete_point3D(key)
    if no_numbers:
        warnings += (
            f"{len(no_numbers)} points of the COLMAP model {folder} have NaN, infinite or impossibly large "
            "coordinates and were left out.",
        )
    errors = _point_errors(rec)
    errors = errors[errors < BEHIND]
    images = [rec.images[i] for i in posed_ids(rec)]
    lenses, lens_warnings = _lenses(folder, rec, sorted({image.camera_id for image in images}))
    points = list(rec.points3D.values())
    seen = well_determined(rec)
    return SparseModel(
        names=tuple(names[image.image_id] for image in images),
        intrinsics=tuple(lenses[image.camera_id] for image in images),
        world_from_cam=tuple(map(_world_from_cam, images)),
        points=np.array([p.xyz for p in points], np.float64).reshape(-1, 3),
        point_colors=np.array([p.color for p in points], np.uint8).reshape(-1, 3),
        reprojection_error=float(errors.mean()) if len(errors) else None,
        seen=tuple(seen.get(image.image_id, np.zeros(0, np.int64)) for image in images),
        warnings=warnings + lens_warnings,
    )


def _world_from_cam(image: pycolmap.Image) -> Array:
    """The pose (4, 4) of an image; NaN where its quaternion is 0, which Eigen would take for the identity."""
    largest = float(np.abs(image.cam_from_world().rotation.quat).max())
    given = LEAST_QUATERNION < largest < 1 / LEAST_QUATERNION
    return mapping.world_from_cam(image) if given else np.full((4, 4), np.nan)


def _lenses(folder: Path, rec: Model, ids: Sequence[int]) -> tuple[dict[int, Intrinsics], tuple[str, ...]]:
    """The lenses of the cameras ``ids``, and a warning if one is visibly off."""
    found = {i: lens_of_camera(rec.cameras[i], str(folder)) for i in ids}
    worst = max(ids, key=lambda i: found[i][1], default=None)
    warnings: tuple[str, ...] = ()
    if worst is not None and found[worst][1] > NOTICEABLE:
        warnings = (
            f"{folder} uses the lens model {rec.cameras[worst].model_name}: the nearest supported lens is "
            f"off by up to {found[worst][1]:.1f} pixels; undistort the photos with COLMAP's "
            "image_undistorter for sharper results.",
        )
    return {i: lens for i, (lens, _) in found.items()}, warnings
