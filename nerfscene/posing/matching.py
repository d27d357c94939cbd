"""Detects features in the photos and matches them, into COLMAP's database.

Photos are identified by their index in the capture, which their copies' names give.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap

from nerfscene.capture.folder import StageListener, worker_count
from nerfscene.ops import backend
from nerfscene.posing import begun, features, nearest
from nerfscene.posing.copies import FINE_BELOW, copy_index, copy_name
from nerfscene.posing.pairs import Features, Pair, choose_pairs_of_shots, largest_features
from nerfscene.posing.room import check_room
from nerfscene.types import Photo

FEATURE_CHUNKS = 10  # number of progress reports while features are detected
# Where photos have more features than PLENTY, those of less than STRONGER times the usual contrast are left
# out: they take as much time as others, and place cameras no better.
PLENTY, STRONGER = 2000, 1.5
PAIRS_AT_ONCE = 200  # pairs per call of COLMAP, which Ctrl-C can't interrupt
# RANSAC's least number of trials, and the factor to those that the share of inliers asks for. COLMAP's 100
# and 3 take up to twice as long and find no more.
TRIALS = 20, 2.0
FEWEST_MATCHES = 15  # least number of geometrically verified matches that connect two photos
FEWEST_RELAXED = 10  # the same for relaxed matching

Size = tuple[int, int]  # width, height


@dataclass(frozen=True)
class Effort:
    """Settings of SIFT: how many features to look for, and how weak ones."""

    first_octave: int  # -1 first doubles the picture: four times the work, three times the features
    max_features: int  # per photo
    peak_threshold: float
    directions: int = 1  # of a feature, at most; a second, where it isn't clear, counts a spot twice
    plenty: int | None = None  # where photos have more features than this, their weakest are not looked for

    @property
    def simple(self) -> bool:
        """Whether ``features.find`` finds these."""
        return self.first_octave == 0 and self.directions == 1


def usual_effort(sizes: Sequence[Size], most: int) -> Effort:
    """The usual settings for pictures of these sizes, with at most ``most`` features in each."""
    small = max(max(size) for size in sizes) < FINE_BELOW
    return Effort(-1 if small else 0, most, 0.0067, plenty=PLENTY)


def find_features(
    folder: Path,
    photos: Sequence[Photo],
    sizes: Sequence[Size],
    effort: Effort,
    stage: str,
    progress: StageListener,
) -> None:
    """Writes the lenses and features of the copies in ``folder``/images to ``folder``/database.db.

    ``photos`` are the originals and ``sizes`` those of the copies. Photos of equal size and EXIF focal length
    share a lens. Masks in ``folder``/masks are applied. ``stage`` names this step for ``progress``. Features
    that an interrupted run has found there are kept.
    """
    database = folder / "database.db"
    check_room(folder)
    missing = begun.without_features(database, len(photos))
    if missing is None:
        _add_photos(folder, photos, sizes)
        missing = list(range(len(photos)))
    masked = pycolmap.ImageReaderOptions()
    if (folder / "masks").exists():
        masked.mask_path = folder / "masks"
    options = pycolmap.FeatureExtractionOptions()
    options.sift.first_octave = effort.first_octave
    options.sift.max_num_features = effort.max_features
    options.sift.peak_threshold = effort.peak_threshold
    options.sift.max_num_orientations = effort.directions
    ours = effort.simple and features.usable() and not _on_gpu()
    total = len(photos)
    workers = worker_count()
    chunk = -(-total // FEATURE_CHUNKS // workers) * workers  # the same for each, so that none waits
    sample = {i * total // chunk for i in range(chunk)}  # whose number of features says what the others need
    rest = [i for i in missing if i not in sample]
    done = total - len(missing)
    progress(stage, done / total)
    for some in [sorted(sample & set(missing)), *(rest[k : k + chunk] for k in range(0, len(rest), chunk))]:
        check_room(folder, len(some))
        if some:
            names = [copy_name(i) for i in some]
            if ours:
                features.write_features(folder, names, options.sift.peak_threshold, effort.max_features)
            else:
                _extract(folder, names, masked, options)
        if effort.plenty is not None and _median_count(database, sample) > effort.plenty:
            options.sift.peak_threshold = STRONGER * effort.peak_threshold
        done += len(some)
        progress(stage, done / total)


def _median_count(database: Path, photos: Collection[int]) -> float:
    """The median number of features in these photos, by index."""
    with pycolmap.Database.open(database) as db:
        images = [image for image in db.read_all_images() if copy_index(image.name) in photos]
        return float(np.median([db.num_keypoints_for_image(image.image_id) for image in images]))


def _extract(
    folder: Path,
    names: list[str],
    masked: pycolmap.ImageReaderOptions,
    options: pycolmap.FeatureExtractionOptions,
) -> None:
    """Finds features in these copies: on a GPU, if pycolmap was built for it and it works there."""

    def extract(device: pycolmap.Device) -> None:
        options.use_gpu = device != pycolmap.Device.cpu
        pycolmap.extract_features(
            folder / "database.db",
            folder / "images",
            image_names=names,
            reader_options=masked,
            extraction_options=options,
            device=device,
        )

    if _on_gpu():
        with contextlib.suppress(RuntimeError):  # photos that have features by now are passed over
            return extract(pycolmap.Device.cuda)
    return extract(pycolmap.Device.cpu)


def _on_gpu() -> bool:
    """Whether COLMAP can find features on a GPU."""
    return bool(pycolmap.has_cuda) and backend.why_no_cuda() is None


def _add_photos(folder: Path, photos: Sequence[Photo], sizes: Sequence[Size]) -> None:
    """Writes the copies' names and lenses to the new ``folder``/database.db."""
    database = folder / "database.db"
    pycolmap.Database.open(database).close()  # import_images requires the file to exist
    cameras: dict[tuple[object, ...], list[int]] = {}
    for index, photo in enumerate(photos):
        focal = photo.focal and round(photo.focal, 1)
        cameras.setdefault((photo.width, photo.height, focal), []).append(index)
    for members in cameras.values():
        reader = pycolmap.ImageReaderOptions()
        # One distortion coefficient during mapping: four diverge on the first few photos, and then 94 of 100
        # photos were lost of a capture that is posed completely with one. with_full_lenses adds the others.
        reader.camera_model = "SIMPLE_RADIAL"
        reader.camera_params = _camera_prior(photos[members[0]], sizes[members[0]], reader)
        names = [copy_name(i) for i in members]
        # Before features are extracted, so that ids follow the order of the photos, not that of the threads.
        pycolmap.import_images(database, folder / "images", pycolmap.CameraMode.SINGLE, names, reader)


def _camera_prior(photo: Photo, size: Size, reader: pycolmap.ImageReaderOptions) -> str:
    """COLMAP's camera parameters from the EXIF focal length; "", for COLMAP's guess, if EXIF gives none."""
    if photo.focal is None:
        return ""
    focal = photo.focal * size[0] / photo.width
    camera = pycolmap.Camera.create_from_model_name(1, reader.camera_model, focal, *size)
    return camera.params_to_string()


def guessed_focal(camera: pycolmap.Camera) -> float:
    """COLMAP's guess of the focal length, in pixels, of a photo without one in EXIF."""
    guess = pycolmap.ImageReaderOptions().default_focal_length_factor
    return float(guess * max(camera.width, camera.height))


def forget_focal_lengths(database: Path) -> list[pycolmap.Camera]:
    """Sets every lens to COLMAP's guess; returns the lenses as they were, for set_lenses."""
    with pycolmap.Database.open(database) as db:
        before = db.read_all_cameras()
        for camera in db.read_all_cameras():
            camera.params = [guessed_focal(camera), camera.width / 2, camera.height / 2, 0.0]
            camera.has_prior_focal_length = False
            db.update_camera(camera)
    return list(before)


def set_lenses(database: Path, cameras: Sequence[pycolmap.Camera]) -> None:
    """Writes the lenses back that forget_focal_lengths returned."""
    with pycolmap.Database.open(database) as db:
        for camera in cameras:
            db.update_camera(camera)


def pairs_to_match(
    database: Path, shots: Sequence[int], matcher: str, broad: bool, progress: StageListener
) -> list[Pair]:
    """Pairs of photos, by index, that are worth matching (see ``pairs.choose_pairs_of_shots``)."""
    with pycolmap.Database.open(database) as db:
        images = sorted(db.read_all_images(), key=lambda image: image.name)
        # Keeps only the largest features, because all features of 300 photos take half a gigabyte.
        largest = [_features(db, image.image_id) for image in images]
    return choose_pairs_of_shots(largest, shots, matcher, broad, progress)


def _features(db: pycolmap.Database, image_id: int) -> Features:
    """Descriptors (n, 128) and sizes in pixels (n,) of an image's largest features."""
    keypoints = db.read_keypoints(image_id).astype(np.float64)  # x, y and a 2×2 affine shape
    scales = np.sqrt(np.abs(np.linalg.det(keypoints[:, 2:6].reshape(-1, 2, 2))))
    return largest_features(np.asarray(db.read_descriptors(image_id).data, np.float32), scales)


def match(
    database: Path,
    pairs: Sequence[Pair],
    relaxed: bool,
    seed: int,
    stage: str,
    progress: StageListener,
    panoramas: bool = False,
) -> None:
    """Matches ``pairs``, verifies the matches geometrically, and adds them to the database.

    Pairs that are already in the database are skipped. ``relaxed`` accepts fewer matches per pair. ``stage``
    names this step for ``progress``. ``panoramas``: matches at the same place in both pictures don't count,
    because the stand and the photographer move along with a 360° camera.
    """
    matching = pycolmap.FeatureMatchingOptions()
    matching.use_gpu = False
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = seed
    verification.ransac.min_num_trials, verification.ransac.dyn_num_trials_multiplier = TRIALS
    verification.min_num_inliers = FEWEST_RELAXED if relaxed else FEWEST_MATCHES
    verification.filter_stationary_matches = panoramas
    listing = database.with_name("pairs.txt")
    ours = nearest.usable()
    progress(stage, 0.0)
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        batch = pairs[start : start + PAIRS_AT_ONCE]
        check_room(database.parent, pairs=len(batch))
        names = [(copy_name(a), copy_name(b)) for a, b in batch]
        listing.write_text("".join(f"{a} {b}\n" for a, b in names))
        if ours:
            nearest.write_matches(database, names)
            pycolmap.verify_matches(database, listing, verification)
        else:
            pairing = pycolmap.ImportedPairingOptions()
            pairing.match_list_path = str(listing)
            pycolmap.match_image_pairs(database, matching, pairing, verification, device=pycolmap.Device.cpu)
        progress(stage, (start + len(batch)) / len(pairs))
    listing.unlink(missing_ok=True)


def connections(database: Path, fewest: int = FEWEST_MATCHES) -> list[Pair]:
    """Pairs (a, b), a < b, of photos by index that have at least ``fewest`` verified matches, sorted."""
    with pycolmap.Database.open(database) as db:
        index = {image.image_id: copy_index(image.name) for image in db.read_all_images()}
        keys, inliers = db.read_two_view_geometry_num_inliers()
    pairs = []
    for key, number in zip(keys, inliers, strict=True):
        if number >= fewest:
            a, b = (index[image] for image in pycolmap.pair_id_to_image_pair(key))
            pairs.append((min(a, b), max(a, b)))
    return sorted(pairs)
