"""Paths in the coordinates that nerfstudio trained in, with and without the file that undoes them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from path_cases import a_motion, moved, poses_of, ring
from path_file_cases import FILMED, frame_of, save, scene_of

from nerfscene.cameras.algebra import pose_in_scene
from nerfscene.errors import NerfsceneError
from nerfscene.films.camera_path_file import read_camera_path
from nerfscene.films.path_writing import write_camera_path
from nerfscene.films.paths import CameraPath
from nerfscene.films.presets import PRESETS, preset
from nerfscene.scene.world import in_world
from nerfscene.types import Array

OWN_SCALE = 0.3
NAME = "dataparser_transforms.json"
EXPECTED = np.stack([v.world_from_cam for v in ring(FILMED)])
FRAMES = [{"file_path": f"images/{i}.jpg", "transform_matrix": p.tolist()} for i, p in enumerate(EXPECTED)]
SWAP = np.eye(4)[[0, 2, 1, 3]] * [[1], [1], [-1], [1]]  # what nerfstudio's COLMAP import applies
SWAP[:3, 3] = [0.5, 0, -1]


def trained_with(folder: Path, applied: Array | None, applied_scale: float = 1.0, where: str = ".") -> Path:
    """A path in nerfstudio's training coordinates, and its dataparser_transforms.json in folder/where."""
    own = a_motion()
    frames = []
    for v in ring(FILMED):
        pose = own @ v.world_from_cam
        pose[:3, 3] *= OWN_SCALE
        frames.append(frame_of(pose))
    kept = own if applied is None else own @ applied
    (folder / where).mkdir(parents=True, exist_ok=True)
    (folder / where / NAME).write_text(
        json.dumps({"transform": kept[:3].tolist(), "scale": OWN_SCALE * applied_scale})
    )
    if applied is not None:
        values = {"applied_transform": applied[:3].tolist(), "applied_scale": applied_scale, "frames": FRAMES}
        (folder / "transforms.json").write_text(json.dumps(values))
    return save(folder, camera_path=frames)


@pytest.mark.parametrize("applied_scale", [None, 1.0, 2.5])
def test_nerfstudio_s_training_coordinates_are_undone(tmp_path: Path, applied_scale: float | None) -> None:
    applied = None if applied_scale is None else SWAP
    file = trained_with(tmp_path, applied, applied_scale or 1.0)
    np.testing.assert_allclose(poses_of(read_camera_path(file)), EXPECTED, atol=1e-9)
    # The file may be given by name, from another folder.
    elsewhere = tmp_path / "elsewhere.json"
    (tmp_path / NAME).rename(elsewhere)
    assert not np.allclose(poses_of(read_camera_path(file)), EXPECTED)
    np.testing.assert_allclose(poses_of(read_camera_path(file, transform=elsewhere)), EXPECTED, atol=1e-9)


def test_the_capture_s_own_transforms_are_found_by_its_photos(tmp_path: Path) -> None:
    """nerfstudio keeps its model far from the data; the scene knows where its photos are."""
    data = tmp_path / "data"
    file = trained_with(data, SWAP, 2.5)
    model = tmp_path / "model"
    model.mkdir()
    (data / NAME).rename(model / NAME)
    file = file.rename(model / "path.json")
    path = read_camera_path(file, scene=scene_of(data))
    np.testing.assert_allclose(poses_of(path), EXPECTED, atol=1e-9)
    assert path.notes == ()
    # A file of another name serves as well.
    (data / "transforms.json").rename(data / "mine.json")
    np.testing.assert_allclose(poses_of(read_camera_path(file, scene=scene_of(data))), EXPECTED, atol=1e-9)
    # COLMAP's own cameras are the world before anything was applied to them.
    views = moved(ring(np.arange(0, 360, 15.0)), np.asarray(np.linalg.inv(SWAP)))
    of_colmap = scene_of(data, views, source="colmap")
    poses = poses_of(read_camera_path(trained_with(data, SWAP), scene=of_colmap))
    np.testing.assert_allclose(poses, np.linalg.inv(SWAP) @ EXPECTED, atol=1e-9)


def test_what_old_imports_applied_without_writing_it_down_is_known(tmp_path: Path) -> None:
    """nerfstudio 1.0 takes it as applied where colmap/sparse/0 lies by; older versions didn't."""
    unwritten = np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])
    centred = np.eye(4)
    centred[:3, 3] = -EXPECTED[:, :3, 3].mean(0)
    frames = [{"transform_matrix": pose.tolist()} for pose in EXPECTED]
    (tmp_path / "colmap/sparse/0").mkdir(parents=True)
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}))
    file = save(tmp_path, camera_path=[frame_of(centred @ pose) for pose in EXPECTED])
    for written in (centred, centred @ unwritten):
        (tmp_path / NAME).write_text(json.dumps({"transform": written[:3].tolist(), "scale": 1.0}))
        np.testing.assert_allclose(poses_of(read_camera_path(file)), EXPECTED, atol=1e-9)


def test_a_path_far_from_the_photos_is_doubted_and_the_file_named(tmp_path: Path) -> None:
    file = trained_with(tmp_path / "a", None)
    (tmp_path / "a" / NAME).rename(tmp_path / NAME)
    path = read_camera_path(file, scene=scene_of(tmp_path / "capture"))
    (note,) = path.notes
    assert str(file) in note and NAME in note and "--path-transform" in note and "of its 6" in note
    # Named, it is undone, and there is nothing to doubt.
    path = read_camera_path(file, transform=tmp_path / NAME, scene=scene_of(tmp_path / "capture"))
    np.testing.assert_allclose(poses_of(path), EXPECTED, atol=1e-9)
    assert path.notes == ()
    # One of another training is doubted too.
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"transform": np.eye(4)[:3].tolist(), "scale": 0.01}))
    (note,) = read_camera_path(file, transform=wrong, scene=scene_of(tmp_path)).notes
    assert str(wrong) in note and "another training" in note


@pytest.mark.parametrize(
    "where",
    [
        "..",  # outputs/NAME/METHOD/DATE/camera_paths, or the user put it into the data
        "../outputs/poster/nerfacto/2024-01-05_101500",
        "../../../outputs/poster/splatfacto/2024-01-05_101500",  # beside the folder data
    ],
)
def test_nerfstudio_s_own_places_are_looked_into(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "work/data/poster/camera_paths"
    file = trained_with(folder, None, where=where)
    path = read_camera_path(file, scene=scene_of(tmp_path / "capture"))
    np.testing.assert_allclose(poses_of(path), EXPECTED, atol=1e-9)
    (note,) = path.notes
    assert NAME in note and "taken to the capture's coordinates" in note


def test_trainings_that_differ_are_not_guessed_at(tmp_path: Path) -> None:
    folder = tmp_path / "poster/camera_paths"
    file = trained_with(folder, None, where="../outputs/poster/nerfacto/2024-01-05_101500")
    other = folder.parent / "outputs/poster/nerfacto/2024-01-06_101500"
    other.mkdir()
    (other / NAME).write_text(json.dumps({"transform": np.eye(4)[:3].tolist(), "scale": 0.7}))
    path = read_camera_path(file, scene=scene_of(tmp_path / "capture"))
    (note,) = path.notes
    assert "--path-transform" in note and "2024-01-05" in note and "2024-01-06" in note
    # The same numbers twice are no question.
    (other / NAME).write_text(next(folder.parent.glob(f"outputs/*/*/2024-01-05*/{NAME}")).read_text())
    path = read_camera_path(file, scene=scene_of(tmp_path / "capture"))
    np.testing.assert_allclose(poses_of(path), EXPECTED, atol=1e-9)


def test_a_file_found_elsewhere_must_fit_the_photos(tmp_path: Path) -> None:
    """The capture's dataparser_transforms.json says nothing of a path that was made in its coordinates."""
    capture = tmp_path / "capture"
    capture.mkdir()
    (capture / "transforms.json").write_text("{}")
    (capture / NAME).write_text(json.dumps({"transform": a_motion()[:3].tolist(), "scale": 0.3}))
    path = read_camera_path(save(tmp_path), scene=scene_of(capture))
    np.testing.assert_allclose(poses_of(path), EXPECTED, atol=1e-9)
    assert path.notes == ()


def test_the_half_turn_of_nerfstudio_s_pca_is_noticed(tmp_path: Path) -> None:
    """It turns either the cameras or the written transform about x, not both."""
    file = trained_with(tmp_path, None)
    data = json.loads((tmp_path / NAME).read_text())
    data["transform"][1:] = [[-x for x in row] for row in data["transform"][1:]]
    (tmp_path / NAME).write_text(json.dumps(data))
    path = read_camera_path(file, scene=scene_of(tmp_path))
    np.testing.assert_allclose(poses_of(path), EXPECTED, atol=1e-9)
    (note,) = path.notes
    assert NAME in note and "half a turn" in note
    assert not np.allclose(poses_of(read_camera_path(file)), EXPECTED), "without photos there is no telling"


def test_a_world_set_in_the_viewer_is_applied_after_that(tmp_path: Path) -> None:
    """dataparser_transforms.json leads to the capture's coordinates, which the user has changed since."""
    new_from_capture = a_motion()
    new_from_capture[:3] *= 2.0
    scene = in_world(scene_of(tmp_path), new_from_capture)
    path = read_camera_path(trained_with(tmp_path, None), scene=scene)
    want = np.stack([pose_in_scene(new_from_capture, pose) for pose in EXPECTED])
    np.testing.assert_allclose(poses_of(path), want, atol=1e-9)
    assert path.notes == ()


def test_paths_written_here_are_left_where_they_are(tmp_path: Path) -> None:
    file = trained_with(tmp_path, None)
    scene = scene_of(tmp_path)
    ours = read_camera_path(file, scene=scene)
    mine = tmp_path / "mine.json"
    write_camera_path(ours, mine)  # beside dataparser_transforms.json
    back = read_camera_path(mine, scene=scene)
    np.testing.assert_allclose(poses_of(back), EXPECTED, atol=1e-9)
    assert back.notes == ()
    (note,) = read_camera_path(mine, transform=tmp_path / NAME, scene=scene).notes
    assert "is not used" in note
    far = replace(ours.cameras[0], world_from_cam=a_motion())
    write_camera_path(CameraPath((far,)), mine)
    assert read_camera_path(mine, scene=scene).notes == (), "its maker knows where it leads"


# A dolly leaves the photos' places by design, and what needs other photos than these is refused.
@pytest.mark.parametrize(
    ("photos", "name"),
    [
        *(
            (photos, name)
            for photos in ("ring", "façade")
            for name in PRESETS
            if name not in ("dolly", "turntable")
        ),
        ("ring", "turntable"),
        *(("from one place", name) for name in ("orbit", "spiral", "walkthrough", "figure-eight")),
    ],
)
def test_films_through_the_photos_are_not_doubted(tmp_path: Path, name: str, photos: str) -> None:
    views = ring(np.arange(0, 360, 15.0))
    if photos == "façade":
        views = ring(np.linspace(-15, 15, 12), radius=4.0)
    elif photos == "from one place":
        turned = np.diag([-1.0, 1, -1, 1])
        views = [replace(v, world_from_cam=v.world_from_cam @ turned) for v in ring(FILMED * 6, radius=0.3)]
    made = preset(name, views, 20, 640, 480)
    file = save(tmp_path, camera_path=[frame_of(c.world_from_cam) for c in made.cameras])
    assert read_camera_path(file, scene=scene_of(tmp_path, views)).notes == ()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "{}",
        '{"transform": [[1, 0], [0, 1]], "scale": 1}',
        json.dumps({"transform": np.eye(4)[:3].tolist(), "scale": 0}),
        json.dumps({"transform": np.eye(4)[:3].tolist(), "scale": "big"}),
        json.dumps({"transform": (2 * np.eye(4)[:3]).tolist(), "scale": 1}),
        json.dumps({"transform": [[10**400] * 4] * 3, "scale": 1}),
    ],
)
def test_bad_dataparser_transforms_are_told(tmp_path: Path, content: str) -> None:
    file = save(tmp_path)
    (tmp_path / NAME).write_text(content)
    with pytest.raises(NerfsceneError, match=NAME) as caught:
        read_camera_path(file)
    assert "\n" not in str(caught.value)
