"""Capture → PosedCapture by structure from motion. ladder.py has the steps; this module keeps their result.

The work is done in ``<workdir>/posing.partial``, which is renamed to ``<workdir>/posing`` once it is
complete. An interrupted run is gone on with. That folder holds:

    images/       upright copies of the photos at working size, 00000.jpg … in the capture's order
    masks/        if any photo has a mask: 00000.jpg.png …, black where no features are wanted
    database.db   features and matches
    sparse/       the model, which COLMAP can open
    begun.json    until the model is complete: what an interrupted run leaves (begun.py)
    done.json     the photos and settings that this result is for (with others, posing runs again), and the
                  report of how the cameras were found
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pycolmap

from nerfscene.cameras.cube import shots
from nerfscene.capture.folder import MIN_PHOTOS, StageListener, silent
from nerfscene.capture.work_folder import read_done, replacing, write_done
from nerfscene.config import PoseConfig
from nerfscene.errors import NerfsceneError
from nerfscene.posing import begun, mapping
from nerfscene.posing.adjusting import finished
from nerfscene.posing.climb import Job
from nerfscene.posing.colours import colour
from nerfscene.posing.copies import working_size, write_copies, write_masks
from nerfscene.posing.ladder import climb
from nerfscene.posing.model_files import read_model
from nerfscene.posing.room import check_writable, write_model
from nerfscene.posing.sparse import not_connected_message, posed_from_photos
from nerfscene.types import Capture, PosedCapture, PoseReport

GIVE_UP_BELOW = 0.1  # if less than this fraction of the photos is posed, a scene would mislead


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
    ``reprojection_error`` is in pixels of the working copies, in which features were found.
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
    made_from = _fingerprint(capture, config)
    report = make_once(
        done, made_from, lambda folder: asdict(_pose_into(folder, capture, config, progress, made_from))
    )
    return posed_from_photos(capture, read_model(done / "sparse"), _report(report))


def make_once(
    done: Path, made_from: dict[str, object], make: Callable[[Path], dict[str, Any]]
) -> dict[str, Any]:
    """Fills the folder ``done`` with ``make``, unless it was already made from ``made_from``.

    ``make`` fills the new folder that it is given and returns a report, which this function returns too, also
    when the folder is reused. The folder gets its name only once ``make`` has succeeded. What an interrupted
    run left comes back to ``make``, if begun.json says that it is of use.
    """
    content = read_done(done)
    kept = dict(content) if isinstance(content, dict) else {}
    report = kept.pop("report", None)
    if kept != made_from:
        with replacing(done, lambda partial: begun.can_go_on(partial, made_from)) as partial:
            partial.mkdir(parents=True, exist_ok=True)
            try:
                with mapping.quiet():
                    report = make(partial)
            except RuntimeError:  # COLMAP's, which doesn't say that the disk is full
                check_writable(partial)
                raise
            write_done(partial, made_from | {"report": report})
    return report if isinstance(report, dict) else {}


def _pose_into(
    folder: Path,
    capture: Capture,
    config: PoseConfig,
    progress: StageListener,
    made_from: dict[str, object],
) -> PoseReport:
    """Writes copies, database and model into ``folder``; raises NerfsceneError if too few photos connect."""
    photos = capture.photos
    sizes = [working_size(photo, config.max_image_size) for photo in photos]
    if begun.noted(folder):
        begun.tidy(folder)
    else:
        write_copies(folder / "images", photos, sizes, progress)
        write_masks(folder / "masks", photos, sizes)
        begun.note(folder, made_from)
    best, report = climb(Job(folder, photos, sizes, config, progress))
    if best is None or report.photos_posed < max(MIN_PHOTOS, GIVE_UP_BELOW * len(set(shots(photos)))):
        raise NerfsceneError(not_connected_message(capture, report))
    best = finished(best)
    colour(best, folder / "images")
    write_model(best, folder / "sparse")
    return report


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
    """The report kept in done.json; None if an older version wrote none, or it is damaged."""
    if not content:
        return None
    known = {field.name: content[field.name] for field in fields(PoseReport) if field.name in content}
    try:
        apart = tuple(tuple(map(str, group)) for group in known.pop("apart", ()))
        report = PoseReport(**(known | {"tried": tuple(known.get("tried", ())), "apart": apart}))
    except TypeError:
        return None
    counts = (
        report.photos_posed,
        report.models,
        report.pairs_compared,
        report.pairs_connected,
        report.points,
    )
    sound = isinstance(report.found_by, str) and all(isinstance(step, str) for step in report.tried)
    return report if sound and all(isinstance(count, int) for count in counts) else None
