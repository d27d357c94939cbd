"""Our own features are those that COLMAP finds, by every instruction set, and masks leave some out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest
from numpy.typing import NDArray
from PIL import Image

from nerfscene.ops import backend
from nerfscene.posing import features, matching, nearest
from nerfscene.posing.copies import copy_name
from nerfscene.types import Photo

SETS = backend.load("cpu").instruction_sets()
CONTRAST = 0.0067


def picture(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Spots of many sizes on grey."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    grey = np.full((height, width), 0.5)
    for _ in range(width * height // 120):
        radius = rng.uniform(1.5, 6)
        away = (x - rng.uniform(0, width)) ** 2 + 1.5 * (y - rng.uniform(0, height)) ** 2
        grey += rng.uniform(-0.3, 0.3) * np.exp(-away / radius**2)
    return np.asarray(np.round(255 * grey.clip(0, 1)), np.uint8)


def of_colmap(grey: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu, options.num_threads = False, 1
    options.sift.first_octave, options.sift.max_num_orientations = 0, 1
    options.sift.peak_threshold = CONTRAST
    extractor = pycolmap.FeatureExtractor.create(options, pycolmap.Device.cpu)
    keypoints, descriptors = extractor.extract_from_uint8_array(grey)
    places = [(k.x, k.y, k.compute_scale(), k.compute_orientation()) for k in keypoints]
    return np.array(places), np.ascontiguousarray(descriptors.data)


@pytest.fixture(params=SETS)
def instruction_set(request: pytest.FixtureRequest) -> Any:
    module: Any = backend.load("cpu")
    module.use_instruction_set(request.param)
    yield module
    module.use_instruction_set(SETS[0])


def test_they_are_those_of_colmap(instruction_set: Any) -> None:
    grey = picture(217, 190)  # not whole vectors
    theirs, _ = of_colmap(grey)
    ours, descriptors = features.find(grey, CONTRAST, 2000)
    assert len(ours) == len(descriptors) > 60
    assert abs(len(ours) - len(theirs)) < 0.05 * len(theirs)
    apart = np.linalg.norm(ours[:, None, :2] - theirs[None, :, :2], axis=2)
    apart += np.abs(np.log(ours[:, None, 2] / theirs[None, :, 2]))
    near = apart.min(1)
    assert (near < 0.05).mean() > 0.95
    turned = np.angle(np.exp(1j * (ours[:, 3] - theirs[apart.argmin(1), 3])))
    # COLMAP takes any of several directions, we the strongest.
    assert (np.abs(turned[near < 0.05]) < 0.1).mean() > 0.7
    assert (np.diff(ours[:, 2]) <= 0).all()  # the largest first


def test_features_between_two_pixels_are_where_they_are_found() -> None:
    # Some are nearer to either of two pixels as seen from the other. They used to be a pixel off.
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (400, 400))
    taps = np.exp(-0.5 * (np.arange(-6, 7) / 1.5) ** 2)
    for axis in (0, 1):
        noise = np.apply_along_axis(np.convolve, axis, noise, taps / taps.sum(), "same")
    grey = np.asarray(np.round(255 * (0.5 + 0.15 * noise / noise.std()).clip(0, 1)), np.uint8)
    theirs, _ = of_colmap(grey)
    ours, _ = features.find(grey, CONTRAST, 4000)
    assert len(ours) > 500
    apart = np.linalg.norm(ours[:, None, :2] - theirs[None, :, :2], axis=2)
    apart += np.abs(np.log(ours[:, None, 2] / theirs[None, :, 2]))
    assert (apart.min(1) < 0.05).mean() > 0.995


def test_instruction_sets_agree() -> None:
    grey = picture(150, 131)
    module: Any = backend.load("cpu")
    found = []
    for name in SETS:
        module.use_instruction_set(name)
        found.append(features.find(grey, CONTRAST, 2000))
    module.use_instruction_set(SETS[0])
    for keypoints, descriptors in found[1:]:
        assert len(keypoints) == len(found[0][0])
        np.testing.assert_allclose(keypoints[:, :3], found[0][0][:, :3], atol=1e-2)
        off = np.abs(descriptors.astype(int) - found[0][1].astype(int)).max(1)
        assert (off <= 3).mean() > 0.98


def test_they_are_found_again_when_a_picture_is_turned_and_moved() -> None:
    grey = picture(240, 200, 1)
    ours, a = features.find(grey, CONTRAST, 2000)
    turned, b = features.find(np.rot90(grey)[10:], CONTRAST, 2000)
    pairs = nearest.matches(a, b)
    assert len(pairs) > 0.5 * len(ours)
    there = turned[pairs[:, 1], :2]
    back = np.stack([240 - (there[:, 1] + 10), there[:, 0]], axis=1)
    assert (np.linalg.norm(back - ours[pairs[:, 0], :2], axis=1) < 1).mean() > 0.9


@pytest.mark.parametrize("size", [(1, 1), (15, 400), (16, 16), (33, 17)])
def test_small_and_blank_pictures(size: tuple[int, int]) -> None:
    for grey in (np.zeros(size, np.uint8), picture(size[1], size[0])):
        keypoints, descriptors = features.find(grey, CONTRAST, 50)
        assert len(keypoints) == len(descriptors) <= 50
        assert np.isfinite(keypoints).all()
        assert (keypoints[:, :2] >= 0).all() and (keypoints[:, :2] <= [size[1], size[0]]).all()


def test_the_largest_are_kept() -> None:
    grey = picture(217, 190)
    every, _ = features.find(grey, CONTRAST, 2000)
    some, _ = features.find(grey, CONTRAST, 20)
    np.testing.assert_array_equal(some, every[:20])


@pytest.mark.parametrize("masked", [False, True])
def test_they_are_written_for_colmap(tmp_path: Path, masked: bool) -> None:
    (tmp_path / "images").mkdir()
    photos = [Photo(tmp_path / copy_name(i), 217, 190, None) for i in range(3)]
    for i in range(3):
        Image.fromarray(picture(217, 190, i)).convert("RGB").save(
            tmp_path / "images" / copy_name(i), quality=95
        )
    if masked:
        (tmp_path / "masks").mkdir()
        mask = np.zeros((190, 217), np.uint8)
        mask[:, 100:] = 255
        for i in range(3):
            Image.fromarray(mask).save(tmp_path / "masks" / f"{copy_name(i)}.png")
    effort = matching.Effort(0, 500, CONTRAST)
    assert effort.simple
    sizes = [(217, 190)] * 3
    matching.find_features(tmp_path, photos, sizes, effort, "finding features", lambda *_: None)
    with pycolmap.Database.open(tmp_path / "database.db") as db:
        for image in db.read_all_images():
            keypoints = db.read_keypoints(image.image_id)
            descriptors = db.read_descriptors(image.image_id).data
            assert len(keypoints) == len(descriptors) > 20 and keypoints.shape[1] == 6
            assert (keypoints[:, 0].min() >= 100) == masked
            np.testing.assert_allclose(keypoints[:, 2], keypoints[:, 5])
            np.testing.assert_allclose(keypoints[:, 3], -keypoints[:, 4])
