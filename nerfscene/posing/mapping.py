"""Matches → models: runs COLMAP's incremental and global mappers, checks and merges their models.

A model is COLMAP's reconstruction: lenses, posed images and sparse points.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from nerfscene.capture.folder import MIN_PHOTOS
from nerfscene.posing.adjusting import Model, refined
from nerfscene.posing.growing import grown
from nerfscene.posing.rigs import has_rigs, known_lenses
from nerfscene.types import Array

MOST_MODELS = 10
# While a model grows, its bundle adjustments are rough: the next one improves on them, and the last one is
# thorough. Compared with COLMAP's own settings, placing takes half the time, and no camera is further off.
# But where photos hang together by few matches, a model that is off meanwhile can lose some of them.
RARER = 1.5  # factor by which the model grows between two global adjustments (COLMAP's own: 1.1)
ROUGHLY, LOCALLY = 1e-4, 1e-3  # an adjustment ends when its cost falls by less, globally and around a photo
LOCAL_STEPS = 10  # iterations around a photo at most

FOCALS = (0.15, 12.0)  # focal length over the longest side: field of view from 147° down to 5°
# Relative change of the radius by distortion at a corner of the picture; below, the picture would fold over.
CORNER_SHIFT = (-0.33, 0.6)
SMALLEST_SPREAD = 0.003  # of the camera centres, as a fraction of the distance to what they see
LARGEST_SHARE_BEHIND = 0.1  # fraction of observations whose point lies behind the camera
FEWEST_SEEN = 12  # points that a photo must observe after refinement to keep its pose
LEAST_TRACK = 2.05  # mean number of photos per point; with fewer, hardly anything checks the cameras
SHARED_POINTS = 20  # points on which two models must agree to be merged
AGREEMENT = 0.03  # they agree on a point within this fraction of its distance
AGREEING = 0.5  # fraction of the shared points on which they must agree
JOINED_ERROR = 1.5  # a merged model may have this many times the error of the larger one

# The global mapper runs in a separate process, because Python can't interrupt it and it may crash.
_GLOBAL_MAPPING = """
import sys, PIL._imaging, pycolmap
database, images, output, seed, calibrate = sys.argv[1:]
pycolmap.logging.minloglevel = pycolmap.logging.Level.FATAL.value
if calibrate == "calibrate":
    calibration = pycolmap.ViewGraphCalibrationOptions()
    calibration.random_seed = int(seed)
    pycolmap.calibrate_view_graph(database, calibration)
options = pycolmap.GlobalPipelineOptions()
options.random_seed = int(seed)
options.mapper.bundle_adjustment.ceres.use_gpu = False
options.mapper.global_positioning.use_gpu = False
options.mapper.refine_sensor_from_rig = options.mapper.bundle_adjustment.refine_sensor_from_rig = False
if calibrate == "rigs":  # of panoramas: their lenses are known
    options.mapper.bundle_adjustment.refine_focal_length = False
    options.mapper.bundle_adjustment.refine_extra_params = False
pycolmap.global_mapping(database, images, output, options)
"""


@dataclass(frozen=True)
class Evidence:
    """How much evidence incremental mapping needs to place a camera."""

    pair_matches: int  # least number of matches between two photos for the pair to be used
    first_matches: int  # least number between the first two photos
    first_angle: float  # least angle, in degrees, between the rays of the first two photos
    points: int  # least number of known points that a photo must observe
    share: float  # least fraction of its matched points that must fit


USUAL = Evidence(15, 100, 16.0, 30, 0.25)
SOME = Evidence(15, 100, 16.0, 20, 0.2)
LITTLE = Evidence(10, 40, 6.0, 15, 0.15)


def repeatable(seed: int) -> pycolmap.IncrementalPipelineOptions:
    """Options for COLMAP with which the same seed gives the same cameras and points."""
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = seed
    # With several threads, chance decides the first pair, and another pair gives another model. One thread
    # costs little time: more would help only in the largest bundle adjustments.
    options.num_threads = 1
    options.ba_refine_sensor_from_rig = False  # even triangulation, which fixes poses, would move them
    return options


def _roughly(options: pycolmap.IncrementalPipelineOptions) -> None:
    """Sets the bundle adjustments of a growing model."""
    options.ba_global_frames_ratio = options.ba_global_points_ratio = RARER
    options.ba_global_function_tolerance, options.ba_local_function_tolerance = ROUGHLY, LOCALLY
    options.ba_global_max_refinements, options.ba_local_max_refinements = 2, 1
    options.ba_local_max_num_iterations = LOCAL_STEPS


def incremental_mapping(
    folder: Path,
    evidence: Evidence,
    seed: int,
    placed: Callable[[], None],
    start: Model | None = None,
    roughly: bool = True,
) -> list[Model]:
    """Models that incremental mapping makes from ``folder``'s database.db, one photo after another.

    ``placed`` is called for each photo placed. With ``start``, only that model is extended. ``roughly``: how
    a growing model is adjusted; otherwise as often and as exactly as COLMAP does. The same seed gives the
    same cameras. Points have colours only if there are panoramas.
    """
    options = repeatable(seed)
    options.min_model_size = MIN_PHOTOS
    options.max_num_models = MOST_MODELS if start is None else 1
    options.multiple_models = start is None
    options.min_num_matches = evidence.pair_matches
    options.mapper.init_min_num_inliers = evidence.first_matches
    options.mapper.init_min_tri_angle = evidence.first_angle
    options.mapper.abs_pose_min_num_inliers = evidence.points
    options.mapper.abs_pose_min_inlier_ratio = evidence.share
    if roughly:
        _roughly(options)
    with pycolmap.Database.open(folder / "database.db") as database:
        options.constant_cameras = known_lenses(database.read_all_cameras())
        panoramas = any(rig.num_sensors() > 1 for rig in database.read_all_rigs())
    if not panoramas:
        return grown(folder / "database.db", options, placed, None if start is None else Model(start))
    output = folder / "mapping"
    output.mkdir()
    source = ""
    if start is not None:
        source = str(folder / "start")
        Path(source).mkdir()
        start.write_binary(source)
    models = pycolmap.incremental_mapping(
        folder / "database.db",
        folder / "images",
        output,
        options,
        input_path=source,
        next_image_callback=placed,
    )
    shutil.rmtree(output)
    shutil.rmtree(folder / "start", ignore_errors=True)
    return [models[key] for key in sorted(models)]


def global_mapping(folder: Path, calibrate: bool, seed: int, rigs: bool = False) -> list[Model]:
    """Models that global mapping makes from a copy of ``folder``'s database.db, placing all cameras together.

    Needs focal lengths that are about right; ``calibrate`` first estimates them from the matches. ``rigs``:
    the lenses are those of panoramas, and stay as they are. [] if the mapper fails.
    """
    output = folder / "at-once"
    output.mkdir()
    shutil.copyfile(folder / "database.db", output / "database.db")
    command = [sys.executable, "-c", _GLOBAL_MAPPING, str(output / "database.db"), str(folder / "images")]
    command += [str(output), str(seed), "rigs" if rigs else "calibrate" if calibrate else ""]
    # In a session of its own, so that Ctrl-C reaches only this process, which then kills the child.
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True) as child:
        try:
            child.wait()
        except BaseException:
            child.kill()
            raise
    models = []
    for file in sorted(output.glob("*/images.bin"), key=lambda path: path.parent.name):
        model = Model(str(file.parent))
        model.extract_colors_for_all_images(str(folder / "images"))
        models.append(model)
    shutil.rmtree(output)
    return models


def count(model: Model | None) -> int:
    """The number of posed photos in the model; 0 for None. The faces of a panorama count as one."""
    return 0 if model is None else int(model.num_reg_frames())


def rank(model: Model | None) -> tuple[int, float]:
    """(posed photos, minus the mean reprojection error in pixels): larger for the better model."""
    if model is None:
        return 0, 0.0
    return count(model), -float(model.compute_mean_reprojection_error())


def believable(model: Model) -> Model | None:
    """The model without photos that have absurd lenses or hardly any points; None if the rest is implausible.

    It is implausible if all cameras are in one place, too many points lie behind cameras that observe them,
    or the points are observed by so few photos that nothing checks the cameras.
    """
    model = Model(model)
    seen: Counter[int] = Counter()  # by frame: a face of a panorama may show nothing but sky
    absurd = set()
    for image_id in sorted(model.reg_image_ids()):
        image = model.image(image_id)
        seen[image.frame_id] += image.num_points3D
        if not _plausible_lens(model.camera(image.camera_id)):
            absurd.add(image.frame_id)
    for frame_id, number in seen.items():
        if number < FEWEST_SEEN or frame_id in absurd:
            model.deregister_frame(frame_id)
    if count(model) < MIN_PHOTOS or len(model.points3D) < SHARED_POINTS:
        return None
    points = {key: point.xyz for key, point in model.points3D.items()}
    positions, behind, total = [], 0, 0
    for image_id in sorted(model.reg_image_ids()):
        image = model.image(image_id)
        cam_from_world = image.cam_from_world().matrix()  # (3, 4)
        observed = np.array([points[p.point3D_id] for p in image.get_observation_points2D()]).reshape(-1, 3)
        behind += int((observed @ cam_from_world[2, :3] + cam_from_world[2, 3] <= 0).sum())
        total += len(observed)
        positions.append(image.projection_center())
    centres = np.array(positions)
    spread = np.linalg.norm(centres - centres.mean(0), axis=1).mean()
    distance = np.median(np.linalg.norm(np.array(list(points.values())) - centres.mean(0), axis=1))
    plausible = (
        np.isfinite(centres).all()
        and spread > SMALLEST_SPREAD * distance
        and behind <= LARGEST_SHARE_BEHIND * total
        and model.compute_mean_track_length() >= LEAST_TRACK
    )
    return model if plausible else None


def _plausible_lens(camera: pycolmap.Camera) -> bool:
    """Whether focal length and distortion are within the limits of real lenses."""
    known = dict(zip(camera.params_info.split(", "), map(float, camera.params), strict=True))
    focal = known.get("f", known.get("fx", 0.0))
    if not FOCALS[0] <= focal / max(camera.width, camera.height) <= FOCALS[1]:
        return False
    corner = (camera.width**2 + camera.height**2) / (2 * focal) ** 2  # radius² over focal²
    shift = known.get("k", known.get("k1", 0.0)) * corner
    return CORNER_SHIFT[0] <= shift <= CORNER_SHIFT[1]


def joined(models: Iterable[Model]) -> list[Model]:
    """The models, best first, after merging those that share photos and agree on their points."""
    rest = sorted(models, key=rank, reverse=True)
    done: list[Model] = []
    while rest:
        base, *rest = rest
        grown = True
        while grown:
            grown = False
            for other in rest:
                merged = join(base, other)
                if merged is not None:
                    base, grown = merged, True
                    rest = [model for model in rest if model is not other]
                    break
        done.append(base)
    return sorted(done, key=rank, reverse=True)


def join(base: Model, other: Model) -> Model | None:
    """``base`` with the photos that only ``other`` has, refined; None if the two don't agree.

    Both must come from the same database: points of the two models are the same if they are observed at the
    same feature of a shared photo. Models with rigs are not merged.
    """
    if has_rigs(base) or has_rigs(other):
        return None
    shared = {a for a, _ in base.find_common_reg_image_ids(other)}
    base_from_other = _similarity(base, other, shared)
    new = sorted(set(other.reg_image_ids()) - set(base.reg_image_ids()))
    if base_from_other is None or not new:
        return None
    merged = Model(base)
    for image_id in new:
        _add_photo(merged, other, image_id, base_from_other)
    for key in sorted(other.points3D):
        point = other.points3D[key]
        elements = [e for e in point.track.elements if merged.exists_image(e.image_id)]
        features = [merged.image(e.image_id).points2D[e.point2D_idx] for e in elements]
        free = [e for e, feature in zip(elements, features, strict=True) if not feature.has_point3D()]
        same = [feature.point3D_id for feature in features if feature.has_point3D()]
        if same:
            for element in free:
                merged.add_observation(same[0], element)
        elif len(free) > 1:
            merged.add_point3D(base_from_other * point.xyz, pycolmap.Track(free), point.color)
    merged = refined(merged)
    plausible = believable(merged)
    limit = JOINED_ERROR * max(base.compute_mean_reprojection_error(), 0.5)
    if plausible is None or count(plausible) <= count(base):
        return None
    return None if merged.compute_mean_reprojection_error() > limit else plausible


def _similarity(base: Model, other: Model, shared: set[int]) -> pycolmap.Sim3d | None:
    """base_from_other, from the points that both observe at the same features; None if too few agree."""
    other_points, base_points = [], []
    for image_id in sorted(shared):
        pairs = zip(other.image(image_id).points2D, base.image(image_id).points2D, strict=True)
        for a, b in pairs:
            if a.has_point3D() and b.has_point3D():
                other_points.append(other.points3D[a.point3D_id].xyz)
                base_points.append(base.points3D[b.point3D_id].xyz)
    if len(base_points) < SHARED_POINTS:
        return None
    source, target = np.array(other_points), np.array(base_points)
    centre = np.mean([base.image(key).projection_center() for key in sorted(shared)], axis=0)
    options = pycolmap.RANSACOptions()
    options.max_error = AGREEMENT * float(np.median(np.linalg.norm(target - centre, axis=1)))
    options.random_seed = 0
    found: Any = pycolmap.estimate_sim3d_robust(source, target, options)
    enough = found is not None and found["num_inliers"] >= max(SHARED_POINTS, AGREEING * len(target))
    return found["tgt_from_src"] if enough else None


def _add_photo(model: Model, other: Model, image_id: int, model_from_other: pycolmap.Sim3d) -> None:
    """Adds a photo of ``other`` with its pose to ``model``; its features are not linked to points yet."""
    source = other.image(image_id)
    pose = model_from_other.transform_camera_world(source.cam_from_world())
    if model.exists_image(image_id):  # present, but without a pose
        frame = model.image(image_id).frame_id
        model.frame(frame).rig_from_world = pose
        model.register_frame(frame)
        return
    if not model.exists_camera(source.camera_id):
        model.add_camera_with_trivial_rig(other.camera(source.camera_id))
    features = np.array([point.xy for point in source.points2D]).reshape(-1, 2)
    image = pycolmap.Image(source.name, features, source.camera_id, image_id)
    model.add_image_with_trivial_frame(image, pose)


def world_from_cam(image: pycolmap.Image) -> Array:
    """The pose (4, 4) of a posed image."""
    matrix = np.eye(4)
    matrix[:3] = image.cam_from_world().inverse().matrix()
    return matrix


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps COLMAP's log out of the terminal."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = pycolmap.logging.Level.FATAL.value
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
