"""Capture → PosedCapture by structure from motion; the only file that imports pycolmap.

The work is done in ``<workdir>/posing.partial`` and renamed to ``<workdir>/posing`` once it is
complete, so that what is found under that name can be trusted:

    images/       upright copies of the photos at working size, 00000.jpg … in the capture's order
    masks/        of those that have one, 00000.jpg.png …, black where no features are wanted
    database.db   features and matches
    sparse/       the model (COLMAP opens it)
    done.json     which photos and settings it is for; anything else there means pose again
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pycolmap
from numpy.typing import NDArray

from nerfscene.capture import (
    MIN_PHOTOS,
    Progress,
    name_some,
    short_names,
    silent,
    worker_count,
)
from nerfscene.config import PoseConfig
from nerfscene.copies import copy_index, copy_name, working_size, write_copies, write_masks
from nerfscene.errors import NerfsceneError
from nerfscene.pairs import choose_pairs
from nerfscene.sparse import SparseModel, posed_from_photos
from nerfscene.types import Array, Capture, Intrinsics, Lens, Photo, PosedCapture

FINE_BELOW = 800  # px, longest side: smaller pictures are doubled, to find enough features
FULL_LENS_FROM = 15  # photos with one lens that pin down OPENCV's four coefficients
LARGEST_COEFFICIENT = 0.5  # of distortion: real lenses stay below, runaway fits don't
TRY_AGAIN_BELOW = 0.9  # share of photos posed, under which a second, slower try is worth it
GIVE_UP_BELOW = 0.1  # share of photos posed, under which a scene would mislead
FEATURE_CHUNKS = 10  # how often progress is told
PAIRS_AT_ONCE = 600

PERSPECTIVE = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")
FISHEYE = ("SIMPLE_FISHEYE", "FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "OPENCV_FISHEYE")


@dataclass(frozen=True)
class _Effort:
    """How hard one try looks; the second try is slower and less choosy."""

    first_octave: int  # -1 doubles the picture first: four times the work, three times the features
    max_features: int
    peak_threshold: float
    relaxed: bool
    stage_suffix: str = ""


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
    workdir = Path(workdir)
    done, partial = workdir / "posing", workdir / "posing.partial"
    fingerprint = _fingerprint(capture, config)
    if _read_json(done / "done.json") != fingerprint:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            with _quiet():
                _pose_into(partial, capture, config, progress)
            (partial / "done.json").write_text(json.dumps(fingerprint, indent=1))
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(done, ignore_errors=True)
        partial.rename(done)
    return posed_from_photos(capture, read_model(done / "sparse"))


def read_model(folder: Path) -> SparseModel:
    """A COLMAP model, text or binary, with the images that have poses.

    Raises NerfsceneError when it cannot be read or uses a lens this package doesn't know.
    """
    try:
        with _quiet():
            rec = pycolmap.Reconstruction(str(folder))
    except (ValueError, RuntimeError, OSError, IndexError) as error:
        raise NerfsceneError(
            f"{folder} cannot be read as a COLMAP model ({_one_line(error)}): export it again."
        ) from error
    images = [rec.images[i] for i in sorted(rec.reg_image_ids())]
    points = list(rec.points3D.values())
    return SparseModel(
        names=tuple(image.name for image in images),
        intrinsics=tuple(_intrinsics(rec.cameras[i.camera_id], folder) for i in images),
        world_from_cam=tuple(_world_from_cam(image) for image in images),
        points=np.array([p.xyz for p in points], np.float64).reshape(-1, 3),
        point_colors=np.array([p.color for p in points], np.uint8).reshape(-1, 3),
        reprojection_error=float(rec.compute_mean_reprojection_error()) if points else 0.0,
    )


def _pose_into(folder: Path, capture: Capture, config: PoseConfig, progress: Progress) -> None:
    """Leaves images, database and sparse model in ``folder``; tries a second time, harder."""
    photos = capture.photos
    sizes = [working_size(photo, config.max_image_size) for photo in photos]
    write_copies(folder / "images", photos, sizes, progress)
    write_masks(folder / "masks", photos, sizes)
    small = max(max(size) for size in sizes) < FINE_BELOW
    usual = _Effort(-1 if small else 0, config.max_features, 0.0067, relaxed=False)
    harder = _Effort(-1, 2 * config.max_features, 0.004, True, " (again, more carefully)")
    best = _one_try(folder, photos, sizes, config, usual, progress)
    if _posed_count(best) < TRY_AGAIN_BELOW * len(photos):
        (folder / "database.db").rename(folder / "first.db")
        again = _one_try(folder, photos, sizes, config, harder, progress)
        if _posed_count(again) > _posed_count(best):
            best = again
            (folder / "first.db").unlink()
        else:
            (folder / "first.db").replace(folder / "database.db")
    if best is None or _posed_count(best) < max(MIN_PHOTOS, GIVE_UP_BELOW * len(photos)):
        raise NerfsceneError(_not_connected_message(capture, best))
    best = _with_full_lenses(best)
    (folder / "sparse").mkdir()
    best.write_binary(str(folder / "sparse"))


def _one_try(
    folder: Path,
    photos: tuple[Photo, ...],
    sizes: list[tuple[int, int]],
    config: PoseConfig,
    effort: _Effort,
    progress: Progress,
) -> pycolmap.Reconstruction | None:
    """Features, matches and mapping; the model with most photos, None where none came about."""
    database = folder / "database.db"
    _find_features(folder, photos, sizes, effort, progress)
    _match(database, config, effort, progress)
    return _map(folder, len(photos), config, effort, progress)


def _find_features(
    folder: Path,
    photos: tuple[Photo, ...],
    sizes: list[tuple[int, int]],
    effort: _Effort,
    progress: Progress,
) -> None:
    database = folder / "database.db"
    pycolmap.Database.open(database).close()  # import_images wants the file to exist
    cameras: dict[tuple[object, ...], list[int]] = {}
    for index, photo in enumerate(photos):
        focal = photo.focal and round(photo.focal, 1)
        cameras.setdefault((photo.width, photo.height, focal), []).append(index)
    for members in cameras.values():
        reader = pycolmap.ImageReaderOptions()
        # One distortion term while cameras are being placed: four run away on the first few photos
        # (94 of 100 lost on a capture that is posed whole with one). _with_full_lenses frees them.
        reader.camera_model = "SIMPLE_RADIAL"
        reader.camera_params = _camera_prior(photos[members[0]], sizes[members[0]], reader)
        names = [copy_name(i) for i in members]
        # Before any feature is found, so that ids follow the photos' order and not the threads'.
        pycolmap.import_images(database, folder / "images", pycolmap.CameraMode.SINGLE, names, reader)
    masked = pycolmap.ImageReaderOptions()
    if (folder / "masks").exists():
        masked.mask_path = folder / "masks"
    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu = False
    options.sift.first_octave = effort.first_octave
    options.sift.max_num_features = effort.max_features
    options.sift.peak_threshold = effort.peak_threshold
    chunk = max(-(-len(photos) // FEATURE_CHUNKS), worker_count())
    stage = "finding features" + effort.stage_suffix
    progress(stage, 0.0)
    for start in range(0, len(photos), chunk):
        names = [copy_name(i) for i in range(start, min(start + chunk, len(photos)))]
        pycolmap.extract_features(
            database,
            folder / "images",
            image_names=names,
            reader_options=masked,
            extraction_options=options,
            device=pycolmap.Device.cpu,
        )
        progress(stage, min(start + chunk, len(photos)) / len(photos))


def _camera_prior(photo: Photo, size: tuple[int, int], reader: pycolmap.ImageReaderOptions) -> str:
    """COLMAP's parameters from EXIF's focal length; "" lets COLMAP guess where EXIF is silent."""
    if photo.focal is None:
        return ""
    focal = photo.focal * size[0] / photo.width
    camera = pycolmap.Camera.create_from_model_name(1, reader.camera_model, focal, *size)
    return camera.params_to_string()


def _match(database: Path, config: PoseConfig, effort: _Effort, progress: Progress) -> None:
    with pycolmap.Database.open(database) as db:
        images = sorted(db.read_all_images(), key=lambda image: image.name)
        pairs = choose_pairs(
            [_features(db, image.image_id) for image in images],
            config.matcher,
            broad=effort.relaxed,
            progress=progress,
        )
    matching = pycolmap.FeatureMatchingOptions()
    matching.use_gpu = False
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = config.seed
    if effort.relaxed:
        verification.min_num_inliers = 10
    listing = database.with_name("pairs.txt")
    stage = "matching photos" + effort.stage_suffix
    progress(stage, 0.0)
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        some = pairs[start : start + PAIRS_AT_ONCE]
        listing.write_text("".join(f"{images[a].name} {images[b].name}\n" for a, b in some))
        pairing = pycolmap.ImportedPairingOptions()
        pairing.match_list_path = str(listing)
        pycolmap.match_image_pairs(database, matching, pairing, verification, device=pycolmap.Device.cpu)
        progress(stage, (start + len(some)) / len(pairs))
    listing.unlink(missing_ok=True)


def _features(db: pycolmap.Database, image_id: int) -> tuple[NDArray[np.float32], Array]:
    """Descriptors (n, 128) and their sizes in pixels (n,)."""
    keypoints = db.read_keypoints(image_id).astype(np.float64)  # x, y and a 2×2 affine shape
    scales = np.sqrt(np.abs(np.linalg.det(keypoints[:, 2:6].reshape(-1, 2, 2))))
    return np.asarray(db.read_descriptors(image_id).data, np.float32), scales


def _map(
    folder: Path, photo_count: int, config: PoseConfig, effort: _Effort, progress: Progress
) -> pycolmap.Reconstruction | None:
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = config.seed
    options.mapper.random_seed = config.seed
    options.triangulation.random_seed = config.seed
    options.min_model_size = MIN_PHOTOS
    options.max_num_models = 10
    if effort.relaxed:
        options.min_num_matches = 10
        options.mapper.init_min_num_inliers = 40
        options.mapper.init_min_tri_angle = 6.0
        options.mapper.abs_pose_min_num_inliers = 15
        options.mapper.abs_pose_min_inlier_ratio = 0.15
    placed = 0
    stage = "placing cameras" + effort.stage_suffix
    progress(stage, 0.0)

    def one_more() -> None:
        nonlocal placed  # several models may be tried, so the count can pass the photos' number
        placed += 1
        progress(stage, min((placed + 2) / photo_count, 0.99))

    output = folder / "mapping"
    output.mkdir()
    models = pycolmap.incremental_mapping(
        folder / "database.db", folder / "images", output, options, next_image_callback=one_more
    )
    shutil.rmtree(output)
    progress(stage, 1.0)
    ranked = sorted(models.items(), key=lambda item: (-_posed_count(item[1]), item[0]))
    return ranked[0][1] if ranked else None


def _with_full_lenses(model: pycolmap.Reconstruction) -> pycolmap.Reconstruction:
    """The model with OPENCV lenses where many photos share one, all refined together.

    The model as it was, where that fits no better or the lenses come out absurd.
    """
    full = pycolmap.Reconstruction(model)
    users = Counter(full.images[i].camera_id for i in full.reg_image_ids())
    changed = [key for key, count in users.items() if count >= FULL_LENS_FROM]
    for key in changed:
        camera = full.cameras[key]
        focal, cx, cy, k1 = camera.params
        camera.model = pycolmap.CameraModelId.OPENCV
        camera.params = [focal, focal, cx, cy, k1, 0.0, 0.0, 0.0]
    if not changed:
        return model
    options = pycolmap.BundleAdjustmentOptions()
    options.print_summary = False
    setup = pycolmap.BundleAdjustmentConfig()
    for key in full.reg_image_ids():
        setup.add_image(key)
    setup.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    # Not pycolmap.bundle_adjustment: that turns COLMAP's log on again.
    pycolmap.create_default_bundle_adjuster(options, setup, full).solve()
    full.update_point_3d_errors()
    coefficients = np.abs([full.cameras[key].params[4:] for key in changed])
    better = full.compute_mean_reprojection_error() <= model.compute_mean_reprojection_error()
    return full if better and coefficients.max() < LARGEST_COEFFICIENT else model


def _posed_count(model: pycolmap.Reconstruction | None) -> int:
    return 0 if model is None else model.num_reg_images()


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


def _world_from_cam(image: pycolmap.Image) -> Array:
    matrix = np.eye(4)
    matrix[:3] = image.cam_from_world().inverse().matrix()
    return matrix


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


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _one_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__


def _not_connected_message(capture: Capture, model: pycolmap.Reconstruction | None) -> str:
    count = len(capture.photos)
    placed = set() if model is None else {copy_index(i.name) for i in model.images.values()}
    names = short_names([p.path for p in capture.photos])
    lost = [name for i, name in enumerate(names) if i not in placed]
    found = f"only {len(placed)} of the {count} photos" if placed else f"none of the {count} photos"
    return (
        f"{found} in {capture.root} could be connected to the others (not connected: "
        f"{name_some(lost)}): take sharp photos of a textured, still subject, from different "
        "places rather than turning on the spot, each showing most of what the one before shows."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps COLMAP's running commentary out of the terminal."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = pycolmap.logging.Level.FATAL.value
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
