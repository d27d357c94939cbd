"""Features are matched exactly, by every instruction set, and by COLMAP where the kernels are missing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest
from numpy.typing import NDArray

from nerfscene.ops import backend
from nerfscene.posing import mapping, matching, nearest
from nerfscene.posing.copies import copy_name

PHOTOS = 4
SETS = backend.load("cpu").instruction_sets()


def descriptors(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """As COLMAP's: square roots of shares, times 512."""
    shares = rng.gamma(0.4, size=(count, 128))
    return np.asarray(np.round(512 * np.sqrt(shares / shares.sum(1, keepdims=True))).clip(0, 255), np.uint8)


def again(rng: np.random.Generator, seen: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same features in another photo."""
    noisy = np.round(seen + rng.normal(0, 4, seen.shape)).clip(0, 255)
    return np.asarray(noisy, np.uint8)


@pytest.fixture(params=SETS)
def instruction_set(request: pytest.FixtureRequest) -> Any:
    module: Any = backend.load("cpu")
    module.use_instruction_set(request.param)
    yield module
    module.use_instruction_set(SETS[0])


@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 3), (6, 64), (13, 65), (200, 131)])
def test_the_nearest_two_are_those_of_all_products(instruction_set: Any, n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    a, b = descriptors(rng, n), descriptors(rng, m)
    a[0] = 255  # the largest products that bytes can have
    b[m // 2] = 255
    b[-1] = b[0]  # of equals, the first counts
    found = np.empty((3, n), np.int32)
    instruction_set.nearest_descriptors(a, b, found)
    products = a.astype(int) @ b.T.astype(int)
    np.testing.assert_array_equal(found[0], products.argmax(1))
    ordered = np.sort(np.c_[products, np.zeros(n, int)], axis=1)
    np.testing.assert_array_equal(found[1:], ordered[:, :-3:-1].T)


def test_features_that_show_the_same_are_matched_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    a, others = descriptors(rng, 300), descriptors(rng, 300)
    order = rng.permutation(200)
    b = np.concatenate([again(rng, a[order]), others])
    found = nearest.matches(a, b)
    assert found.dtype == np.uint32 and len(found) > 190
    np.testing.assert_array_equal(found[:, 0], order[found[:, 1]])
    # What is there twice is clear from neither side.
    twice = np.concatenate([b, b[:50]])
    assert not set(nearest.matches(a, twice)[:, 0]) & set(order[:50])
    assert not set(nearest.matches(twice, a)[:, 1]) & set(order[:50])
    nothing = np.zeros((0, 128), np.uint8)
    assert nearest.matches(a, nothing).shape == nearest.matches(nothing, b).shape == (0, 2)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of photos of the same 300 points, with descriptors and without matches."""
    database = tmp_path_factory.mktemp("features") / "database.db"
    rng = np.random.default_rng(1)
    seen = descriptors(rng, 300)
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig, options.num_points3D = 1, PHOTOS, 300
    pycolmap.set_random_seed(0)
    with mapping.quiet(), pycolmap.Database.open(database) as db:
        truth = pycolmap.synthesize_dataset(options, db)
        db.clear_descriptors()
        db.clear_matches()
        db.clear_two_view_geometries()
        points = {key: number for number, key in enumerate(sorted(truth.points3D))}
        for number, image in enumerate(sorted(db.read_all_images(), key=lambda i: i.image_id)):
            image.name = copy_name(number)
            db.update_image(image)
            shown = [points.get(p.point3D_id) for p in truth.image(image.image_id).points2D]
            mine = descriptors(rng, len(shown))
            known = np.array([i for i, point in enumerate(shown) if point is not None])
            mine[known] = again(rng, seen[[shown[i] for i in known]])
            db.write_descriptors(
                image.image_id, pycolmap.FeatureDescriptors(pycolmap.FeatureExtractorType.SIFT, mine)
            )
    return database


def matched(database: Path, pairs: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Has ``pairs`` matched in the database; the numbers of verified matches of all pairs."""
    with mapping.quiet():
        matching.match(database, pairs, False, 0, "", lambda stage, done: None)
        with pycolmap.Database.open(database) as db:
            keys, counts = db.read_two_view_geometry_num_inliers()
    found = [pycolmap.pair_id_to_image_pair(key) for key in keys]
    return {(a - 1, b - 1): int(n) for (a, b), n in zip(found, counts, strict=True)}


def test_colmap_matches_the_same_where_the_kernels_are_missing(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [(a, b) for a in range(PHOTOS) for b in range(a + 1, PHOTOS)]
    ours, theirs = (Path(shutil.copy(features, tmp_path / name)) for name in ("ours.db", "theirs.db"))
    counts = matched(ours, pairs)
    monkeypatch.setattr(backend, "why_no_cpu", lambda: "not built")
    others = matched(theirs, pairs)
    assert sorted(counts) == sorted(others) == pairs and min(counts.values()) > 100
    assert all(abs(counts[pair] - others[pair]) < 0.1 * others[pair] for pair in pairs)


def test_pairs_that_an_interrupted_run_has_matched_are_verified(features: Path, tmp_path: Path) -> None:
    whole, broken = (Path(shutil.copy(features, tmp_path / name)) for name in ("whole.db", "broken.db"))
    pairs = [(0, 1), (0, 2), (1, 2)]
    counts = matched(whole, pairs)
    assert matched(broken, pairs[:1]) == {(0, 1): counts[0, 1]}
    nearest.write_matches(broken, [(copy_name(0), copy_name(2))])
    assert matched(broken, pairs) == counts == matched(broken, pairs)
