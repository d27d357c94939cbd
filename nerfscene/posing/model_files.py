"""Reads COLMAP's models from disk, text or binary, of versions 3 and 4, also where their files disagree.

COLMAP 4 keeps poses twice: per image in ``images.*``, as all versions do, and per frame of a rig in
``rigs.*`` and ``frames.*``. Programs that don't know the latter leave them as they were, and pycolmap then
takes the poses from them, but the points from the new files. So the poses in ``images.*`` are used, unless
those of the frames fit the points better.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pycolmap

from nerfscene.errors import NerfsceneError
from nerfscene.posing import mapping
from nerfscene.posing.known_points import posed_ids, well_determined
from nerfscene.posing.mapping import Model
from nerfscene.posing.model_lenses import lens_of_camera
from nerfscene.posing.model_text import plain_cameras, plain_images, unknown_lens
from nerfscene.posing.sparse import SparseModel
from nerfscene.types import Array, Intrinsics

NEEDED, RIGS = ("cameras", "images"), ("rigs", "frames")
SAME = 1e-5  # largest difference of two poses that are the same, relative to their largest number
MISFIT = 0.01  # of the picture's longer side: a larger reprojection error (median) means other cameras
BEHIND = 1e9  # pixels: pycolmap gives points behind a camera a larger error than this
NOTICEABLE = 0.5  # pixels: a lens that differs by more deserves a warning


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model's files. Points may be missing: some programs write none."""
    return _suffix(folder) is not None


def images_file(folder: Path) -> Path:
    """The file that lists a model's images, for messages."""
    return folder / f"images{_suffix(folder) or '.bin'}"


def read_model(folder: Path) -> SparseModel:
    """The COLMAP model in ``folder``, text or binary, with those of its images that have poses.

    Its reprojection error is computed from its points and cameras: what the file says of it may be stale.
    Raises NerfsceneError when the model can't be read, its poses and points contradict each other, or it uses
    a lens model that nothing here comes near.
    """
    suffix = _suffix(folder)
    if suffix is None:
        raise NerfsceneError(
            f"{folder} holds no COLMAP model: it lacks cameras.bin and images.bin (or .txt)."
        )
    with TemporaryDirectory(prefix="nerfscene-") as place, mapping.quiet():
        staged = Path(place)
        try:
            names = _stage(folder, staged, suffix)
            rec, warnings = _consistent(folder, staged, suffix)
        except OSError as error:
            raise NerfsceneError(f"{folder} cannot be read as a COLMAP model ({error}).") from error
    return _sparse_model(folder, rec, names or _names(rec, folder), warnings)


def _suffix(folder: Path) -> str | None:
    """The ending of a model's files, or None if there is no model; binary goes first, as in COLMAP."""
    complete = (s for s in (".bin", ".txt") if all((folder / f"{part}{s}").is_file() for part in NEEDED))
    return next(complete, None)


def _stage(folder: Path, staged: Path, suffix: str) -> dict[int, str] | None:
    """Puts the model without rigs and frames into the folder ``staged``; of a text model, returns the names.

    pycolmap reads that folder. Text is rewritten so that it can: see model_text.
    """
    points = f"points3D{suffix}"
    if (folder / points).is_file():
        _link(folder / points, staged)
    else:
        (staged / points).write_bytes(b"" if suffix == ".txt" else struct.pack("<Q", 0))
    if suffix == ".bin":
        for part in NEEDED:
            _link(folder / f"{part}{suffix}", staged)
        return None
    cameras = plain_cameras(folder / "cameras.txt", staged / "cameras.txt")
    return plain_images(folder / "images.txt", staged / "images.txt", cameras)


def _link(path: Path, staged: Path) -> None:
    try:
        (staged / path.name).symlink_to(path.absolute())
    except OSError:  # not every file system has links
        shutil.copyfile(path, staged / path.name)


def _load(folder: Path, staged: Path, suffix: str) -> Model:
    """The model in ``staged``, which came from ``folder``, by pycolmap."""
    try:
        return pycolmap.Reconstruction(str(staged))
    except (ValueError, RuntimeError, OSError, IndexError, KeyError) as error:
        if suffix == ".bin":
            _check_lens_numbers(folder / "cameras.bin")
        raise NerfsceneError(
            f"{folder} cannot be read as a COLMAP model ({_one_line(error)}): export it again."
        ) from error


def _consistent(folder: Path, staged: Path, suffix: str) -> tuple[Model, tuple[str, ...]]:
    """The model with those of its poses that fit its points, and warnings."""
    warnings: tuple[str, ...] = ()
    try:
        plain = _load(folder, staged, suffix)
    except NerfsceneError as error:
        # A program or person may have removed images without removing them from the points.
        points = staged / f"points3D{suffix}"
        points.unlink()
        points.write_bytes(b"" if suffix == ".txt" else struct.pack("<Q", 0))
        try:
            plain = _load(folder, staged, suffix)
        except NerfsceneError:
            raise error from None
        warnings = (
            f"the points of the COLMAP model {folder} are not used, because they can't be read together with "
            f"its images ({_reason(error)}).",
        )
    error_here = _median_error(plain)
    rigs = [folder / f"{part}{suffix}" for part in RIGS]
    if all(path.is_file() for path in rigs):
        for path in rigs:
            _link(path, staged)
        return _better(folder, staged, suffix, plain, error_here, warnings)
    if error_here is not None and error_here > MISFIT * _longer_side(plain):
        warnings += (
            f"the points of the COLMAP model {folder} miss its photos by {error_here:.0f} pixels (median): "
            "its cameras or its points are of another run.",
        )
    return plain, warnings


def _better(
    folder: Path,
    staged: Path,
    suffix: str,
    plain: Model,
    error: float | None,
    warnings: tuple[str, ...],
) -> tuple[Model, tuple[str, ...]]:
    """``plain``, or the model with its poses from rigs and frames where these alone fit the points.

    ``error``: of ``plain``, median in pixels. Raises NerfsceneError when the two disagree and neither fits.
    """
    unused = f"the poses in frames{suffix} of the COLMAP model {folder} are not used"
    try:
        framed = _load(folder, staged, suffix)
        lost = sorted(set(framed.reg_image_ids()) - set(framed.images.keys()))
        differ = _poses_differ(plain, framed)
    except (NerfsceneError, ValueError, RuntimeError, IndexError, KeyError) as caught:
        reason = _reason(caught) if isinstance(caught, NerfsceneError) else _one_line(caught)
        return plain, (*warnings, f"{unused}, because they don't go with images{suffix} ({reason}).")
    if lost:
        warnings += (
            f"frames{suffix} of the COLMAP model {folder} lists {len(lost)} images that images{suffix} "
            "lacks: they were left out.",
        )
    if not differ:
        return plain, warnings
    other = _median_error(framed)
    best = min((e for e in (error, other) if e is not None), default=np.inf)
    if best > MISFIT * _longer_side(plain):
        fit = f"and neither fits its points ({_pixels(error)} and {_pixels(other)})"
        raise NerfsceneError(
            f"{folder} is a COLMAP model with other poses in images{suffix} than in frames{suffix}, "
            f"{fit if np.isfinite(best) else 'and no points that show which are right'}: delete "
            f"frames{suffix} and rigs{suffix} if another program changed the model since, or export the "
            "model again."
        )
    if error is None or (other is not None and other < error):
        unused = f"the poses in images{suffix} of the COLMAP model {folder} are not used"
        return framed, (*warnings, f"{unused}, because those in frames{suffix} fit its points better.")
    fits = f"({_pixels(error)} from the points' places in the photos instead of {_pixels(other)})"
    return plain, (*warnings, f"{unused}, because those in images{suffix} fit its points better {fits}.")


def _pixels(error: float | None) -> str:
    return "unknown" if error is None else "very far" if error > BEHIND else f"{error:.1f} pixels"


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
    except (ValueError, RuntimeError, IndexError, KeyError):  # the points name features that aren't listed
        return np.zeros(0)
    return np.array([p.error for p in rec.points3D.values() if p.track.length()], np.float64)


def _median_error(rec: Model) -> float | None:
    errors = _point_errors(rec)
    return float(np.median(errors)) if len(errors) else None


def _longer_side(rec: Model) -> float:
    return float(np.median([max(c.width, c.height) for c in rec.cameras.values()] or [0]))


def _sparse_model(folder: Path, rec: Model, names: dict[int, str], warnings: tuple[str, ...]) -> SparseModel:
    """The model in this package's types."""
    for key in [k for k, p in rec.points3D.items() if not np.isfinite(p.xyz).all()]:
        with suppress(ValueError, RuntimeError, IndexError, KeyError):
            rec.delete_point3D(key)
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
    """The pose (4, 4) of an image; NaN where it has no rotation, which Eigen would take for the identity."""
    given = np.linalg.norm(image.cam_from_world().rotation.quat) > 1e-6
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


def _names(rec: Model, folder: Path) -> dict[int, str]:
    """The images' names by their ids, of a binary model."""
    try:
        return {i: image.name for i, image in rec.images.items()}
    except UnicodeDecodeError:  # written on Windows, in the alphabet of its own country
        return _names_in(folder / "images.bin")


def _names_in(path: Path) -> dict[int, str]:
    """The names in an images.bin, by id; what is not UTF-8 in them is replaced by U+FFFD."""
    data = path.read_bytes()
    head = struct.Struct("<I7dI")  # id, quaternion, translation, camera id; then name, 0, and the features
    names, at = {}, 8
    for _ in range(struct.unpack_from("<Q", data)[0]):
        (image_id, *_pose) = head.unpack_from(data, at)
        end = data.index(b"\0", at + head.size)
        names[image_id] = data[at + head.size : end].decode("utf-8", errors="replace")
        at = end + 9 + 24 * struct.unpack_from("<Q", data, end + 1)[0]
    return names


def _check_lens_numbers(path: Path) -> None:
    """Raises NerfsceneError if a cameras.bin has a lens model that this pycolmap doesn't know."""
    data = path.read_bytes()
    at = 8
    try:
        for _ in range(struct.unpack_from("<Q", data)[0]):
            model = struct.unpack_from("<IiQQ", data, at)[1]
            kinds = [kind for kind in pycolmap.CameraModelId.__members__.values() if int(kind) == model]
            if model < 0 or not kinds:
                raise NerfsceneError(unknown_lens(path, f"number {model}"))
            at += 24 + 8 * len(pycolmap.Camera.create_from_model_id(1, kinds[0], 1.0, 1, 1).params)
    except (struct.error, ValueError, RuntimeError):
        return  # the file is damaged, which is what the caller says


def _one_line(error: Exception) -> str:
    """The last line of an error's message, or its type's name if it has none."""
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__


def _reason(error: NerfsceneError) -> str:
    """What pycolmap said, from an error of _load."""
    return _one_line(error.__cause__) if isinstance(error.__cause__, Exception) else str(error)
