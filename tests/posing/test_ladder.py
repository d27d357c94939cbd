"""The steps of posing, each on known correspondences that only this step can solve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest
from scipy.spatial.transform import Rotation

from nerfscene.config import PoseConfig
from nerfscene.posing import ladder, mapping, matching, zooms
from nerfscene.posing.climb import Job
from nerfscene.posing.copies import copy_index, copy_name
from nerfscene.posing.ladder import climb
from nerfscene.posing.mapping import USUAL, Model
from nerfscene.posing.misplaced import agreement, without_misplaced
from nerfscene.posing.pairs import Pair
from nerfscene.types import Array, Photo, PoseReport

Keep = Callable[[int, int], bool]  # whether the matches of photos number a and b are known


def world(folder: Path, photos: int = 12, keep: Keep = lambda a, b: True, points: int = 300) -> Model:
    """A database of ``photos`` with known cameras in ``folder``; the true model."""
    pycolmap.set_random_seed(0)
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig, options.num_points3D = 1, photos, points
    options.inlier_match_ratio = 0.9
    (folder / "images").mkdir(parents=True)
    with mapping.quiet(), pycolmap.Database.open(folder / "database.db") as database:
        truth = pycolmap.synthesize_dataset(options, database)
        for number, image in enumerate(sorted(database.read_all_images(), key=lambda i: i.image_id)):
            image.name = copy_name(number)
            database.update_image(image)
            truth.image(image.image_id).name = image.name
        for a in range(1, photos + 1):
            for b in range(a + 1, photos + 1):
                if not keep(a - 1, b - 1):
                    database.delete_matches(a, b)
                    database.delete_two_view_geometry(a, b)
    return truth


def worst(got: Model, truth: Model) -> float:
    """The largest error of a camera's place after alignment, as a share of the cameras' extent."""
    names = {truth.image(i).name: truth.image(i).projection_center() for i in truth.reg_image_ids()}
    here = np.array([got.image(i).projection_center() for i in sorted(got.reg_image_ids())])
    there = np.array([names[got.image(i).name] for i in sorted(got.reg_image_ids())])
    aligned = pycolmap.estimate_sim3d(here, there) * here
    return float(np.linalg.norm(aligned - there, axis=1).max() / np.ptp(there, axis=0).max())


def posed(model: Model | None) -> list[int]:
    """The indices of the photos that the model poses."""
    return [] if model is None else sorted(copy_index(model.image(i).name) for i in model.reg_image_ids())


def climb_given(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    photos: int = 12,
    focal: float | None = None,
    more: Callable[[], None] = lambda: None,
) -> tuple[Model | None, PoseReport, list[str]]:
    """Climbs the ladder with the correspondences in ``folder`` instead of features found in photos.

    ``more`` is what matching more pairs does.
    """

    def pairs(database: Path, shots: object, matcher: str, broad: bool, progress: object) -> list[Pair]:
        return [(0, 1), (0, 2)] if broad else [(0, 1)]

    def match(database: Path, pairs: list[Pair], relaxed: bool, *_: object) -> None:
        if relaxed:
            more()

    monkeypatch.setattr(matching, "find_features", lambda *_: None)
    monkeypatch.setattr(matching, "pairs_to_match", pairs)
    monkeypatch.setattr(matching, "match", match)
    told: list[str] = []
    given = tuple(Photo(Path(f"p{i}.jpg"), 1024, 768, focal) for i in range(photos))
    job = Job(folder, given, [(1024, 768)] * photos, PoseConfig(), lambda stage, _: told.append(stage))
    with mapping.quiet():
        model, report = climb(job)
    return model, report, list(dict.fromkeys(told))


def test_the_usual_step_is_enough_where_all_connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = world(tmp_path)
    model, report, told = climb_given(tmp_path, monkeypatch)
    assert model is not None and worst(model, truth) < 1e-3
    assert told == ["placing cameras"]
    assert report.found_by == ladder.USUALLY and report.tried == (ladder.USUALLY,)
    assert (report.photos_posed, report.models, report.apart) == (12, 1, ())
    assert report.pairs_connected == 66 and report.track_length > 3
    assert report.agreement > 0.99
    assert report.points > 200 and report.observations > 2000 and report.reprojection_error < 1


def test_global_mapping_recovers_the_cameras_and_repeats_itself(tmp_path: Path) -> None:
    truth = world(tmp_path)
    with mapping.quiet():
        (model,) = mapping.global_mapping(tmp_path, calibrate=True, seed=0)
        (again,) = mapping.global_mapping(tmp_path, calibrate=True, seed=0)
    assert posed(model) == list(range(12)) and worst(model, truth) < 0.01
    assert sorted(p.name for p in tmp_path.iterdir()) == ["database.db", "images"]
    for key in model.reg_image_ids():
        np.testing.assert_allclose(
            model.image(key).projection_center(), again.image(key).projection_center(), atol=1e-6
        )


def test_global_mapping_is_tried_where_incremental_mapping_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = world(tmp_path)
    monkeypatch.setattr(mapping, "incremental_mapping", lambda *_, **__: [])
    model, report, told = climb_given(tmp_path, monkeypatch)
    assert report.found_by == ladder.AT_ONCE
    exactly = f"{ladder.USUALLY}, {ladder.EXACTLY}"
    assert report.tried == (ladder.USUALLY, exactly, ladder.EACH_LENS, ladder.AT_ONCE)
    assert model is not None and posed(model) == list(range(12)) and worst(model, truth) < 0.01
    assert told[0] == "placing cameras" and told[-1] == "placing all cameras at once"


def test_a_global_mapper_that_crashes_counts_as_finding_nothing(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "database.db").write_bytes(b"no database")
    assert mapping.global_mapping(tmp_path, calibrate=False, seed=0) == []


def test_ctrl_c_ends_the_global_mapper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world(tmp_path, photos=3)
    started = []

    def interrupted(self: mapping.subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if self not in started:
            started.append(self)
            raise KeyboardInterrupt
        return original(self, timeout)

    original = mapping.subprocess.Popen.wait
    monkeypatch.setattr(mapping.subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mapping.global_mapping(tmp_path, calibrate=False, seed=0)
    assert started[0].poll() is not None and started[0].returncode < 0


def begins_with(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapper that finds this model when it begins anew; given a model to extend, it works as usual."""
    original = mapping.incremental_mapping

    def first(*given: object, **how: bool) -> list[Model]:
        return original(*given, **how) if len(given) == 5 else [model]  # type: ignore[arg-type]

    monkeypatch.setattr(mapping, "incremental_mapping", first)


def test_photos_with_little_evidence_are_added_to_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = world(tmp_path)
    with mapping.quiet():
        (model,) = mapping.incremental_mapping(tmp_path, USUAL, 0, lambda: None)
    for key in (3, 7):
        model.deregister_frame(model.image(key).frame_id)
    begins_with(model, monkeypatch)
    whole, report, told = climb_given(tmp_path, monkeypatch)
    assert whole is not None and posed(whole) == list(range(12)) and worst(whole, truth) < 1e-3
    assert report.found_by == f"{ladder.USUALLY}, then {ladder.FURTHER}"
    assert told == ["placing cameras", "placing the remaining photos"]


def test_a_model_that_loses_photos_is_made_again_with_better_adjustments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = world(tmp_path)
    original = mapping.incremental_mapping

    def loses_photos(folder: Path, *given: object, roughly: bool = True) -> list[Model]:
        if len(given) == 4:  # a model to extend: no photo fits it
            return [given[3]]  # type: ignore[list-item]
        (model,) = original(folder, *given, roughly=roughly)  # type: ignore[arg-type]
        for key in (2, 5, 9) if roughly else ():
            model.deregister_frame(model.image(key).frame_id)
        return [model]

    monkeypatch.setattr(mapping, "incremental_mapping", loses_photos)
    whole, report, told = climb_given(tmp_path, monkeypatch)
    assert whole is not None and posed(whole) == list(range(12)) and worst(whole, truth) < 1e-3
    assert report.found_by == f"{ladder.USUALLY}, {ladder.EXACTLY}"
    assert told[-1] == f"placing cameras, {ladder.EXACTLY}"


def misplaced(model: Model, key: int) -> Model:
    """The model with one photo moved far away, where it sees only the few points that fit by chance."""
    wrong = Model(model)
    image = wrong.image(key)
    for index, point in list(enumerate(image.points2D)):
        if point.has_point3D() and image.num_points3D > mapping.FEWEST_SEEN + 3:
            wrong.delete_observation(key, index)
    pose = image.cam_from_world().matrix()
    pose[:, 3] += 0.5
    wrong.frame(image.frame_id).rig_from_world = pycolmap.Rigid3d(pose)
    return wrong


def test_a_photo_in_a_wrong_place_is_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = world(tmp_path)
    with mapping.quiet():
        (model,) = mapping.incremental_mapping(tmp_path, USUAL, 0, lambda: None)
        wrong = misplaced(model, 5)
        assert posed_ids(mapping.believable(wrong)) == list(range(1, 13))
        assert without_misplaced(model, tmp_path / "database.db") is model
        left = without_misplaced(wrong, tmp_path / "database.db")
        assert posed_ids(left) == [1, 2, 3, 4, *range(6, 13)]
    begins_with(wrong, monkeypatch)
    whole, report, _ = climb_given(tmp_path, monkeypatch)
    assert whole is not None and posed(whole) == list(range(12)) and worst(whole, truth) < 1e-3
    assert report.found_by == f"{ladder.USUALLY}, then {ladder.FURTHER}"


def turned(model: Model, keys: Sequence[int], degrees: Callable[[int], float]) -> Model:
    """The model with these photos rotated about the world's centre, while its points stay."""
    wrong = Model(model)
    for key in keys:
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_rotvec([0.0, 0.0, np.radians(degrees(key))]).as_matrix()
        image = wrong.image(key)
        pose = np.vstack([image.cam_from_world().matrix(), [0, 0, 0, 1]]) @ turn
        wrong.frame(image.frame_id).rig_from_world = pycolmap.Rigid3d(pose[:3])
    return wrong


def first(wrong: Model, then: Callable[..., list[Model]]) -> Callable[..., list[Model]]:
    """A mapper that returns the wrong model once, and works as usual after that."""
    left = [[wrong]]
    return lambda *given, **how: left.pop() if left else then(*given, **how)


def test_a_misplaced_group_of_photos_is_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = world(tmp_path)
    database = tmp_path / "database.db"
    with mapping.quiet():
        (model,) = mapping.incremental_mapping(tmp_path, USUAL, 0, lambda: None)
        wrong = turned(model, (2, 3, 4, 9), lambda _: 8.0)
        assert posed_ids(mapping.believable(wrong)) == list(range(1, 13))
        assert posed_ids(without_misplaced(wrong, database)) == [1, 5, 6, 7, 8, 10, 11, 12]
        # Photos that are each wrong in their own way say nothing about which are right.
        bent = turned(model, range(1, 13), lambda key: 4.0 * (key % 5))
        assert posed_ids(without_misplaced(bent, database)) == list(range(1, 13))
        assert posed_ids(without_misplaced(Model(), database)) == []
    monkeypatch.setattr(mapping, "incremental_mapping", first(wrong, mapping.incremental_mapping))
    whole, report, _ = climb_given(tmp_path, monkeypatch)
    assert whole is not None and posed(whole) == list(range(12)) and worst(whole, truth) < 1e-3
    assert report.found_by == f"{ladder.USUALLY}, then {ladder.FURTHER}"


@pytest.mark.parametrize("nearer_helps", [True, False])
def test_a_model_that_most_matches_contradict_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nearer_helps: bool
) -> None:
    truth = world(tmp_path)
    with mapping.quiet():
        (model,) = mapping.incremental_mapping(tmp_path, USUAL, 0, lambda: None)
        bent = turned(model, range(1, 13), lambda key: 4.0 * (key % 5))
        assert agreement(model, tmp_path / "database.db") > 0.99
        assert agreement(bent, tmp_path / "database.db") < ladder.DOUBTFUL
    original, asked = mapping.incremental_mapping, []

    def nearer(*given: Any, **how: bool) -> list[Model]:
        asked.append(given[1].first_angle)
        return original(*given, **how) if nearer_helps else [bent]

    monkeypatch.setattr(mapping, "incremental_mapping", first(bent, nearer))
    whole, report, told = climb_given(tmp_path, monkeypatch)
    assert whole is not None and posed(whole) == list(range(12)) and worst(whole, truth) < 0.01
    assert asked == [ladder.NEARER]
    assert report.found_by == (ladder.ANEW if nearer_helps else ladder.AT_ONCE)
    assert told == ["placing cameras", f"placing cameras, {ladder.ANEW}"] + [f"placing {ladder.AT_ONCE}"] * (
        not nearer_helps
    )


def part(folder: Path, model: Model, numbers: range) -> Model:
    """The model of a mapper that placed only these photos."""
    some = Model(model)
    for key in sorted(some.reg_image_ids()):
        if key - 1 not in numbers:
            some.deregister_frame(some.image(key).frame_id)
    place = folder / f"{numbers.start}-{numbers.stop}"
    place.mkdir()
    some.write_binary(str(place))
    return Model(str(place))


def moved(model: Model) -> Model:
    turn = pycolmap.Rotation3d(np.array([0.0, 0.6, 0.0, 0.8]))
    model.transform(pycolmap.Sim3d(2.5, turn, np.array([3.0, -1.0, 2.0])))
    return model


def test_models_that_share_photos_become_one(tmp_path: Path) -> None:
    truth = world(tmp_path, photos=14)
    with mapping.quiet():
        (model,) = mapping.incremental_mapping(tmp_path, USUAL, 0, lambda: None)
        (both,) = mapping.joined(
            [moved(part(tmp_path, model, range(6, 14))), part(tmp_path, model, range(9))]
        )
        assert posed(both) == list(range(14)) and worst(both, truth) < 1e-3
        apart = mapping.joined([part(tmp_path, model, range(5)), moved(part(tmp_path, model, range(7, 14)))])
        assert [posed(each) for each in apart] == [list(range(7, 14)), list(range(5))]


def test_models_that_disagree_are_not_joined(tmp_path: Path) -> None:
    world(tmp_path, photos=10)
    with mapping.quiet():
        (model,) = mapping.incremental_mapping(tmp_path, USUAL, 0, lambda: None)
        other = part(tmp_path, model, range(4, 10))
        rng = np.random.default_rng(0)
        for point in other.points3D.values():
            point.xyz = rng.normal(size=3)
        assert mapping.join(part(tmp_path, model, range(6)), other) is None


def test_two_groups_that_share_nothing_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = world(tmp_path, photos=13, keep=lambda a, b: a != 12 != b and (a < 7) == (b < 7))
    model, report, _ = climb_given(tmp_path, monkeypatch, photos=13)
    assert model is not None and posed(model) == list(range(7)) and worst(model, truth) < 1e-3
    assert report.models == 2
    assert report.apart == (("p7.jpg", "p8.jpg", "p9.jpg", "p10.jpg", "p11.jpg"), ("p12.jpg",))


def test_missing_pairs_are_added_to_the_matches_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    truth = world(whole)
    folder = tmp_path / "part"
    world(folder, keep=lambda a, b: (a < 7) == (b < 7))

    def more() -> None:
        with (
            pycolmap.Database.open(whole / "database.db") as source,
            pycolmap.Database.open(folder / "database.db") as target,
        ):
            for a in range(1, 8):
                for b in range(8, 13):
                    target.write_matches(a, b, source.read_matches(a, b))
                    target.write_two_view_geometry(a, b, source.read_two_view_geometry(a, b))

    model, report, told = climb_given(folder, monkeypatch, more=more)
    assert model is not None and posed(model) == list(range(12)) and worst(model, truth) < 1e-3
    assert report.pairs_compared == 2
    assert report.found_by == f"{ladder.USUALLY}, then {ladder.FURTHER}"
    assert told == ["placing cameras", "placing the remaining photos"]


def zoom(folder: Path, factors: dict[int, float]) -> None:
    """Changes the photos of these numbers as if taken at ``zoom`` times the focal length."""
    with pycolmap.Database.open(folder / "database.db") as database:
        for number, factor in factors.items():
            points = database.read_keypoints(number + 1)
            points[:, :2] = (points[:, :2] - (512, 384)) * factor + (512, 384)
            database.update_keypoints(number + 1, points)


def focals(model: Model) -> list[float]:
    """Each photo's, in the order of photos."""
    return [float(model.camera(model.image(i).camera_id).params[0]) for i in sorted(model.reg_image_ids())]


@pytest.mark.parametrize("factor", [0.5, 1.2, pytest.param(2.0, marks=pytest.mark.long)])
def test_zooms_that_exif_does_not_tell_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    truth = world(tmp_path)
    zoomed = [1, 4, 5, 9]
    zoom(tmp_path, dict.fromkeys(zoomed, factor))
    model, report, _ = climb_given(tmp_path, monkeypatch)
    assert model is not None and posed(model) == list(range(12)) and worst(model, truth) < 1e-3
    assert report.found_by == ladder.BY_ZOOM and report.reprojection_error < 0.5
    true = truth.camera(1).params[0] * np.where(np.isin(np.arange(12), zoomed), factor, 1)
    np.testing.assert_allclose(focals(model), true, rtol=1e-3)
    known = zooms.lenses(tmp_path / "database.db")
    assert len({camera.camera_id for camera in known.values()}) == 2
    assert all(known[i].camera_id == model.image(i).camera_id for i in model.reg_image_ids())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["database.db", "images"]


@pytest.mark.long
def test_a_zoom_that_differs_in_each_photo_gives_each_its_own_lens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = world(tmp_path)
    factors = np.linspace(1, 1.5, 12)
    zoom(tmp_path, {number: float(factor) for number, factor in enumerate(factors)})
    model, report, _ = climb_given(tmp_path, monkeypatch)
    assert model is not None and posed(model) == list(range(12)) and worst(model, truth) < 1e-3
    assert report.found_by == ladder.EACH_LENS
    np.testing.assert_allclose(focals(model), truth.camera(1).params[0] * factors, rtol=1e-3)


def test_lenses_stay_shared_where_one_for_each_photo_did_not_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world(tmp_path)
    original = mapping.incremental_mapping
    seen = []

    def without_one(folder: Path, *rest: object, **how: bool) -> list[Model]:
        seen.append(len({c.camera_id for c in zooms.lenses(folder / "database.db").values()}))
        models = original(folder, *rest, **how)  # type: ignore[arg-type]
        for model in models:
            model.deregister_frame(model.image(12).frame_id)
        return models

    monkeypatch.setattr(mapping, "incremental_mapping", without_one)
    model, report, _ = climb_given(tmp_path, monkeypatch)
    assert mapping.count(model) == 11 and 12 in seen and report.found_by == ladder.USUALLY
    assert len({c.camera_id for c in zooms.lenses(tmp_path / "database.db").values()}) == 1


def test_zooms_are_groups_of_like_focal_lengths() -> None:
    focal = {1: 900.0, 2: 1350.0, 3: 905.0, 4: 1310.0, 5: 902.0, 6: 1800.0}
    assert zooms.zooms(focal) == [[1, 5, 3], [4, 2], [6]]
    assert zooms.zooms({}) == []


def test_a_wrong_focal_length_in_exif_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = world(tmp_path)
    original = mapping.incremental_mapping

    def only_without(folder: Path, *rest: object, **how: bool) -> list[Model]:
        with pycolmap.Database.open(folder / "database.db") as database:
            known = [camera.has_prior_focal_length for camera in database.read_all_cameras()]
        return [] if any(known) else original(folder, *rest, **how)  # type: ignore[arg-type]

    with pycolmap.Database.open(tmp_path / "database.db") as database:
        (camera,) = database.read_all_cameras()
        camera.params = [5000.0, 512.0, 384.0, 0.0]
        camera.has_prior_focal_length = True
        database.update_camera(camera)
    monkeypatch.setattr(mapping, "incremental_mapping", only_without)
    model, report, _ = climb_given(tmp_path, monkeypatch, focal=5000.0)
    assert report.found_by == ladder.NO_FOCALS
    assert model is not None and posed(model) == list(range(12)) and worst(model, truth) < 1e-3


def test_lenses_from_exif_come_back_where_ignoring_them_did_not_help(tmp_path: Path) -> None:
    world(tmp_path, photos=3)
    database = tmp_path / "database.db"

    def lenses() -> list[tuple[list[float], bool]]:
        with pycolmap.Database.open(database) as db:
            return [(list(c.params), c.has_prior_focal_length) for c in db.read_all_cameras()]

    before = lenses()
    kept = matching.forget_focal_lengths(database)
    assert lenses() == [([1.2 * 1024, 512.0, 384.0, 0.0], False)] != before
    matching.set_lenses(database, kept)
    assert lenses() == before


def bent(change: str) -> Model:
    """A correct model, then made impossible in one way."""
    pycolmap.set_random_seed(0)
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig, options.num_points3D = 1, 6, 100
    model = pycolmap.synthesize_dataset(options)
    (camera,) = model.cameras.values()
    if change == "focal":
        camera.params = [100000.0, 512.0, 384.0, 0.0]
    elif change == "distortion":
        camera.params = [1280.0, 512.0, 384.0, -2.0]
    for key in model.reg_image_ids():
        frame = model.frame(model.image(key).frame_id)
        pose: Array = frame.rig_from_world.matrix()
        if change == "one place":
            pose[:, 3] *= 1e-4
            pose[:, 3] -= pose[:, :3] @ np.array([0.0, 0.0, -40.0])
        elif change == "behind":
            pose = np.diag([1.0, -1.0, -1.0]) @ pose
        frame.rig_from_world = pycolmap.Rigid3d(pose)
    return model


def test_a_photo_that_sees_hardly_anything_is_left_out() -> None:
    model = bent("nothing")
    image = model.image(3)
    for index, point in list(enumerate(image.points2D)):
        if point.has_point3D() and image.num_points3D > mapping.FEWEST_SEEN - 1:
            model.delete_observation(3, index)
    with mapping.quiet():
        left = mapping.believable(model)
    assert posed_ids(left) == [1, 2, 4, 5, 6]


def posed_ids(model: Model | None) -> list[int]:
    assert model is not None
    return sorted(model.reg_image_ids())


@pytest.mark.parametrize("change", ["focal", "distortion", "one place", "behind"])
def test_impossible_models_are_not_believed(change: str) -> None:
    with mapping.quiet():
        assert mapping.believable(bent("nothing")) is not None
        assert mapping.believable(bent(change)) is None


def test_photos_through_an_absurd_lens_are_left_out_alone() -> None:
    pycolmap.set_random_seed(0)
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig, options.num_points3D = 2, 5, 100
    model = pycolmap.synthesize_dataset(options)
    lens = model.cameras[sorted(model.cameras)[1]]
    lens.params = [10.0, 512.0, 384.0, 0.0]
    with mapping.quiet():
        left = mapping.believable(model)
    assert left is not None and left.num_reg_images() == 5 and model.num_reg_images() == 10
