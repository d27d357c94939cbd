"""Panoramas are posed as rigs: the views cut from one have one place and directions that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap
import pytest
from panorama_cases import PLACES, panorama, photo, poses, write_panoramas
from PIL import Image

from nerfscene.cameras.cube import FACES, shots
from nerfscene.config import PoseConfig
from nerfscene.intake import open_posed
from nerfscene.posing.pairs import choose_pairs_of_shots
from nerfscene.training.dataset import split_views
from nerfscene.types import Array, Intrinsics, PosedCapture, View

FEW = PoseConfig(max_features=2400)


def aligned_error(found: Array, true: Array) -> Array:
    """Distances (n,) between places (n, 3), after the similarity that fits them best."""
    sim = pycolmap.estimate_sim3d(found, true)
    assert sim is not None
    return np.linalg.norm(np.array([sim * p for p in found]) - true, axis=1)


def check_rigid(posed: PosedCapture) -> None:
    """The views of each panorama stand at one place, and look as the faces of a cube do."""
    for shot in set(shots(posed.views)):
        views = [v for v, s in zip(posed.views, shots(posed.views), strict=True) if s == shot]
        if views[0].panorama is None:
            continue
        base = views[0].world_from_cam[:3, :3] @ FACES[views[0].face].T
        for v in views:
            assert np.allclose(v.world_from_cam[:3, 3], views[0].world_from_cam[:3, 3], atol=1e-9)
            assert np.allclose(v.world_from_cam[:3, :3], base @ FACES[v.face], atol=1e-9)


@pytest.fixture(scope="module")
def posed(tmp_path_factory: pytest.TempPathFactory) -> PosedCapture:
    """Six panoramas and one ordinary photo of the room, one panorama without its lower part.

    Below and to the left, the panoramas show the photographer, who moves along.
    """
    folder = tmp_path_factory.mktemp("room")
    stand = panorama(poses()[5], 512, seed=6)
    for path in write_panoramas(folder / "in"):
        pixels = np.array(Image.open(path))
        pixels[205:], pixels[130:, 60:100] = stand[205:], stand[130:, 60:100]
        Image.fromarray(pixels).save(path, quality=93)
    (folder / "in/masks").mkdir()
    mask = np.full((256, 512), 255, np.uint8)
    mask[170:] = 0
    Image.fromarray(mask).save(folder / "in/masks/R0002.png")
    pose = poses()[2].copy()
    pose[:3, 3] += (0.1, -0.2, 0.1)
    Image.fromarray(photo(pose, 320, 240, 260.0)).save(folder / "in/Z.jpg", quality=95)
    return open_posed(folder / "in", folder / "work", FEW)


def test_panoramas_are_posed_as_rigs(posed: PosedCapture) -> None:
    assert posed.source == "photos" and posed.left_out == ()
    assert (posed.photos_given, len(posed.views)) == (7, 5 + 5 * 6 + 1)
    assert posed.posing is not None and posed.posing.photos_posed == 7 and posed.posing.apart == ()
    assert posed.posing.pairs_compared <= 21
    assert posed.posing.agreement is not None and posed.posing.agreement > 0.8
    check_rigid(posed)
    taken = shots(posed.views)
    places = np.array([posed.views[taken.index(i)].world_from_cam[:3, 3] for i in range(6)])
    assert aligned_error(places, np.array(PLACES)).max() < 0.01  # m, in a room of 6 × 5 m
    assert len(posed.points) > 300 and posed.reprojection_error is not None and posed.reprojection_error < 1


def test_the_lens_of_a_face_is_exact(posed: PosedCapture) -> None:
    for view in posed.views[:-1]:
        k = view.intrinsics
        assert (k.fx, k.fy, k.cx, k.cy) == (k.width / 2,) * 4 and k.distortion == (0,) * 5
    assert posed.views[-1].panorama is None
    assert posed.views[-1].intrinsics.fx == pytest.approx(260, rel=0.1)


def test_a_panorama_is_held_out_as_a_whole(posed: PosedCapture) -> None:
    views = split_views(posed, 3)
    split = {
        shot: {v.split for v, s in zip(views, shots(views), strict=True) if s == shot} for shot in range(7)
    }
    assert all(len(kinds) == 1 for kinds in split.values())
    assert sum(kinds == {"test"} for kinds in split.values()) in (2, 3)


def test_views_of_one_panorama_are_no_pair() -> None:
    rng = np.random.default_rng(0)
    descriptors = rng.random((40, 128)).astype(np.float32)
    features = [(descriptors, np.ones(40))] * 6
    pairs = choose_pairs_of_shots(features, [0, 0, 1, 1, 2, 3], "auto", broad=True)
    assert (0, 1) not in pairs and (2, 3) not in pairs and (0, 2) in pairs and (4, 5) in pairs
    assert choose_pairs_of_shots(features, [0, 0, 1, 1, 2, 3], "auto") == pairs  # all look alike


LENS = Intrinsics(768, 384, *[768 / (2 * np.pi)] * 2, 384, 192, "equirectangular")


def given_cameras(folder: Path, cameras: list[Array]) -> PosedCapture:
    """Six panoramas of the room that come with these cameras, as a reader gives them."""
    paths = write_panoramas(folder, 768)
    views = tuple(View(path, LENS, camera) for path, camera in zip(paths, cameras, strict=True))
    return PosedCapture(folder, "transforms", views, len(views))


@pytest.mark.long
def test_given_cameras_of_panoramas_get_points_and_move_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    cameras = [pose.copy() for pose in poses()]
    for camera in cameras:
        camera[:3, 3] += 0.06 * rng.normal(size=3)
    given = given_cameras(tmp_path, cameras)
    monkeypatch.setattr("nerfscene.intake.find_posed", lambda source: given)
    read = open_posed(tmp_path, tmp_path / "work", FEW, given="read")
    assert len(read.views) == 36 and {v.intrinsics.lens for v in read.views} == {"perspective"}
    check_rigid(read)
    fitted = open_posed(tmp_path, tmp_path / "work", FEW)
    check_rigid(fitted)
    places = np.array([v.world_from_cam[:3, 3] for v in fitted.views[::6]])
    off_by = aligned_error(np.array([camera[:3, 3] for camera in cameras]), np.array(PLACES))
    assert len(fitted.points) > 300 and aligned_error(places, np.array(PLACES)).mean() < 0.2 * off_by.mean()


@pytest.mark.long
def test_cameras_of_panoramas_that_are_right_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = given_cameras(tmp_path, poses())
    monkeypatch.setattr("nerfscene.intake.find_posed", lambda source: true)
    kept = open_posed(tmp_path, tmp_path / "work", FEW)
    assert len(kept.warnings) == 1 and kept.reprojection_error is not None and kept.reprojection_error < 1
    assert np.allclose(kept.views[7].world_from_cam[:3, 3], PLACES[1])
