"""Capture → PosedCapture by structure from motion. ladder.py has the steps; this module keeps their result.

The work is done in ``<workdir>/posing.partial``, which is renamed to ``<workdir>/posing`` once it is
complete. That folder holds:

    images/       upright copies of the photos at working size, 00000.jpg … in the capture's order
    masks/        if any photo has a mask: 00000.jpg.png …, black where no features are wanted
    database.db   features and matches
    sparse/       the model, which COLMAP can open
    done.json     the photos and settings that this result is for (with others, posing runs again), and the
                  report of how the cameras were found
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from numpy.typing import NDArray

from nerfscene.cameras.cube import shots
from nerfscene.capture.folder import MIN_PHOTOS, StageListener, silent
from nerfscene.capture.work_folder import DONE, read_json, replacing
from nerfscene.config import PoseConfig
from nerfscene.errors import NerfsceneError
from nerfscene.posing import mapping
from nerfscene.posing.copies import working_size, write_copies, write_masks
from nerfscene.posing.ladder import Job, climb
from nerfscene.posing.sparse import SparseModel, not_connected_message, posed_from_photos
from nerfscene.types import Capture, Intrinsics, Lens, PosedCapture, PoseReport

GIVE_UP_BELOW = 0.1  # if less than this fraction of the photos is posed, a scene would mislead

PERSPECTIVE = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")
FISHEYE = ("SIMPLE_FISHEYE", "FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "OPENCV_FISHEYE")

# A point is well determined if at least this many photos observe it, from directions that span at least this
# angle (degrees), with at most this reprojection error (pixels).
KNOWN_BY, KNOWN_ANGLE, KNOWN_ERROR = 3, 1.5, 2.0


def pose(
    capture: Capture,
    workdir: Path,
    config: PoseConfig | None = None,
    progress: StageListener = silent,
) -> PosedCapture:
    """Estimates where each photo was taken and through which lens.

    Photos of the same size and EXIF focal length share one lens, unless they turn out to have different
    zooms. World coordinates and their scale are as COLMAP chooses them. A complete result in ``workdir`` for
    the same unchanged photos and settings is reused. Photos that don't connect are left out with a warning.
    ``reprojection_error`` is in pixels of the photos themselves, not of the working copies.
    Raises NerfsceneError when hardly any photos connect, or a photo can no longer be read.
    """
    config = config or PoseConfig()
    count = len(set(shots(capture.photos)))
    if count < MIN_PHOTOS:
        raise NerfsceneError(
            f"{capture.root} holds {count} usable photos: at least {MIN_PHOTOS} that "
            "show the same things from different places are needed."
        )
    done = Path(workdir) / "posing"
    report = make_once(
        done,
        _fingerprint(capture, config),
        lambda folder: asdict(_pose_into(folder, capture, config, progress)),
    )
    return posed_from_photos(capture, read_model(done / "sparse"), _report(report))


def make_once(
    done: Path, made_from: dict[str, object], make: Callable[[Path], dict[str, Any]]
) -> dict[str, Any]:
    """Fills the folder ``done`` with ``make``, unless it was already made from ``made_from``.

    ``make`` fills the new folder that it is given and returns a report, which this function returns too, also
    when the folder is reused. The folder gets its name only once ``make`` has succeeded.
    """
    content = read_json(done / DONE)
    kept = dict(content) if isinstance(content, dict) else {}
    report = kept.pop("report", None)
    if kept != made_from:
        with replacing(done) as partial:
            partial.mkdir(parents=True)
            with mapping.quiet():
                report = make(partial)
            (partial / DONE).write_text(json.dumps(made_from | {"report": report}, indent=1))
    return report if isinstance(report, dict) else {}


def read_model(folder: Path) -> SparseModel:
    """The COLMAP model in ``folder``, text or binary, with those of its images that have poses.

    Raises NerfsceneError when it can't be read or uses a lens model that this package doesn't support.
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
    seen = well_determined(rec)
    return SparseModel(
        names=tuple(image.name for image in images),
        intrinsics=tuple(_intrinsics(rec.cameras[i.camera_id], folder) for i in images),
        world_from_cam=tuple(mapping.world_from_cam(image) for image in images),
        points=np.array([p.xyz for p in points], np.float64).reshape(-1, 3),
        point_colors=np.array([p.color for p in points], np.uint8).reshape(-1, 3),
        reprojection_error=float(rec.compute_mean_reprojection_error()) if points else 0.0,
        seen=tuple(seen.get(image.image_id, np.zeros(0, np.int64)) for image in images),
    )


def well_determined(rec: pycolmap.Reconstruction) -> dict[int, NDArray[np.int64]]:
    """Per image id: the well-determined points that it observes, by their position in ``rec.points3D``."""
    centres = {i: rec.images[i].projection_center() for i in rec.reg_image_ids()}
    # One entry per observation; the observations of a point follow each other.
    images: list[int] = []
    points: list[int] = []
    rays: list[NDArray[np.float64]] = []
    for index, point in enumerate(rec.points3D.values()):
        observers = {e.image_id for e in point.track.elements} & centres.keys()
        if len(observers) >= KNOWN_BY and point.error <= KNOWN_ERROR:
            images += observers
            points += [index] * len(observers)
            rays += [centres[i] - point.xyz for i in observers]
    if not points:
        return {}
    image, point_of, ray = np.array(images), np.array(points), np.array(rays)
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    start = np.flatnonzero(np.diff(point_of, prepend=-1))  # where each point's observations begin
    segment = np.repeat(np.arange(len(start)), np.diff(np.append(start, len(point_of))))
    # The angle that a point's rays span: between the ray farthest from the first one, and the ray farthest
    # from that.
    reference = start[segment]
    for _ in range(2):
        distance = np.linalg.norm(ray - ray[reference], axis=1)
        farthest = np.lexsort((distance, segment))[np.append(start[1:], len(point_of)) - 1]
        reference = farthest[segment]
    angle = 2 * np.arcsin(np.clip(distance[farthest] / 2, 0, 1))
    known = angle[segment] >= np.radians(KNOWN_ANGLE)
    return {int(i): np.sort(point_of[known & (image == i)]) for i in np.unique(image)}


def _pose_into(folder: Path, capture: Capture, config: PoseConfig, progress: StageListener) -> PoseReport:
    """Writes copies, database and model into ``folder``; raises NerfsceneError if too few photos connect."""
    photos = capture.photos
    sizes = [working_size(photo, config.max_image_size) for photo in photos]
    write_copies(folder / "images", photos, sizes, progress)
    write_masks(folder / "masks", photos, sizes)
    best, report = climb(Job(folder, photos, sizes, config, progress))
    if best is None or report.photos_posed < max(MIN_PHOTOS, GIVE_UP_BELOW * len(set(shots(photos)))):
        raise NerfsceneError(not_connected_message(capture, report))
    best = mapping.with_full_lenses(best)
    (folder / "sparse").mkdir()
    best.write_binary(str(folder / "sparse"))
    return report


def _intrinsics(camera: pycolmap.Camera, folder: Path) -> Intrinsics:
    """COLMAP's camera as Intrinsics; ``folder``, which it was read from, is for the error message."""
    model = camera.model_name
    known = dict(zip(camera.params_info.split(", "), map(float, camera.params), strict=True))
    unsupported = any(known.get(name, 0.0) != 0 for name in ("k5", "k6"))
    unsupported |= model == "FULL_OPENCV" and known["k4"] != 0
    if model not in PERSPECTIVE + FISHEYE or unsupported:
        raise NerfsceneError(
            f"{folder} uses the lens model {model}, which is not fully supported: run COLMAP with OPENCV or "
            "OPENCV_FISHEYE, or undistort the photos first."
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
    """What the result depends on, for done.json."""
    photos = []
    for photo in capture.photos:
        stat = photo.path.stat()
        # Relative, so that a capture that was moved is still the same.
        name = os.path.relpath(photo.path, capture.root) if photo.panorama is None else photo.path.name
        photos.append([name, stat.st_size, stat.st_mtime_ns, photo.width, photo.height])
        if photo.mask is not None:
            stat = photo.mask.stat()
            photos.append([photo.mask.name, stat.st_size, stat.st_mtime_ns])
    return {"pycolmap": pycolmap.__version__, "config": asdict(config), "photos": photos}


def _report(content: dict[str, Any]) -> PoseReport | None:
    """The report kept in done.json; None if an older version wrote none."""
    if not content:
        return None
    known = {field.name: content[field.name] for field in fields(PoseReport) if field.name in content}
    apart = tuple(tuple(group) for group in known.pop("apart", ()))
    return PoseReport(**(known | {"tried": tuple(known.get("tried", ())), "apart": apart}))


def _one_line(error: Exception) -> str:
    """The last line of an error's message, or its type's name if it has none."""
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
