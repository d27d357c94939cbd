"""Triangulates sparse points for photos that came with cameras, and moves the cameras if they don't fit.

Apps and transforms.json give the poses of photos but no points. Matched features give points, which tell
training how far away things are (``training/depths.py``), and show how well the cameras fit: a phone's own
tracking drifts, and can be off by several pixels. COLMAP's bundle adjustment then refines the given cameras.

``<workdir>/points`` keeps the model in sparse/, and in done.json what it was made from.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from nerfscene.cameras.algebra import scaled
from nerfscene.cameras.cube import shots
from nerfscene.capture.folder import StageListener, silent
from nerfscene.config import PoseConfig
from nerfscene.posing import mapping, matching, zooms
from nerfscene.posing.adjusting import LARGEST_ERROR, Model, fit_poses
from nerfscene.posing.copies import copy_index, working_size, write_copies, write_masks
from nerfscene.posing.given_pairs import can_have_points, pairs_of_given
from nerfscene.posing.model_files import read_model
from nerfscene.posing.pairs import Pair, groups
from nerfscene.posing.poses import make_once
from nerfscene.posing.rigs import cut_from_panoramas, posed_model, set_rigs
from nerfscene.posing.room import write_model
from nerfscene.types import Array, Intrinsics, Photo, PosedCapture, View

MANY = 100  # photos: with more, half the features per photo are enough
OFF = 1.0  # px of reprojection error: with more, moving the cameras is tried
CLOSER = 0.5  # moved cameras are kept if their error is at most this fraction of the given ones'
LOOSE = 4  # factor on the largest error of an observation while the cameras are off
MOST_TURNED = 10.0  # degrees, median: cameras that turn by more no longer follow the given ones
MOST_BLIND = 0.1  # fraction of the photos that may observe too few points to determine their poses
FEWEST_POINTS = 100  # fewer may be there by chance
CONNECTED = 0.9  # fraction of the photos that their cameras' choice of pairs should connect
FEWER = 0.5  # moved cameras must give at least this fraction of the given ones' points
ANY = 1e9  # a limit on lens parameters that never applies: given lenses are trusted


def with_points(
    posed: PosedCapture,
    workdir: Path,
    config: PoseConfig | None = None,
    move: bool = True,
    progress: StageListener = silent,
) -> PosedCapture:
    """The capture with sparse points, and with cameras that fit them, in the same world coordinates.

    Returned unchanged if it has points already, consists of cut-outs (their silhouettes are better evidence),
    or its photos are too few, too many or too small. With ``move``, cameras that are off by more than a pixel
    of the working size are moved if that at least halves the error; a warning says so. A result in
    ``workdir`` for the same photos, cameras and settings is reused. Raises NerfsceneError when a photo can't
    be read.
    """
    if not can_have_points(posed):
        return posed
    config = config or PoseConfig()
    done = Path(workdir) / "points"
    try:
        found = make_once(
            done,
            _made_from(posed, config, move),
            lambda folder: _fill(folder, posed, config, move, progress),
        )
    except (RuntimeError, ValueError) as error:  # from COLMAP; a scene without points is possible
        warning = f"no points could be triangulated from the cameras that came with the photos ({error})"
        return replace(posed, warnings=(*posed.warnings, warning))
    posed = replace(posed, warnings=posed.warnings + _misfit_warning(found, move))
    if not found["points"]:
        return posed
    model = read_model(done / "sparse")
    views = list(posed.views)
    for name, pose, seen in zip(model.names, model.world_from_cam, model.seen, strict=True):
        view = views[copy_index(name)]
        views[copy_index(name)] = replace(
            view, seen=seen, world_from_cam=pose if found["moved"] else view.world_from_cam
        )
    return replace(
        posed,
        views=tuple(views),
        points=model.points,
        point_colors=model.point_colors,
        reprojection_error=found["error"],
        reprojection_size=found.get("size"),  # a result by an older version is in pixels of the photos
    )


def _misfit_warning(found: dict[str, Any], move: bool) -> tuple[str, ...]:
    """A warning if the given cameras don't fit the photos. ``found`` is what _fill returned."""
    fit, at = "hardly fit them", ""
    if found["given"] is not None:
        at = f" (of photos at {found['size']:,})" if found.get("size") else ""
        fit = f"fit them only to {found['given']:.1f} pixels{at}"
    fit = f"the cameras that came with the photos {fit}"
    if found["moved"]:
        error = f"{found['error']:.1f} pixels"
        return (f"{fit}, so they were moved to fit to {error}; --no-refine-cameras keeps them as they are",)
    if not found["points"]:
        warning = (
            "the photos overlap, but no points could be triangulated from the cameras that came with them: "
            "the cameras don't fit, all photos were taken from one place, or they show too little in common"
        )
        return (warning,) if found["connected"] else ()
    alone = "moving them helps little; the photos alone, in a folder without cameras, may give a better scene"
    return (f"{fit}, and {alone if move else 'are kept as they are'}",) if found["off"] else ()


def _fill(
    folder: Path, posed: PosedCapture, config: PoseConfig, move: bool, progress: StageListener
) -> dict[str, Any]:
    """Writes the model to ``folder``/sparse, and returns what is kept of it in done.json.

    ``points``: their number, 0 if too few. ``moved``: whether the cameras were moved. ``off``: whether the
    given ones don't fit. ``connected``: whether matches connect all photos. ``given`` and ``error``: mean
    reprojection error before and after, in pixels of photos whose longer side is ``size``; ``given`` is None
    with too few points.
    """
    photos = [
        Photo(v.path, v.intrinsics.width, v.intrinsics.height, None, v.mask, v.mask_turns, v.panorama, v.face)
        for v in posed.views
    ]
    sizes = [working_size(photo, config.max_image_size) for photo in photos]
    write_copies(folder / "images", photos, sizes, progress)
    write_masks(folder / "masks", photos, sizes)
    effort = matching.usual_effort(sizes, config.max_features // (2 if len(photos) > MANY else 1))
    matching.find_features(folder, photos, sizes, effort, "finding features", progress)
    given = _as_given(folder / "database.db", posed.views, photos, sizes)
    model = _matched(given, folder, posed.views, photos, config, progress)
    before = model.compute_mean_reprojection_error()
    reliable = len(model.points3D) >= FEWEST_POINTS
    moved = None
    if move and not (reliable and before <= OFF):
        progress("moving cameras to fit", 0.0)
        moved = _moved(given, folder, config.seed)
        fewest = max(FEWEST_POINTS, FEWER * len(model.points3D))
        limit = CLOSER * before if reliable else OFF
        if moved is not None and len(moved.points3D) >= fewest:
            model = moved if moved.compute_mean_reprojection_error() <= limit else model
    write_model(model, folder / "sparse")
    connected = groups(len(photos), matching.connections(folder / "database.db"))[0]
    for temporary in ("images", "masks"):
        shutil.rmtree(folder / temporary, ignore_errors=True)
    (folder / "database.db").unlink()
    progress("placing points", 1.0)
    return {
        "points": len(model.points3D) if len(model.points3D) >= FEWEST_POINTS else 0,
        "moved": model is moved,
        "off": bool(before > OFF),
        "connected": len(connected) == len(photos),
        "given": before if reliable else None,
        "error": model.compute_mean_reprojection_error(),
        "size": max(map(max, sizes)),
    }


def _matched(
    given: Model,
    folder: Path,
    views: Sequence[View],
    photos: Sequence[Photo],
    config: PoseConfig,
    progress: StageListener,
) -> Model:
    """The given cameras with points from the matches of photos that, by their cameras, show the same.

    Cameras of other photos, for one, choose the wrong pairs. So if most photos are not connected by them, or
    hardly any points come of them, photos that look alike are matched too.
    """
    database, taken, still = folder / "database.db", shots(views), cut_from_panoramas(photos)

    def alike() -> list[Pair]:
        return matching.pairs_to_match(database, taken, config.matcher, False, progress)

    pairs = pairs_of_given(views, taken) if config.matcher == "auto" else alike()
    matching.match(database, pairs, False, config.seed, "matching photos", progress, still)
    progress("placing points", 0.0)
    model = _triangulated(given, folder, config.seed)
    connected = groups(len(photos), matching.connections(database))[0]
    if len(connected) >= CONNECTED * len(photos) and len(model.points3D) >= FEWEST_POINTS:
        return model
    more = sorted(set(alike()) - set(pairs)) if config.matcher == "auto" else []
    if not more:
        return model
    matching.match(database, more, False, config.seed, "matching photos", progress, still)
    progress("placing points", 0.0)
    return _triangulated(given, folder, config.seed)


def _as_given(
    database: Path, views: Sequence[View], photos: Sequence[Photo], sizes: Sequence[matching.Size]
) -> Model:
    """A model of the given cameras, without points. Also writes their lenses and rigs to the database."""
    with pycolmap.Database.open(database) as db:
        ids = {copy_index(image.name): image.image_id for image in db.read_all_images()}
    lenses: dict[Intrinsics, pycolmap.Camera] = {}
    lens_of = {}
    for i, view in enumerate(views):
        lens = scaled(view.intrinsics, *sizes[i])
        lens_of[ids[i]] = lenses.setdefault(lens, colmap_lens(len(lenses) + 1, lens))
    zooms.set_lenses_of(database, lens_of)
    set_rigs(database, photos, sizes)
    return posed_model(database, {ids[i]: view.world_from_cam for i, view in enumerate(views)})


def colmap_lens(key: int, lens: Intrinsics) -> pycolmap.Camera:
    """COLMAP's camera, with id ``key``, for a lens: FULL_OPENCV or OPENCV_FISHEYE."""
    name = "OPENCV_FISHEYE" if lens.lens == "fisheye" else "FULL_OPENCV"
    camera = pycolmap.Camera.create_from_model_name(key, name, lens.fx, lens.width, lens.height)
    k1, k2, p1, p2, k3 = lens.distortion  # for a fisheye lens: k1, k2, k3, k4, 0
    terms = [k1, k2, p1, p2] if lens.lens == "fisheye" else [k1, k2, p1, p2, k3, 0.0, 0.0, 0.0]
    camera.params = [lens.fx, lens.fy, lens.cx, lens.cy, *terms]
    camera.has_prior_focal_length = True
    return camera


def _triangulated(model: Model, folder: Path, seed: int, looseness: float = 1.0) -> Model:
    """A copy of the model with points triangulated from the matches in ``folder``'s database.

    ``looseness`` multiplies the largest reprojection error of an observation.
    """
    options = mapping.repeatable(seed)
    for limits in (options, options.triangulation):
        limits.min_focal_length_ratio, limits.max_focal_length_ratio = 1 / ANY, ANY
        limits.max_extra_param = ANY
    largest = looseness * LARGEST_ERROR
    options.mapper.filter_max_reproj_error = largest
    options.triangulation.merge_max_reproj_error = options.triangulation.complete_max_reproj_error = largest
    output = folder / "triangulated"
    output.mkdir()
    triangulated = pycolmap.triangulate_points(
        Model(model), folder / "database.db", folder / "images", output, True, options
    )
    shutil.rmtree(output)
    return triangulated


def _moved(given: Model, folder: Path, seed: int) -> Model | None:
    """The given cameras refined together with their points, in the same world; None if they changed too much.

    Cameras that observe hardly any points stay as given.
    """
    model = _triangulated(given, folder, seed, LOOSE)
    fit_poses(model)
    # Triangulating again adds points that the given cameras couldn't give, and drops those they gave wrongly.
    model = _triangulated(model, folder, seed)
    fit_poses(model)
    given_from_model = _similarity(model, given)
    seen: Counter[int] = Counter()
    for key in model.reg_image_ids():
        seen[model.images[key].frame_id] += model.images[key].num_points3D
    blind = [frame for frame, points in seen.items() if points < mapping.FEWEST_SEEN]
    if given_from_model is None or len(blind) > MOST_BLIND * model.num_reg_frames():
        return None
    model.transform(given_from_model)
    for frame in blind:
        model.frame(frame).rig_from_world = given.frame(frame).rig_from_world
    return model if _turned(model, given) < MOST_TURNED else None


def _frames(model: Model, keys: Sequence[int]) -> Array:
    """The poses world_from_cam (n, 4, 4) of these images."""
    return np.stack([mapping.world_from_cam(model.images[key]) for key in keys])


def _similarity(model: Model, given: Model) -> pycolmap.Sim3d | None:
    """given_from_model, which best aligns the model's cameras with the given ones, in position and direction.

    Directions matter because positions alone don't determine it, for example if they lie on a line.
    """
    keys = sorted(given.reg_image_ids())

    def points(frames: Array) -> Array:
        """The camera centres, and the ends of axes as long as the centres' spread: (4n, 3)."""
        centres = frames[:, :3, 3]
        spread = np.linalg.norm(centres - centres.mean(0), axis=1).mean()
        ends = centres[:, None] + spread * frames[:, :3, :3].transpose(0, 2, 1)
        return np.concatenate([centres[:, None], ends], axis=1).reshape(-1, 3)

    return pycolmap.estimate_sim3d(points(_frames(model, keys)), points(_frames(given, keys)))


def _turned(model: Model, given: Model) -> float:
    """Median angle, in degrees, by which the model's cameras are rotated against the given ones."""
    keys = sorted(given.reg_image_ids())
    ours, theirs = _frames(model, keys)[:, :3, :3], _frames(given, keys)[:, :3, :3]
    cosine = (np.einsum("nij,nij->n", ours, theirs) - 1) / 2
    return float(np.degrees(np.median(np.arccos(np.clip(cosine, -1, 1)))))


def _made_from(posed: PosedCapture, config: PoseConfig, move: bool) -> dict[str, object]:
    """What the result depends on, for done.json."""
    digest = hashlib.sha256()
    for view in posed.views:
        stat = view.path.stat()
        digest.update(json.dumps([view.path.name, stat.st_size, stat.st_mtime_ns]).encode())
        digest.update(json.dumps(asdict(view.intrinsics)).encode() + view.world_from_cam.tobytes())
        if view.mask is not None:
            digest.update(
                json.dumps([view.mask.name, view.mask.stat().st_mtime_ns, view.mask_turns]).encode()
            )
    return {
        "pycolmap": pycolmap.__version__,
        "config": asdict(config),
        "move": move,
        "photos_sha256": digest.hexdigest(),
    }
