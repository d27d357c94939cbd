"""Matches → cameras: COLMAP's two mappers, joining their models, and judging what they found."""

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
from nerfscene.types import Array

FULL_LENS_FROM = 15  # photos with one lens that pin down OPENCV's four coefficients
LARGEST_COEFFICIENT = 0.5  # of distortion: real lenses stay below, runaway fits don't
MOST_MODELS = 10
LARGE_FROM = 100  # photos, from which on refining everything together is done more rarely
RARER = 1.3  # growth of the model between two such refinements (COLMAP's own: 1.1)

FOCALS = (0.15, 12.0)  # focal length over the longest side: 147° down to 5° of view
CORNER_SHIFT = (-0.33, 0.6)  # of radius by distortion at a corner; below, the picture would fold over
SMALLEST_SPREAD = 0.003  # of cameras, as a share of the distance to what they see
LARGEST_SHARE_BEHIND = 0.1  # of observations that lie behind their camera
FEWEST_SEEN = 12  # points that a photo must see once all is refined, to stay where it was put
LEAST_TRACK = 2.05  # photos that see a point, mean: below, hardly anything checks the cameras
SHARED_POINTS = 20  # that two models must agree on to be joined
AGREEMENT = 0.03  # of the distance of shared points, within which two models agree on them
AGREEING = 0.5  # share of the shared points that must
JOINED_ERROR = 1.5  # a joined model may fit worse than the larger one by this factor
LARGEST_ERROR = 4.0  # pixels, of an observation that is kept

Model = pycolmap.Reconstruction

# In a process of its own, because it cannot be stopped from Python and may end the process it is in.
_ALL_AT_ONCE = """
import sys, pycolmap
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
pycolmap.global_mapping(database, images, output, options)
"""


@dataclass(frozen=True)
class Evidence:
    """How much must speak for a place before a camera is put there."""

    pair_matches: int  # between two photos, for the pair to count
    first_matches: int  # between the first two photos
    first_angle: float  # degrees between the first two photos' rays
    points: int  # that a photo must see
    share: float  # of its matched points that must fit


USUAL = Evidence(15, 100, 16.0, 30, 0.25)
SOME = Evidence(15, 100, 16.0, 20, 0.2)
LITTLE = Evidence(10, 40, 6.0, 15, 0.15)


def repeatable(seed: int) -> pycolmap.IncrementalPipelineOptions:
    """COLMAP's options, by which the same seed gives the same cameras and points."""
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = seed
    # Several threads race for the first pair, and another one begins another model. What is lost is
    # little: threads pay only in the largest refinements.
    options.num_threads = 1
    return options


def one_after_another(
    folder: Path,
    evidence: Evidence,
    seed: int,
    placed: Callable[[], None],
    start: Model | None = None,
) -> list[Model]:
    """Models from ``folder``'s database.db, built photo by photo; ``placed`` hears of each.

    With ``start`` only that model is built further. Gives the same cameras for the same seed.
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
    with pycolmap.Database.open(folder / "database.db") as database:
        if database.num_images() >= LARGE_FROM:
            options.ba_global_frames_ratio = options.ba_global_points_ratio = RARER
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


def all_at_once(folder: Path, calibrate: bool, seed: int) -> list[Model]:
    """Models from a copy of ``folder``'s database.db, all cameras placed together.

    Needs focal lengths that are about right; ``calibrate`` estimates them from the matches first.
    """
    output = folder / "at-once"
    output.mkdir()
    shutil.copyfile(folder / "database.db", output / "database.db")
    command = [sys.executable, "-c", _ALL_AT_ONCE, str(output / "database.db"), str(folder / "images")]
    command += [str(output), str(seed), "calibrate" if calibrate else ""]
    # In a session of its own, so that Ctrl-C reaches this process alone, which then ends the other.
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
    """Photos that the model poses."""
    return 0 if model is None else int(model.num_reg_images())


def rank(model: Model | None) -> tuple[int, float]:
    """Larger for the better model: more photos, then a smaller error."""
    if model is None:
        return 0, 0.0
    return count(model), -float(model.compute_mean_reprojection_error())


def believable(model: Model) -> Model | None:
    """The model without photos through absurd lenses or with hardly any points; None where what is
    left cannot be what was photographed.

    That is: cameras all in one place, things behind the cameras that saw them, or points so rarely
    seen that nothing checks the cameras.
    """
    model = Model(model)
    for image_id in sorted(model.reg_image_ids()):
        image = model.image(image_id)
        if not _sound_lens(model.camera(image.camera_id)) or image.num_points3D < FEWEST_SEEN:
            model.deregister_frame(image.frame_id)
    if count(model) < MIN_PHOTOS or len(model.points3D) < SHARED_POINTS:
        return None
    points = {key: point.xyz for key, point in model.points3D.items()}
    centres, behind, seen = [], 0, 0
    for image_id in sorted(model.reg_image_ids()):
        image = model.image(image_id)
        rigid = image.cam_from_world().matrix()  # (3, 4)
        observed = np.array([points[p.point3D_id] for p in image.get_observation_points2D()]).reshape(-1, 3)
        behind += int((observed @ rigid[2, :3] + rigid[2, 3] <= 0).sum())
        seen += len(observed)
        centres.append(image.projection_center())
    where = np.array(centres)
    spread = np.linalg.norm(where - where.mean(0), axis=1).mean()
    distance = np.median(np.linalg.norm(np.array(list(points.values())) - where.mean(0), axis=1))
    sound = (
        np.isfinite(where).all()
        and spread > SMALLEST_SPREAD * distance
        and behind <= LARGEST_SHARE_BEHIND * seen
        and model.compute_mean_track_length() >= LEAST_TRACK
    )
    return model if sound else None


def _sound_lens(camera: pycolmap.Camera) -> bool:
    known = dict(zip(camera.params_info.split(", "), map(float, camera.params), strict=True))
    focal = known.get("f", known.get("fx", 0.0))
    if not FOCALS[0] <= focal / max(camera.width, camera.height) <= FOCALS[1]:
        return False
    corner = (camera.width**2 + camera.height**2) / (2 * focal) ** 2  # radius² over focal²
    shift = known.get("k", known.get("k1", 0.0)) * corner
    return CORNER_SHIFT[0] <= shift <= CORNER_SHIFT[1]


def joined(models: Iterable[Model]) -> list[Model]:
    """The models, best first; those that share photos made one where they agree."""
    rest = sorted(models, key=rank, reverse=True)
    done: list[Model] = []
    while rest:
        base, *rest = rest
        grown = True
        while grown:
            grown = False
            for other in rest:
                both = join(base, other)
                if both is not None:
                    base, grown = both, True
                    rest = [model for model in rest if model is not other]
                    break
        done.append(base)
    return sorted(done, key=rank, reverse=True)


def join(base: Model, other: Model) -> Model | None:
    """``base`` with the photos that only ``other`` has, refined; None where they don't agree.

    Both must come from one database: that a point of each is seen at one feature of a shared photo
    says which points are the same.
    """
    shared = {a for a, _ in base.find_common_reg_image_ids(other)}
    base_from_other = _similarity(base, other, shared)
    new = sorted(set(other.reg_image_ids()) - set(base.reg_image_ids()))
    if base_from_other is None or not new:
        return None
    both = Model(base)
    for image_id in new:
        _add_photo(both, other, image_id, base_from_other)
    for key in sorted(other.points3D):
        point = other.points3D[key]
        elements = [e for e in point.track.elements if both.exists_image(e.image_id)]
        holders = [both.image(e.image_id).points2D[e.point2D_idx] for e in elements]
        free = [e for e, holder in zip(elements, holders, strict=True) if not holder.has_point3D()]
        same = [holder.point3D_id for holder in holders if holder.has_point3D()]
        if same:
            for element in free:
                both.add_observation(same[0], element)
        elif len(free) > 1:
            both.add_point3D(base_from_other * point.xyz, pycolmap.Track(free), point.color)
    both = refined(both)
    sound = believable(both)
    limit = JOINED_ERROR * max(base.compute_mean_reprojection_error(), 0.5)
    lost = sound is None or count(sound) <= count(base)
    return None if lost or both.compute_mean_reprojection_error() > limit else sound


def _similarity(base: Model, other: Model, shared: set[int]) -> pycolmap.Sim3d | None:
    """base_from_other from the points that both see at the same features; None where few agree."""
    theirs, ours = [], []
    for image_id in sorted(shared):
        pairs = zip(other.image(image_id).points2D, base.image(image_id).points2D, strict=True)
        for a, b in pairs:
            if a.has_point3D() and b.has_point3D():
                theirs.append(other.points3D[a.point3D_id].xyz)
                ours.append(base.points3D[b.point3D_id].xyz)
    if len(ours) < SHARED_POINTS:
        return None
    here, there = np.array(ours), np.array(theirs)
    centre = np.mean([base.image(key).projection_center() for key in sorted(shared)], axis=0)
    near = AGREEMENT * float(np.median(np.linalg.norm(here - centre, axis=1)))
    options = pycolmap.RANSACOptions()
    options.max_error = near
    options.random_seed = 0
    found: Any = pycolmap.estimate_sim3d_robust(there, here, options)
    enough = found is not None and found["num_inliers"] >= max(SHARED_POINTS, AGREEING * len(here))
    return found["tgt_from_src"] if enough else None


def _add_photo(both: Model, other: Model, image_id: int, base_from_other: pycolmap.Sim3d) -> None:
    """A photo of ``other`` and its pose, its features not tied to points yet."""
    source = other.image(image_id)
    pose = base_from_other.transform_camera_world(source.cam_from_world())
    if both.exists_image(image_id):  # known, but not posed
        frame = both.image(image_id).frame_id
        both.frame(frame).rig_from_world = pose
        both.register_frame(frame)
        return
    if not both.exists_camera(source.camera_id):
        both.add_camera_with_trivial_rig(other.camera(source.camera_id))
    features = np.array([point.xy for point in source.points2D]).reshape(-1, 2)
    image = pycolmap.Image(source.name, features, source.camera_id, image_id)
    both.add_image_with_trivial_frame(image, pose)


def with_full_lenses(model: Model) -> Model:
    """The model with OPENCV lenses where many photos share one, all refined together.

    The model as it was, where that fits no better or the lenses come out absurd.
    """
    full = Model(model)
    users = Counter(full.images[i].camera_id for i in full.reg_image_ids())
    changed = [key for key, uses in users.items() if uses >= FULL_LENS_FROM]
    for key in changed:
        camera = full.cameras[key]
        focal, cx, cy, k1 = camera.params
        camera.model = pycolmap.CameraModelId.OPENCV
        camera.params = [focal, focal, cx, cy, k1, 0.0, 0.0, 0.0]
    if not changed:
        return model
    _refine(full)
    full.update_point_3d_errors()
    coefficients = np.abs([full.cameras[key].params[4:] for key in changed])
    better = full.compute_mean_reprojection_error() <= model.compute_mean_reprojection_error()
    return full if better and coefficients.max() < LARGEST_COEFFICIENT else model


def refined(model: Model) -> Model:
    """A copy with everything refined together, and without the points that don't fit."""
    made = Model(model)
    for _ in range(2):
        _refine(made)
        pycolmap.ObservationManager(made).filter_all_points3D(LARGEST_ERROR, 1.0)
        made.update_point_3d_errors()
    return made


def fit_poses(model: Model) -> None:
    """Poses and points refined together in place, lenses as they are; then without points that don't fit.

    What lies far off has little say: the poses may be those of a phone's tracking, and matches on them wrong.
    """
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_focal_length = options.refine_extra_params = False
    options.ceres.loss_function_type = pycolmap.LossFunctionType.SOFT_L1
    options.ceres.solver_options.function_tolerance = 1e-4
    _refine(model, options)
    pycolmap.ObservationManager(model).filter_all_points3D(LARGEST_ERROR, 1.0)
    model.update_point_3d_errors()


def _refine(model: Model, options: pycolmap.BundleAdjustmentOptions | None = None) -> None:
    """Bundle adjustment of everything, in place."""
    options = options or pycolmap.BundleAdjustmentOptions()
    options.print_summary = False
    setup = pycolmap.BundleAdjustmentConfig()
    for key in model.reg_image_ids():
        setup.add_image(key)
    setup.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    # Not pycolmap.bundle_adjustment: that turns COLMAP's log on again.
    pycolmap.create_default_bundle_adjuster(options, setup, model).solve()


def world_from_cam(image: pycolmap.Image) -> Array:
    """(4, 4), of an image with a pose."""
    matrix = np.eye(4)
    matrix[:3] = image.cam_from_world().inverse().matrix()
    return matrix


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps COLMAP's running commentary out of the terminal."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = pycolmap.logging.Level.FATAL.value
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
