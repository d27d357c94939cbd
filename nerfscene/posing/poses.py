"""Capture → PosedCapture by structure from motion; ladder.py says in which steps.

The work is done in ``<workdir>/posing.partial`` and renamed to ``<workdir>/posing`` once it is
complete, so that what is found under that name can be trusted:

    images/       upright copies of the photos at working size, 00000.jpg … in the capture's order
    masks/        of those that have one, 00000.jpg.png …, black where no features are wanted
    database.db   features and matches
    sparse/       the model (COLMAP opens it)
    done.json     which photos and settings it is for; anything else there means pose again.
                  Beside that, how the cameras were found
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from numpy.typing import NDArray

from nerfscene.capture.folder import MIN_PHOTOS, Progress, silent
from nerfscene.config import PoseConfig
from nerfscene.errors import NerfsceneError
from nerfscene.posing import mapping
from nerfscene.posing.copies import working_size, write_copies, write_masks
from nerfscene.posing.ladder import Job, climb
from nerfscene.posing.sparse import SparseModel, not_connected_message, posed_from_photos
from nerfscene.types import Capture, Intrinsics, Lens, PosedCapture, PoseReport

GIVE_UP_BELOW = 0.1  # share of photos posed, under which a scene would mislead

PERSPECTIVE = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")
FISHEYE = ("SIMPLE_FISHEYE", "FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "OPENCV_FISHEYE")


def pose(
    capture: Capture,
    workdir: Path,
    config: PoseConfig | None = None,
    progress: Progress = silent,
) -> PosedCapture:
    """Where each photo was taken from, and through which lens.

    Photos of the same size (and EXIF focal length) share one lens. World coordinates, scale
    included, are as COLMAP leaves them. A complete result in ``workdir`` for the same unchanged
    photos and settings is taken as it is. Photos that don't connect are left out with a warning.
    ``reprojection_error`` is in pixels of the photos themselves, not of the working size.
    Raises NerfsceneError when hardly any photos connect, or one can no longer be read.
    """
    config = config or PoseConfig()
    if len(capture.photos) < MIN_PHOTOS:
        raise NerfsceneError(
            f"{capture.root} holds {len(capture.photos)} usable photos: at least {MIN_PHOTOS} that "
            "show the same things from different places are needed."
        )
    done = Path(workdir) / "posing"
    found = once(
        done,
        _fingerprint(capture, config),
        lambda folder: asdict(_pose_into(folder, capture, config, progress)),
    )
    return posed_from_photos(capture, read_model(done / "sparse"), _report(found))


def once(done: Path, made_from: dict[str, object], make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """What ``make`` reported, when it filled the folder ``done``; called only where that isn't from the same.

    It is given a folder of another name, which is renamed when it is through and removed where it is not.
    """
    kept = _read_json(done / "done.json")
    found = kept.pop("report", None)
    if kept != made_from:
        partial = done.with_name(done.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            with mapping.quiet():
                found = make(partial)
            (partial / "done.json").write_text(json.dumps(made_from | {"report": found}, indent=1))
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(done, ignore_errors=True)
        partial.rename(done)
    return found if isinstance(found, dict) else {}


def read_model(folder: Path) -> SparseModel:
    """A COLMAP model, text or binary, with the images that have poses.

    Raises NerfsceneError when it cannot be read or uses a lens this package doesn't know.
    """
    try:
        with mapping.quiet():
            rec = pycolmap.Reconstruction(str(folder))
    except (ValueError, RuntimeError, OSError, IndexError) as error:
        raise NerfsceneError(
            f"{folder} cannot be read as a COLMAP model ({_one_line(error)}): export it again."
        ) from error
    images = [rec.images[i] for i in sorted(rec.reg_image_ids())]
    points = list(rec.points3D.values())
    seen = well_known(rec)
    return SparseModel(
        names=tuple(image.name for image in images),
        intrinsics=tuple(_intrinsics(rec.cameras[i.camera_id], folder) for i in images),
        world_from_cam=tuple(mapping.world_from_cam(image) for image in images),
        points=np.array([p.xyz for p in points], np.float64).reshape(-1, 3),
        point_colors=np.array([p.color for p in points], np.uint8).reshape(-1, 3),
        reprojection_error=float(rec.compute_mean_reprojection_error()) if points else 0.0,
        seen=tuple(seen.get(image.image_id, np.zeros(0, np.int64)) for image in images),
    )


# A point's place is well known where so many photos show it, from directions that differ by so many degrees,
# and no farther than so many pixels from where it projects to.
KNOWN_BY, KNOWN_ANGLE, KNOWN_ERROR = 3, 1.5, 2.0


def well_known(rec: pycolmap.Reconstruction) -> dict[int, NDArray[np.int64]]:
    """Of each image, by its id: the running numbers of the points it shows whose places are well known."""
    centres = {i: rec.images[i].projection_center() for i in rec.reg_image_ids()}
    images: list[int] = []
    owners: list[int] = []
    rays: list[NDArray[np.float64]] = []
    for number, point in enumerate(rec.points3D.values()):
        by = {e.image_id for e in point.track.elements} & centres.keys()
        if len(by) >= KNOWN_BY and point.error <= KNOWN_ERROR:
            images += by
            owners += [number] * len(by)
            rays += [centres[i] - point.xyz for i in by]
    if not owners:
        return {}
    image, owner, ray = np.array(images), np.array(owners), np.array(rays)
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    start = np.flatnonzero(np.diff(owner, prepend=-1))  # where each point's rays begin
    which = np.repeat(np.arange(len(start)), np.diff(np.append(start, len(owner))))
    # Between the ray that is farthest from the first and the one that is farthest from that.
    aside = start[which]
    for _ in range(2):
        apart = np.linalg.norm(ray - ray[aside], axis=1)
        last = np.lexsort((apart, which))[np.append(start[1:], len(owner)) - 1]
        aside = last[which]
    widest = 2 * np.arcsin(np.clip(apart[last] / 2, 0, 1))
    known = widest[which] >= np.radians(KNOWN_ANGLE)
    return {int(i): np.sort(owner[known & (image == i)]) for i in np.unique(image)}


def _pose_into(folder: Path, capture: Capture, config: PoseConfig, progress: Progress) -> PoseReport:
    """Leaves images, database and sparse model in ``folder``."""
    photos = capture.photos
    sizes = [working_size(photo, config.max_image_size) for photo in photos]
    write_copies(folder / "images", photos, sizes, progress)
    write_masks(folder / "masks", photos, sizes)
    best, report = climb(Job(folder, photos, sizes, config, progress))
    if best is None or report.photos_posed < max(MIN_PHOTOS, GIVE_UP_BELOW * len(photos)):
        raise NerfsceneError(not_connected_message(capture, report))
    best = mapping.with_full_lenses(best)
    (folder / "sparse").mkdir()
    best.write_binary(str(folder / "sparse"))
    return report


def _intrinsics(camera: pycolmap.Camera, where: Path) -> Intrinsics:
    model = camera.model_name
    known = dict(zip(camera.params_info.split(", "), map(float, camera.params), strict=True))
    unsupported = any(known.get(name, 0.0) != 0 for name in ("k5", "k6"))
    unsupported |= model == "FULL_OPENCV" and known["k4"] != 0
    if model not in PERSPECTIVE + FISHEYE or unsupported:
        raise NerfsceneError(
            f"{where} uses the lens model {model}, which is not supported in full: run COLMAP with "
            "OPENCV or OPENCV_FISHEYE, or undistort the photos first."
        )
    lens: Lens = "fisheye" if model in FISHEYE else "perspective"
    order = ("k1", "k2", "k3", "k4") if lens == "fisheye" else ("k1", "k2", "p1", "p2", "k3")
    known.setdefault("k1", known.get("k", 0.0))
    coefficients = [known.get(name, 0.0) for name in order] + [0.0]
    focal = known.get("f", 0.0)
    return Intrinsics(
        width=camera.width,
        height=camera.height,
        fx=known.get("fx", focal),
        fy=known.get("fy", focal),
        cx=known["cx"],
        cy=known["cy"],
        lens=lens,
        distortion=tuple(coefficients[:5]),  # type: ignore[arg-type]
    )


def _fingerprint(capture: Capture, config: PoseConfig) -> dict[str, object]:
    photos = []
    for photo in capture.photos:
        stat = photo.path.stat()
        name = os.path.relpath(photo.path, capture.root)  # a moved capture is the same capture
        photos.append([name, stat.st_size, stat.st_mtime_ns, photo.width, photo.height])
        if photo.mask is not None:
            stat = photo.mask.stat()
            photos.append([photo.mask.name, stat.st_size, stat.st_mtime_ns])
    return {"pycolmap": pycolmap.__version__, "config": asdict(config), "photos": photos}


def _read_json(path: Path) -> dict[str, object]:
    """The object in a file; empty where there is none."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _report(content: dict[str, Any]) -> PoseReport | None:
    """What done.json keeps; None where an older version left nothing."""
    if not content:
        return None
    known = {field.name: content[field.name] for field in fields(PoseReport) if field.name in content}
    apart = tuple(tuple(group) for group in known.pop("apart", ()))
    return PoseReport(**(known | {"tried": tuple(known.get("tried", ())), "apart": apart}))


def _one_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
