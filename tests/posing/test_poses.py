"""Posing: on correspondences with known truth, and on rendered photos of a textured corner."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import analytic
import numpy as np
import pycolmap
import pytest
from footage_cases import DEMO
from numpy.typing import NDArray
from PIL import Image
from pose_errors import pose_errors

from nerfscene.capture.folder import open_capture, read_pixels
from nerfscene.capture.work_folder import remove_unfinished
from nerfscene.config import PoseConfig
from nerfscene.errors import NerfsceneError
from nerfscene.posing import adjusting, mapping, matching, pairs, poses
from nerfscene.posing.copies import working_size, write_copies, write_masks
from nerfscene.posing.model_files import read_model
from nerfscene.posing.pairs import choose_pairs, coarse_matches
from nerfscene.posing.poses import pose
from nerfscene.types import Array, Photo, PosedCapture

DATA = Path(os.environ.get("NERFSCENE_DATA", Path(__file__).parents[3] / "shared/data"))
WIDTH, HEIGHT, FOCAL = 320, 240, 300.0
VIEWS = 8
SMALLER = PoseConfig(max_image_size=240, max_features=400)  # a third of the time
SAME = 5e-3  # on a busy machine COLMAP's threads add up in another order now and then


def textures(seed: int, size: int = 256) -> NDArray[np.float64]:
    """Three pictures (3, size, size, 3) with detail at every scale, as features want it."""
    rng = np.random.default_rng(seed)
    total = np.zeros((3, size, size, 3))
    for cells in (8, 32, 128):
        for picture in total:
            noise = rng.integers(0, 256, (cells, cells, 3), np.uint8)
            grown = Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)
            picture += np.asarray(grown) / 3
    return total


def camera_at(angle: float, height: float, distance: float) -> Array:
    """world_from_cam (OpenCV axes, z up) that looks at the corner's middle."""
    target = np.array([1.0, 1.0, 0.8])
    return analytic.look(target + distance * np.array([np.cos(angle), np.sin(angle), height]), target)


def render(world_from_cam: Array, pictures: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A corner of three 4×4 walls at x, y, z = 0, seen from inside it."""
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = np.stack([(columns - WIDTH / 2) / FOCAL, (rows - HEIGHT / 2) / FOCAL, np.ones_like(rows)], -1)
    rays = rays @ world_from_cam[:3, :3].T
    centre = world_from_cam[:3, 3]
    with np.errstate(divide="ignore"):
        reach = np.where(rays < 0, -centre / rays, np.inf)  # (h, w, 3), to each wall
    wall = reach.argmin(-1)
    hits = centre + rays * reach.min(-1, keepdims=True)
    others = np.array([[1, 2], [0, 2], [0, 1]])[wall]
    uv = np.take_along_axis(hits, others, -1) / 4 * pictures.shape[1]
    uv = np.clip(uv, 0, pictures.shape[1] - 1.001)
    low, part = uv.astype(int), uv % 1

    def texel(du: int, dv: int) -> NDArray[np.float64]:
        return pictures[wall, low[..., 0] + du, low[..., 1] + dv]

    u, v = part[..., :1], part[..., 1:]
    mixed = (texel(0, 0) * (1 - u) + texel(1, 0) * u) * (1 - v)
    mixed += (texel(0, 1) * (1 - u) + texel(1, 1) * u) * v
    return np.where(np.isfinite(hits).all(-1, keepdims=True), mixed, 0).astype(np.uint8)


def truth(count: int = VIEWS) -> list[Array]:
    angles = np.linspace(0.45, 1.15, count)
    return [camera_at(a, 0.35 + 0.1 * (i % 3), 2.6) for i, a in enumerate(angles)]


def write_views(folder: Path, prefix: str, matrices: list[Array], seed: int) -> None:
    """Writes views of the corner; every other one is stored on its side with an EXIF note, as phones do."""
    folder.mkdir(exist_ok=True)
    pictures = textures(seed)
    for index, matrix in enumerate(matrices):
        shown = render(matrix, pictures)
        exif = Image.Exif()
        if index % 2:
            exif[0x0112] = 6
            shown = np.ascontiguousarray(np.rot90(shown))
        path = folder / f"{prefix}{index}.jpg"
        Image.fromarray(shown).save(path, quality=95, exif=exif)


def assert_posed(found: Iterable[Array], expected: list[Array], position: float, degrees: float) -> None:
    """Each camera is within ``position`` (in mean distances of cameras from their middle) and ``degrees``."""
    distances, angles, _ = pose_errors(list(found), expected)
    centres = np.stack(expected)[:, :3, 3]
    spread = np.linalg.norm(centres - centres.mean(0), axis=1).mean()
    assert distances.max() < position * spread and angles.max() < degrees


@pytest.fixture(scope="module")
def corner(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, PosedCapture]:
    """Photos, workdir and outcome of posing eight views of the corner."""
    root = tmp_path_factory.mktemp("corner")
    write_views(root / "photos", "a", truth(), seed=1)
    return root / "photos", root / "work", pose(open_capture(root / "photos"), root / "work")


@pytest.fixture(scope="module")
def smaller(
    corner: tuple[Path, Path, PosedCapture], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, PosedCapture]:
    """The same photos, at a smaller working size, for tests that pose them once more."""
    work = tmp_path_factory.mktemp("smaller")
    return corner[0], work, pose(open_capture(corner[0]), work, SMALLER)


def test_rendered_photos_are_posed_as_they_were_taken(
    corner: tuple[Path, Path, PosedCapture],
) -> None:
    _, _, posed = corner
    assert [view.path.name for view in posed.views] == [f"a{i}.jpg" for i in range(VIEWS)]
    assert posed.photos_given == VIEWS and posed.warnings == () and posed.source == "photos"
    assert_posed((v.world_from_cam for v in posed.views), truth(), position=0.02, degrees=0.5)
    for view in posed.views:  # as shown, also where the file is stored turned
        lens = view.intrinsics
        assert (lens.width, lens.height) == (WIDTH, HEIGHT)
        assert lens.fx == pytest.approx(FOCAL, rel=0.03)
        assert read_pixels(view.path, lens.width, lens.height).shape[:2] == (HEIGHT, WIDTH)
    assert len(posed.points) > 100 and posed.point_colors.std() > 5
    assert posed.reprojection_error is not None and 0 < posed.reprojection_error < 1.5


def test_points_project_into_the_photos_as_shown(
    corner: tuple[Path, Path, PosedCapture],
) -> None:
    # A point's colour is that of the pixels it projects to: ties poses, lenses and photos together.
    _, _, posed = corner
    errors, shuffled = [], []
    for view in posed.views:
        pixels = read_pixels(view.path, WIDTH, HEIGHT).astype(float)
        cam = (posed.points - view.world_from_cam[:3, 3]) @ view.world_from_cam[:3, :3]
        lens = view.intrinsics
        u = (lens.fx * cam[:, 0] / cam[:, 2] + lens.cx).astype(int)
        v = (lens.fy * cam[:, 1] / cam[:, 2] + lens.cy).astype(int)
        seen = (cam[:, 2] > 0) & (u >= 0) & (u < WIDTH) & (v >= 0) & (v < HEIGHT)
        assert seen.mean() > 0.5
        colors = posed.point_colors[seen].astype(float)
        errors.append(np.abs(pixels[v[seen], u[seen]] - colors).mean())
        shuffled.append(np.abs(pixels[v[seen], u[seen]] - colors[::-1]).mean())
    assert max(errors) < 0.5 * min(shuffled)


def test_smaller_working_size_still_gives_lenses_in_the_photos_pixels(
    corner: tuple[Path, Path, PosedCapture], smaller: tuple[Path, Path, PosedCapture]
) -> None:
    _, _, full = corner
    _, work, posed = smaller
    with Image.open(work / "posing/images/00001.jpg") as copy:
        assert copy.size == (240, 180)
    assert len(posed.views) == VIEWS
    for view, other in zip(posed.views, full.views, strict=True):
        assert (view.intrinsics.width, view.intrinsics.cx) == (WIDTH, WIDTH / 2)
        assert view.intrinsics.fx == pytest.approx(other.intrinsics.fx, rel=0.05)


def must_not_run(*_: object) -> None:
    raise AssertionError("posed again")


def test_complete_results_are_reused_until_photos_or_settings_change(
    corner: tuple[Path, Path, PosedCapture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, done, first = corner
    work = tmp_path / "work"
    shutil.copytree(done, work)
    assert not (work / "posing.partial").exists()
    monkeypatch.setattr(poses, "_pose_into", must_not_run)
    capture = open_capture(photos)
    again = pose(capture, work)
    for view, other in zip(again.views, first.views, strict=True):
        assert (view.path, view.intrinsics) == (other.path, other.intrinsics)
        np.testing.assert_array_equal(view.world_from_cam, other.world_from_cam)

    changed_copy = tmp_path / "photos"
    shutil.copytree(photos, changed_copy)  # keeps times
    pose(open_capture(changed_copy), work)  # moved photos are the same photos
    (changed_copy / "a3.jpg").touch()
    fewer = replace(capture, photos=capture.photos[:-1])
    for given, config in (
        (open_capture(changed_copy), PoseConfig()),
        (fewer, PoseConfig()),
        (capture, PoseConfig(seed=1)),
    ):
        with pytest.raises(AssertionError, match="posed again"):
            pose(given, work, config)
    (work / "posing/done.json").unlink()
    with pytest.raises(AssertionError, match="posed again"):
        pose(capture, work)


def test_an_interrupted_run_is_not_trusted(
    corner: tuple[Path, Path, PosedCapture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, _, _ = corner

    def interrupted(folder: Path, *_: object) -> None:
        (folder / "sparse").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(poses, "_pose_into", interrupted)
    for _ in range(2):  # the second run finds what the first left
        with pytest.raises(KeyboardInterrupt):
            pose(open_capture(photos), tmp_path)
        assert not (tmp_path / "posing").exists()


def stopping(at: str, beyond: float) -> Callable[[str, float], None]:
    """A listener that interrupts posing in a stage, beyond a fraction of it."""

    def listener(stage: str, fraction: float) -> None:
        if stage == at and fraction > beyond:
            raise KeyboardInterrupt

    return listener


def left_at(work: Path, photos: Path, stage: str, beyond: float) -> Path:
    """The database that is left when posing is interrupted."""
    with pytest.raises(KeyboardInterrupt):
        pose(open_capture(photos), work, SMALLER, progress=stopping(stage, beyond))
    assert not (work / "posing").exists()
    return work / "posing.partial" / "database.db"


@pytest.mark.parametrize(
    ("stage", "beyond", "again"),
    [
        pytest.param("shrinking photos", 0.5, "shrinking photos", marks=pytest.mark.long),
        ("finding features", 0.3, "finding features"),
        pytest.param("matching photos", 0.9, "matching photos", marks=pytest.mark.long),
        ("placing cameras", 0.3, "matching photos"),
    ],
)
def test_what_an_interrupted_run_has_found_is_kept(
    smaller: tuple[Path, Path, PosedCapture], tmp_path: Path, stage: str, beyond: float, again: str
) -> None:
    photos, done, first = smaller
    left_at(tmp_path, photos, stage, beyond)
    told: list[tuple[str, float]] = []
    posed = pose(open_capture(photos), tmp_path, SMALLER, progress=lambda s, f: told.append((s, f)))
    assert told[0][0] == again and (told[0][1] > beyond) == (again == stage == "finding features")
    for view, other in zip(posed.views, first.views, strict=True):
        np.testing.assert_allclose(view.world_from_cam, other.world_from_cam, atol=SAME)
    left = {p.name for p in (tmp_path / "posing").iterdir()}
    assert left == {p.name for p in (done / "posing").iterdir()} and "begun.json" not in left


def test_what_nothing_has_gone_on_with_is_removed(
    smaller: tuple[Path, Path, PosedCapture], tmp_path: Path
) -> None:
    """As when cameras come with the photos after all. What is complete stays."""
    photos, _, _ = smaller
    left_at(tmp_path, photos, "finding features", 0.3)
    (tmp_path / "frames").mkdir()
    remove_unfinished(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["frames"]


def test_features_that_a_killed_run_wrote_by_half_are_found_again(
    smaller: tuple[Path, Path, PosedCapture], tmp_path: Path
) -> None:
    photos, _, first = smaller
    database = left_at(tmp_path, photos, "finding features", 0.3)
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        for table, image in (("keypoints", 1), ("descriptors", 2)):
            assert db.execute(f"delete from {table} where image_id = ?", (image,)).rowcount == 1
    posed = pose(open_capture(photos), tmp_path, SMALLER)
    for view, other in zip(posed.views, first.views, strict=True):
        np.testing.assert_allclose(view.world_from_cam, other.world_from_cam, atol=SAME)


def damaged(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:5000] + bytes(5000))


def emptied(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        db.execute("delete from images where image_id > 2")  # as if killed while photos were added


@pytest.mark.parametrize(
    "harm", [damaged, *(pytest.param(harm, marks=pytest.mark.long) for harm in (emptied, Path.unlink))]
)
def test_a_database_that_a_killed_run_left_broken_is_made_anew(
    smaller: tuple[Path, Path, PosedCapture], tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    photos, _, first = smaller
    harm(left_at(tmp_path, photos, "finding features", 0.3))
    posed = pose(open_capture(photos), tmp_path, SMALLER)
    for view, other in zip(posed.views, first.views, strict=True):
        np.testing.assert_allclose(view.world_from_cam, other.world_from_cam, atol=SAME)


def test_what_was_found_in_other_photos_is_not_kept(
    smaller: tuple[Path, Path, PosedCapture], tmp_path: Path
) -> None:
    photos, _, _ = smaller
    left_at(tmp_path, photos, "matching photos", 0.9)
    told: list[str] = []
    fewer = replace(open_capture(photos), photos=open_capture(photos).photos[:-1])
    assert len(pose(fewer, tmp_path, SMALLER, progress=lambda s, f: told.append(s)).views) == VIEWS - 1
    assert told[0] == "shrinking photos"


def test_the_same_seed_gives_the_same_cameras_and_says_how_far_it_is(
    smaller: tuple[Path, Path, PosedCapture], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photos, _, first = smaller
    told: list[tuple[str, float]] = []
    again = pose(open_capture(photos), tmp_path, SMALLER, progress=lambda s, f: told.append((s, f)))
    assert capfd.readouterr() == ("", "")  # COLMAP keeps quiet
    for view, other in zip(again.views, first.views, strict=True):
        np.testing.assert_allclose(view.world_from_cam, other.world_from_cam, atol=1e-6)
    stages = list(dict.fromkeys(stage for stage, _ in told))
    assert stages == ["shrinking photos", "finding features", "matching photos", "placing cameras"]
    for stage in stages:
        fractions = [f for s, f in told if s == stage]
        assert fractions == sorted(fractions) and fractions[-1] == 1


@pytest.mark.long
def test_of_two_places_the_one_with_more_photos_is_taken_with_a_warning(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write_views(photos, "place", truth(6), seed=1)
    write_views(photos, "another", truth(4), seed=2)  # connected among themselves, too
    posed = pose(open_capture(photos), tmp_path / "work", SMALLER)
    assert [view.path.name for view in posed.views] == [f"place{i}.jpg" for i in range(6)]
    assert posed.photos_given == 10
    (warning,) = posed.warnings
    assert "4 of 10" in warning and "another0.jpg, another1.jpg" in warning
    assert "form a separate group of 4" in warning
    assert {left.reason for left in posed.left_out} == {
        "is one of a group of 4 that shares nothing with the other photos"
    }
    assert posed.posing is not None and posed.posing.photos_posed == 6
    assert posed.posing.apart == (tuple(f"another{i}.jpg" for i in range(4)),)
    assert pose(open_capture(photos), tmp_path / "work", SMALLER).posing == posed.posing  # kept on disk


def test_photos_that_share_nothing_are_an_error(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(4):
        flat = np.full((HEIGHT, WIDTH, 3), 60 * index, np.uint8)
        Image.fromarray(flat).save(photos / f"{index}.jpg")
    with pytest.raises(NerfsceneError, match="none of the 4 photos") as caught:
        pose(open_capture(photos), tmp_path / "work")
    assert "0.jpg, 1.jpg, 2.jpg, 3.jpg share nothing with any other photo" in str(caught.value)
    assert not (tmp_path / "work/posing").exists()


def test_cut_outs_are_posed_by_what_can_be_seen(tmp_path: Path) -> None:
    # Transparent pixels hide the same picture everywhere, whose matches would mean "no motion".
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(5)
    hidden = rng.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    pictures = textures(1)
    for index, matrix in enumerate(truth(6)):
        pixels = np.dstack([render(matrix, pictures), np.full((HEIGHT, WIDTH), 255, np.uint8)])
        pixels[:, : WIDTH // 2, :3] = hidden[:, : WIDTH // 2]
        pixels[:, : WIDTH // 2, 3] = 0
        Image.fromarray(pixels).save(photos / f"{index}.png")
    posed = pose(open_capture(photos), tmp_path / "work")
    assert posed.has_alpha and len(posed.views) == 6
    assert_posed((v.world_from_cam for v in posed.views), truth(6), position=0.06, degrees=2)


def test_mapping_recovers_known_cameras(tmp_path: Path) -> None:
    # Known correspondences instead of photos: this tests the mapping alone.
    pycolmap.set_random_seed(0)
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig, options.num_points3D = 1, 12, 300
    options.inlier_match_ratio = 0.8
    (tmp_path / "images").mkdir()
    with pycolmap.Database.open(tmp_path / "database.db") as database:
        expected = pycolmap.synthesize_dataset(options, database)
    with mapping.quiet():
        (got,) = mapping.incremental_mapping(tmp_path, mapping.USUAL, 0, lambda: None)
    for name, model in (("got", got), ("expected", expected)):
        (tmp_path / name).mkdir()
        model.write_binary(str(tmp_path / name))
    a, b = read_model(tmp_path / "got"), read_model(tmp_path / "expected")
    assert len(a.names) == 12 and sorted(a.names) == sorted(b.names)
    matrices = dict(zip(b.names, b.world_from_cam, strict=True))
    assert_posed(a.world_from_cam, [matrices[name] for name in a.names], position=1e-3, degrees=0.05)


def known_lens(params: list[float], noise: float) -> pycolmap.Reconstruction:
    """A true model of 20 photos through OPENCV lenses, its camera reduced to one coefficient."""
    pycolmap.set_random_seed(0)
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig, options.num_points3D = 1, 20, 300
    options.camera_model_id = pycolmap.CameraModelId.OPENCV
    options.camera_params = params
    model = pycolmap.synthesize_dataset(options)
    noisy = pycolmap.SyntheticNoiseOptions()
    noisy.point2D_stddev = noise
    pycolmap.synthesize_noise(noisy, model)
    (camera,) = model.cameras.values()
    camera.model = pycolmap.CameraModelId.SIMPLE_RADIAL
    camera.params = [params[0], params[2], params[3], params[4]]
    model.update_point_3d_errors()
    return model


def test_many_photos_free_all_terms_of_their_lens(capfd: pytest.CaptureFixture[str]) -> None:
    true = [1280.0, 1270.0, 512.0, 384.0, 0.05, -0.08, 0.002, -0.003]
    model = known_lens(true, noise=0.1)
    with mapping.quiet():
        full = adjusting.with_full_lenses(model)
    assert capfd.readouterr() == ("", "")
    (camera,) = full.cameras.values()
    assert camera.model_name == "OPENCV"
    # Distortion terms and focal length trade off against each other; compare where rays land.
    rays = np.array([[x, y, 1.0] for x in (-0.35, 0, 0.35) for y in (-0.25, 0, 0.25)])
    expected = pycolmap.Camera.create_from_model_name(1, "OPENCV", 1.0, 1024, 768)
    expected.params = true
    off = np.array([camera.img_from_cam(r) - expected.img_from_cam(r) for r in rays])
    assert np.abs(off).max() < 1.5
    assert full.compute_mean_reprojection_error() < 0.3 < model.compute_mean_reprojection_error()


def test_few_photos_keep_their_simple_lens() -> None:
    model = known_lens([1280.0, 1270.0, 512.0, 384.0, 0.05, 0, 0, 0], noise=0.1)
    for frame in sorted(model.reg_frame_ids())[10:]:
        model.deregister_frame(frame)
    with mapping.quiet():
        (camera,) = adjusting.with_full_lenses(model).cameras.values()
    assert camera.model_name == "SIMPLE_RADIAL"


def test_absurd_lenses_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    model = known_lens([1280.0, 1270.0, 512.0, 384.0, 0.05, -0.08, 0, 0], noise=0.1)
    monkeypatch.setattr(adjusting, "LARGEST_COEFFICIENT", 0.04)
    with mapping.quiet():
        assert adjusting.with_full_lenses(model) is model


def fake_features(place: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    noisy = place + rng.normal(scale=0.01, size=place.shape)
    return np.abs(noisy).astype(np.float32)


def test_coarse_matching_finds_photos_of_the_same_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    places = rng.random((3, 60, 128)).astype(np.float32) ** 4
    order = np.tile(np.arange(3), 10)  # neighbours by name always differ
    features = [(fake_features(places[k], rng), rng.random(60)) for k in order]
    alike = coarse_matches(features)
    same = order[:, None] == order
    np.testing.assert_array_equal(alike, alike.T)
    assert alike[same & ~np.eye(len(order), dtype=bool)].min() > 50
    assert alike[~same].max() < 4
    monkeypatch.setattr(pairs, "ALL_UP_TO", 10)
    chosen = choose_pairs(features, "auto")
    assert chosen == sorted(set(chosen)) and all(a < b for a, b in chosen)
    expected = {(a, b) for a, b in zip(*np.nonzero(np.triu(same, 1)), strict=True)}
    assert expected < set(chosen)
    assert {b - a for a, b in set(chosen) - expected} == {1, 2}
    monkeypatch.setattr(pairs, "BEST_PARTNERS", 4)
    assert len(choose_pairs(features, "auto")) < len(chosen)


def walk_features(stops: list[float], seen: int = 40, kept: int = 60) -> list[pairs.Features]:
    """Features of photos along a path: each shares those of places a few steps either way."""
    rng = np.random.default_rng(0)
    # Position p shows the kept features that lie nearest to it.
    places = np.arange(int(max(stops) + seen) * 4) / 4 - seen / 2
    look = rng.random((len(places), 128)).astype(np.float32) ** 4
    features = []
    for stop in stops:
        near = np.argsort(np.abs(places - stop), kind="stable")[:kept]
        features.append((fake_features(look[near], rng), rng.random(kept)))
    return features


def test_a_walk_is_closed_where_it_comes_round() -> None:
    # 80 photos there and back: the last sees what the first saw, 79 names away.
    stops = [*np.arange(40.0), *np.arange(40.0)[::-1]]
    chosen = choose_pairs(walk_features(stops), "auto")
    assert max(b - a for a, b in chosen) > 75
    far = sum(b - a > 20 for a, b in chosen)
    assert far > 60 and len(chosen) < 80 * 22


def test_groups_are_joined_by_the_best_pairs_between_them() -> None:
    # Three photos that coarse matching finds hardly similar to any other.
    alike = np.full((9, 9), 30)
    alike[6:, :6] = alike[:6, 6:] = 0
    alike[7, 2] = alike[2, 7] = 3
    alike[6, 1] = alike[1, 6] = 1
    found = pairs._bridges(
        alike, pairs.groups(9, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8)]), 1
    )
    assert found == {(2, 7)}


def test_groups_are_connected_components_largest_first() -> None:
    assert pairs.groups(6, [(4, 5), (1, 4), (2, 3)]) == [[1, 4, 5], [2, 3], [0]]
    assert pairs.groups(0, []) == []


def test_the_number_of_pairs_grows_with_that_of_the_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    alike = np.full((300, 300), 50) - np.eye(300, dtype=int) * 50
    monkeypatch.setattr(pairs, "coarse_matches", lambda features, _: alike[: len(features), : len(features)])
    nothing = (np.zeros((0, 128), np.float32), np.zeros(0))
    for count, most in ((60, 22), (150, 16), (300, 12)):
        assert len(choose_pairs([nothing] * count, "auto")) <= most * count
        assert len(choose_pairs([nothing] * count, "auto", broad=True)) <= 2 * most * count + 600


def test_coarse_matching_copes_with_photos_without_features() -> None:
    nothing = (np.zeros((0, 128), np.float32), np.zeros(0))
    assert not coarse_matches([nothing] * 3).any()


def test_which_pairs_are_compared() -> None:
    few = [(np.zeros((0, 128), np.float32), np.zeros(0))] * 5
    every = [(a, b) for a in range(5) for b in range(a + 1, 5)]
    assert choose_pairs(few, "auto") == choose_pairs(few, "exhaustive") == every
    many = few * 20
    assert len(choose_pairs(many, "exhaustive")) == 100 * 99 // 2
    assert len(choose_pairs(many, "auto", broad=True)) == 100 * 99 // 2
    chain = choose_pairs(many, "sequential")
    steps = {b - a for a, b in chain}
    assert steps == {*range(1, 11), 16, 32, 64} and chain == sorted(set(chain))
    assert len(chain) == sum(100 - step for step in steps)


@pytest.mark.long
def test_photos_at_another_zoom_are_posed_and_told(tmp_path: Path) -> None:
    files = sorted(DEMO.iterdir())[:12]
    zoomed = [1, 4, 7, 10]
    for number, file in enumerate(files):
        with Image.open(file) as image:
            box = (128, 96, 512, 384) if number in zoomed else None  # 5/3 of the zoom
            image.convert("RGB").resize((640, 480), Image.Resampling.LANCZOS, box=box).save(
                tmp_path / f"{number:02}.jpg", quality=95
            )
    posed = pose(open_capture(tmp_path), tmp_path / "work", PoseConfig(max_image_size=480))
    assert len(posed.views) == 12 and posed.reprojection_error is not None and posed.reprojection_error < 0.6
    f = np.array([view.intrinsics.fx for view in posed.views])
    assert len(set(f)) == 2
    assert f[zoomed].mean() / np.delete(f, zoomed).mean() == pytest.approx(5 / 3, rel=0.03)
    (told,) = posed.warnings
    assert "4 of 12 photos (01.jpg, 04.jpg, 07.jpg, 10.jpg) were taken at another zoom" in told


def test_exif_focal_length_starts_the_lens(tmp_path: Path) -> None:
    # Two zoom settings make two lenses; each begins at its own focal length. Held upright, the
    # phone has a lens of its own that begins where the others do.
    photos = tmp_path / "photos"
    photos.mkdir()
    for index, (focal, turned) in enumerate(((26, 1), (26, 1), (52, 1), (26, 6))):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0xA405] = focal
        exif[0x0112] = turned
        Image.fromarray(render(truth()[index], textures(1))).save(photos / f"{index}.jpg", exif=exif)
    capture = open_capture(photos)
    sizes = [(160, 120)] * 3 + [(120, 160)]
    write_copies(tmp_path / "images", capture.photos, sizes, lambda stage, done: None)
    effort = matching.Effort(0, 500, 0.0067)
    with mapping.quiet():
        matching.find_features(tmp_path, capture.photos, sizes, effort, "", lambda stage, done: None)
    with pycolmap.Database.open(tmp_path / "database.db") as database:
        cameras = [database.read_camera(i.camera_id) for i in database.read_all_images()]
    assert [camera.camera_id for camera in cameras] == [1, 1, 2, 3]
    assert (cameras[3].width, cameras[3].height) == (120, 160)
    assert cameras[3].params[0] == pytest.approx(cameras[0].params[0])
    assert all(camera.has_prior_focal_length for camera in cameras)
    assert cameras[0].params[0] == pytest.approx(26 / 43.27 * 200, rel=1e-3)
    assert cameras[2].params[0] == pytest.approx(52 / 43.27 * 200, rel=1e-3)


def test_no_features_are_found_where_a_mask_is_black(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "masks").mkdir(parents=True)
    for index in range(3):
        Image.fromarray(render(truth()[index], textures(1))).save(photos / f"{index}.jpg")
    mask = Image.new("L", (WIDTH, HEIGHT), 255)
    mask.paste(0, (0, 0, WIDTH // 2, HEIGHT))
    mask.save(photos / "masks/1.jpg.png")
    capture = open_capture(photos)
    sizes = [(WIDTH // 2, HEIGHT // 2)] * 3
    write_copies(tmp_path / "images", capture.photos, sizes, lambda stage, done: None)
    assert write_masks(tmp_path / "masks", capture.photos, sizes)
    assert sorted(p.name for p in (tmp_path / "masks").iterdir()) == [f"0000{i}.jpg.png" for i in range(3)]
    effort = matching.Effort(-1, 500, 0.0067)
    with mapping.quiet():
        matching.find_features(tmp_path, capture.photos, sizes, effort, "", lambda stage, done: None)
    with pycolmap.Database.open(tmp_path / "database.db") as database:
        images = sorted(database.read_all_images(), key=lambda image: image.name)
        left = [database.read_keypoints(image.image_id)[:, 0].min() for image in images]
    assert left[1] > WIDTH / 4 - 1 and max(left[0], left[2]) < WIDTH / 8


@pytest.mark.parametrize("works", [True, False])
def test_features_are_found_on_a_gpu_where_pycolmap_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    """With a stand-in for COLMAP's features on a GPU, which here writes half of the photos' and fails."""
    write_views(tmp_path / "photos", "a", truth(4), seed=1)
    capture = open_capture(tmp_path / "photos")
    sizes = [working_size(photo, WIDTH) for photo in capture.photos]
    write_copies(tmp_path / "images", capture.photos, sizes, lambda stage, done: None)
    asked = []
    on_cpu = pycolmap.extract_features

    def stand_in(*given: Any, **named: Any) -> None:
        on_gpu = named["extraction_options"].use_gpu
        asked.append((named["device"], on_gpu))
        assert on_gpu == (named["device"] == pycolmap.Device.cuda)
        named["extraction_options"].use_gpu = False
        names = named.pop("image_names")
        half = names[: len(names) // 2] if on_gpu and not works else names
        on_cpu(*given, **named | {"device": pycolmap.Device.cpu, "image_names": half})
        if half != names:
            raise RuntimeError("no memory left on the GPU")

    monkeypatch.setattr(pycolmap, "has_cuda", True)
    monkeypatch.setattr(pycolmap, "extract_features", stand_in)
    monkeypatch.setattr(matching.backend, "why_no_cuda", lambda: None)
    effort = matching.Effort(0, 200, 0.0067)
    with mapping.quiet():
        matching.find_features(tmp_path, capture.photos, sizes, effort, "", lambda stage, done: None)
    on_gpu = (pycolmap.Device.cuda, True)
    assert set(asked) == ({on_gpu} if works else {on_gpu, (pycolmap.Device.cpu, False)})
    with pycolmap.Database.open(tmp_path / "database.db") as database:
        assert database.num_images() == 4
        assert all(database.num_keypoints_for_image(i.image_id) > 50 for i in database.read_all_images())


def test_weak_features_are_left_out_where_there_are_plenty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_views(tmp_path / "photos", "a", truth(6), seed=1)
    capture = open_capture(tmp_path / "photos")
    sizes = [working_size(photo, WIDTH) for photo in capture.photos]

    def found(name: str, plenty: int | None, stopped: bool = False) -> list[int]:
        folder = tmp_path / name
        if not folder.exists():
            folder.mkdir()
            write_copies(folder / "images", capture.photos, sizes, lambda stage, done: None)
        effort = matching.Effort(0, 4000, 0.002, plenty=plenty)
        with mapping.quiet(), contextlib.suppress(KeyboardInterrupt):
            told = stopping("", 0.5) if stopped else lambda stage, done: None
            matching.find_features(folder, capture.photos, sizes, effort, "", told)
        with pycolmap.Database.open(folder / "database.db") as database:
            images = sorted(database.read_all_images(), key=lambda image: image.name)
            return [database.num_keypoints_for_image(image.image_id) for image in images]

    monkeypatch.setattr(matching, "worker_count", lambda: 2)
    monkeypatch.setattr(matching, "STRONGER", 10)
    usual, fewer = found("usual", None), found("fewer", min(found("usual", None)) // 2)
    assert fewer[0] == usual[0] and fewer[3] == usual[3]  # the sample
    assert all(0 < fewer[i] < usual[i] for i in (1, 2, 4, 5))
    assert found("few", max(usual)) == usual
    half = found("stopped", min(usual) // 2, stopped=True)
    assert 0 in half and found("stopped", min(usual) // 2) == fewer


def test_photos_that_would_be_doubled_are_enlarged_to_the_working_size() -> None:
    sizes = {(640, 480): (1000, 750), (480, 640): (750, 1000), (799, 100): (1000, 125)}
    sizes |= {side: side for side in ((480, 270), (800, 600), (500, 500), (1000, 700))}
    for (width, height), expected in sizes.items():
        assert working_size(Photo(Path("a.jpg"), width, height, None), 1000) == expected
    assert working_size(Photo(Path("a.jpg"), 640, 480, None), 700) == (640, 480)  # it would be doubled again
    assert working_size(Photo(Path("a.jpg"), 4000, 3000, None), 1000) == (1000, 750)


@pytest.mark.long
def test_half_of_fox_at_a_quarter_of_its_size_is_posed_whole(tmp_path: Path) -> None:
    source = DATA / "fox/images"
    if not source.is_dir():
        pytest.skip(f"no fox capture in {DATA}")
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted(source.iterdir())[::2]:
        Image.fromarray(read_pixels(path, 270, 480)).save(photos / path.name, quality=92)
    posed = pose(open_capture(photos), tmp_path / "work")
    assert len(posed.views) == 25 and posed.warnings == ()
    assert posed.reprojection_error is not None and posed.reprojection_error < 0.8
