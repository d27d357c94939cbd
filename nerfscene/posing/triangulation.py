"""Sparse points for photos whose cameras came with them; and those cameras, where they are off, moved to fit.

Apps and transforms.json tell where photos were taken and not what they show. Features matched between photos
say how far away things are (``depths.py``), and how well the cameras fit: a phone's own tracking drifts, and
is off by several pixels. COLMAP's bundle adjustment then starts from the cameras that were given.

Kept in ``<workdir>/points``: the model in sparse/, and done.json, which says what it was made from.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from nerfscene.cameras.algebra import scaled
from nerfscene.capture.folder import MIN_PHOTOS, Progress, silent
from nerfscene.config import PoseConfig
from nerfscene.posing import mapping, matching, zooms
from nerfscene.posing.copies import copy_index, copy_name, working_size, write_copies, write_masks
from nerfscene.posing.mapping import LARGEST_ERROR, Model
from nerfscene.posing.pairs import groups
from nerfscene.posing.poses import once, read_model
from nerfscene.types import Array, Intrinsics, Photo, PosedCapture, View

SMALLEST_SIDE = 240  # px, of the photos' longer side: smaller ones have hardly any features
MOST_PHOTOS = 400  # so many take minutes
MANY = 100  # photos, of more than which half the features are enough
OFF = 1.0  # px, of error, from which on cameras are tried to be moved
CLOSER = 0.5  # of the error, which it must come below for them to be
LOOSE = 4  # times as large an error is allowed while cameras are off
MOST_TURNED = 10.0  # degrees, median: what turns by more doesn't start from the cameras given
MOST_BLIND = 0.1  # of the photos may see too few points for their cameras to be told by them
FEWEST_POINTS = 100  # fewer may be chance
FEWER = 0.5  # of the points that cameras as given make, which moved ones must make
ANY = 1e9  # of a lens's terms: they were given, and need no doubt


def with_points(
    posed: PosedCapture,
    workdir: Path,
    config: PoseConfig | None = None,
    move: bool = True,
    progress: Progress = silent,
) -> PosedCapture:
    """The capture with sparse points, and with cameras that fit them, in the world that they were given in.

    As it is where it has points, is a cut-out (whose silhouettes tell more), or its photos are too few, too
    many or too small. With ``move``, cameras that are off by more than a pixel of the working size are moved
    where that makes the error half as large or less; a warning says so. What ``workdir`` keeps of the same
    photos and cameras is taken as it is. Raises NerfsceneError when a photo can't be read.
    """
    if not fits(posed):
        return posed
    config = config or PoseConfig()
    done = Path(workdir) / "points"
    try:
        found = once(
            done,
            _made_from(posed, config, move),
            lambda folder: _fill(folder, posed, config, move, progress),
        )
    except (RuntimeError, ValueError) as error:  # COLMAP's: points are worth having, and can be done without
        said = f"no points could be found from the cameras that came with the photos ({error})"
        return replace(posed, warnings=(*posed.warnings, said))
    posed = replace(posed, warnings=posed.warnings + _misfit(found, move))
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
    )


def _misfit(found: dict[str, Any], move: bool) -> tuple[str, ...]:
    """What is to be said where the cameras that were given don't fit."""
    fit = "hardly fit them"
    if found["given"] is not None:
        fit = f"fit them to {found['given']:.1f} pixels only"
    fit = f"the cameras that came with the photos {fit}"
    if found["moved"]:
        to = f"{found['error']:.1f} pixels"
        return (f"{fit}, and were moved to fit to {to}; --no-refine-cameras takes them as they are",)
    if not found["points"]:
        said = (
            "what the photos show together gives no points from the cameras that came with them: these don't "
            "fit, or all photos were taken from one place"
        )
        return (said,) if found["connected"] else ()
    alone = "moving them helps little: the photos alone, in a folder without cameras, may come out better"
    return (f"{fit}, and {alone if move else 'are taken as they are'}",) if found["off"] else ()


def fits(posed: PosedCapture) -> bool:
    """Whether points are lacking and can be had."""
    lenses = [v.intrinsics for v in posed.views]
    return (
        not len(posed.points)
        and not posed.has_alpha
        and MIN_PHOTOS <= len(lenses) <= MOST_PHOTOS
        and min(max(k.width, k.height) for k in lenses) >= SMALLEST_SIDE
        and all(v.path.is_file() for v in posed.views)
    )


def _fill(
    folder: Path, posed: PosedCapture, config: PoseConfig, move: bool, progress: Progress
) -> dict[str, Any]:
    """Leaves the model in ``folder``/sparse; returns how it fits, in pixels of the photos."""
    photos = [Photo(v.path, v.intrinsics.width, v.intrinsics.height, None, v.mask) for v in posed.views]
    sizes = [working_size(photo, config.max_image_size) for photo in photos]
    write_copies(folder / "images", photos, sizes, progress)
    write_masks(folder / "masks", photos, sizes)
    effort = matching.usual_effort(sizes, config.max_features // (2 if len(photos) > MANY else 1))
    matching.find_features(folder, photos, sizes, effort, "finding features", progress)
    given = _as_given(folder / "database.db", posed.views, sizes)
    pairs = matching.pairs_to_match(folder / "database.db", config.matcher, False, progress)
    matching.match(folder / "database.db", pairs, False, config.seed, "matching photos", progress)
    progress("placing points", 0.0)
    model = _triangulated(given, folder, config.seed)
    before = model.compute_mean_reprojection_error()
    told = len(model.points3D) >= FEWEST_POINTS  # of fewer, chance has made some
    moved = None
    if move and not (told and before <= OFF):
        progress("moving cameras to fit", 0.0)
        moved = _moved(given, folder, config.seed)
        fewest = max(FEWEST_POINTS, FEWER * len(model.points3D))
        closer = CLOSER * before if told else OFF
        if moved is not None and len(moved.points3D) >= fewest:
            model = moved if moved.compute_mean_reprojection_error() <= closer else model
    (folder / "sparse").mkdir()
    model.write_binary(str(folder / "sparse"))
    connected = groups(len(photos), matching.connections(folder / "database.db"))[0]
    for left in ("images", "masks"):
        shutil.rmtree(folder / left, ignore_errors=True)
    (folder / "database.db").unlink()
    progress("placing points", 1.0)
    pixels = float(np.mean([photo.width / size[0] for photo, size in zip(photos, sizes, strict=True)]))
    return {
        "points": len(model.points3D) if len(model.points3D) >= FEWEST_POINTS else 0,
        "moved": model is moved,
        "off": bool(before > OFF),
        "connected": len(connected) == len(photos),
        "given": before * pixels if told else None,
        "error": model.compute_mean_reprojection_error() * pixels,
    }


def _as_given(database: Path, views: Sequence[View], sizes: Sequence[matching.Size]) -> Model:
    """A model without points, of the cameras as they are; their lenses are put into the database too."""
    with pycolmap.Database.open(database) as db:
        ids = {copy_index(image.name): image.image_id for image in db.read_all_images()}
    lenses: dict[Intrinsics, pycolmap.Camera] = {}
    lens_of = {}
    for i, view in enumerate(views):
        lens = scaled(view.intrinsics, *sizes[i])
        lens_of[ids[i]] = lenses.setdefault(lens, colmap_lens(len(lenses) + 1, lens))
    zooms.set_lenses_of(database, lens_of)
    model = Model()
    for camera in lenses.values():
        model.add_camera_with_trivial_rig(camera)
    for i, view in enumerate(views):
        image = pycolmap.Image(name=copy_name(i), camera_id=lens_of[ids[i]].camera_id, image_id=ids[i])
        cam_from_world = pycolmap.Rigid3d(np.linalg.inv(view.world_from_cam)[:3])
        model.add_image_with_trivial_frame(image, cam_from_world)
    return model


def colmap_lens(key: int, lens: Intrinsics) -> pycolmap.Camera:
    """A lens as COLMAP has it: FULL_OPENCV, or OPENCV_FISHEYE."""
    name = "OPENCV_FISHEYE" if lens.lens == "fisheye" else "FULL_OPENCV"
    camera = pycolmap.Camera.create_from_model_name(key, name, lens.fx, lens.width, lens.height)
    k1, k2, p1, p2, k3 = lens.distortion  # of a fisheye: k1, k2, k3, k4
    more = [k1, k2, p1, p2] if lens.lens == "fisheye" else [k1, k2, p1, p2, k3, 0.0, 0.0, 0.0]
    camera.params = [lens.fx, lens.fy, lens.cx, lens.cy, *more]
    camera.has_prior_focal_length = True
    return camera


def _triangulated(model: Model, folder: Path, seed: int, looseness: float = 1.0) -> Model:
    """The model's cameras with the points that they make of the database's matches."""
    options = mapping.repeatable(seed)
    for trusting in (options, options.triangulation):
        trusting.min_focal_length_ratio, trusting.max_focal_length_ratio = 1 / ANY, ANY
        trusting.max_extra_param = ANY
    largest = looseness * LARGEST_ERROR
    options.mapper.filter_max_reproj_error = largest
    options.triangulation.merge_max_reproj_error = options.triangulation.complete_max_reproj_error = largest
    output = folder / "triangulated"
    output.mkdir()
    made = pycolmap.triangulate_points(
        Model(model), folder / "database.db", folder / "images", output, True, options
    )
    shutil.rmtree(output)
    return made


def _moved(given: Model, folder: Path, seed: int) -> Model | None:
    """Cameras that fit the points they make, in the world of the cameras given; None where they lost it.

    Those that see hardly a point stay as given.
    """
    model = _triangulated(given, folder, seed, LOOSE)
    mapping.fit_poses(model)
    # Anew: points that the cameras as they were couldn't make, and none that they made wrongly.
    model = _triangulated(model, folder, seed)
    mapping.fit_poses(model)
    given_from_model = _similarity(model, given)
    blind = [key for key in model.reg_image_ids() if model.images[key].num_points3D < mapping.FEWEST_SEEN]
    if given_from_model is None or len(blind) > MOST_BLIND * model.num_reg_images():
        return None
    model.transform(given_from_model)
    for key in blind:
        model.frame(model.image(key).frame_id).rig_from_world = given.image(key).cam_from_world()
    return model if _turned(model, given) < MOST_TURNED else None


def _frames(model: Model, keys: Sequence[int]) -> Array:
    """(n, 4, 4), world_from_cam of these images."""
    return np.stack([mapping.world_from_cam(model.images[key]) for key in keys])


def _similarity(model: Model, given: Model) -> pycolmap.Sim3d | None:
    """given_from_model that brings cameras onto those given, their directions too, for those in one place."""
    keys = sorted(given.reg_image_ids())

    def marks(frames: Array) -> Array:
        """Where cameras are, and the ends of their axes, as long as the cameras are spread."""
        centres = frames[:, :3, 3]
        spread = np.linalg.norm(centres - centres.mean(0), axis=1).mean()
        ends = centres[:, None] + spread * frames[:, :3, :3].transpose(0, 2, 1)
        return np.concatenate([centres[:, None], ends], axis=1).reshape(-1, 3)

    return pycolmap.estimate_sim3d(marks(_frames(model, keys)), marks(_frames(given, keys)))


def _turned(model: Model, given: Model) -> float:
    """Degrees by which cameras differ, median."""
    keys = sorted(given.reg_image_ids())
    ours, theirs = _frames(model, keys)[:, :3, :3], _frames(given, keys)[:, :3, :3]
    cosine = (np.einsum("nij,nij->n", ours, theirs) - 1) / 2
    return float(np.degrees(np.median(np.arccos(np.clip(cosine, -1, 1)))))


def _made_from(posed: PosedCapture, config: PoseConfig, move: bool) -> dict[str, object]:
    digest = hashlib.sha256()
    for view in posed.views:
        stat = view.path.stat()
        digest.update(json.dumps([view.path.name, stat.st_size, stat.st_mtime_ns]).encode())
        digest.update(json.dumps(asdict(view.intrinsics)).encode() + view.world_from_cam.tobytes())
        if view.mask is not None:
            digest.update(json.dumps([view.mask.name, view.mask.stat().st_mtime_ns]).encode())
    return {
        "pycolmap": pycolmap.__version__,
        "config": asdict(config),
        "move": move,
        "photos_sha256": digest.hexdigest(),
    }
