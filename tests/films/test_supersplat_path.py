"""Camera tracks of SuperSplat, its viewer and splat-transform: curves, coordinates and files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import track_cases
from path_cases import assert_rigid, poses_of, ring
from path_file_cases import exported, lying, scene_of

from nerfscene.cameras.algebra import pose_in_scene
from nerfscene.errors import NerfsceneError
from nerfscene.films.camera_path_file import read_camera_path
from nerfscene.scene.scene import Scene
from nerfscene.types import Array

VIEWS = ring(np.arange(0, 360, 15.0), shake=0.0)


def in_supersplat(scene: Scene, world: Any = "upright") -> Array:
    """Where SuperSplat sees the cameras of a scene's photos stand about its exported splats.

    Step by step: the exported world, the axes of splat files (y down), and SuperSplat's half turn about z.
    """
    in_the_ply = exported(scene, np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]), world)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ in_the_ply


@pytest.mark.parametrize("kind", ["project", "settings", "frames"])
@pytest.mark.parametrize("source", ["photos", "polycam"])
def test_a_path_made_about_exported_splats_films_the_same_view(
    tmp_path: Path, kind: str, source: str
) -> None:
    scene = lying(scene_of(tmp_path, VIEWS, source))
    poses = in_supersplat(scene)[:4]
    seen, fovs = track_cases.looks(poses), [60.0] * 4
    if kind == "project":
        data = track_cases.document([0, 1, 2, 3], seen, fovs, frames=4)
        file = track_cases.write_project(tmp_path / "room.ssproj", data)
    elif kind == "settings":
        file = track_cases.write_json(
            tmp_path / "settings.json", track_cases.settings([0, 1, 2, 3], seen, fovs, duration=4 / 30)
        )
    else:
        frames = [{"position": p, "target": t, "fov": 60} for p, t in seen]
        file = track_cases.write_json(tmp_path / "track.json", {"frameRate": 30, "frames": frames})
    path = read_camera_path(file, 800, 600, scene=scene)
    assert path.notes == () and path.fps == 30 and len(path.cameras) == 4
    for camera, view in zip(path.cameras, scene.views[:4], strict=True):
        np.testing.assert_allclose(camera.world_from_cam, view.world_from_cam, atol=1e-6)
    across = 400 if kind != "frames" else 300  # the longer side, or the height
    assert path.cameras[0].intrinsics.fy == pytest.approx(across / math.tan(math.radians(30)))


def test_a_splat_that_was_moved_in_the_project_takes_the_path_along(tmp_path: Path) -> None:
    scene = lying(scene_of(tmp_path, VIEWS))
    turn = np.radians(20) / 2
    moved = {
        "position": [1.0, 2.0, -3.0],
        "rotation": [0.0, math.sin(turn), 0.0, math.cos(turn)],
        "scale": [2.0] * 3,
    }
    c, s = math.cos(2 * turn), math.sin(2 * turn)
    there = np.array([[2 * c, 0, 2 * s, 1], [0, 2, 0, 2], [-2 * s, 0, 2 * c, -3], [0, 0, 0, 1.0]])
    loaded = np.diag([-1.0, -1, 1, 1])
    poses = [pose_in_scene(there @ loaded, pose) for pose in in_supersplat(scene)[:3]]  # from the file's axes
    data = track_cases.document([0, 1, 2], track_cases.looks(poses), [60.0] * 3, frames=3)
    data["splats"][0] |= moved
    path = read_camera_path(track_cases.write_project(tmp_path / "a.ssproj", data), scene=scene)
    assert path.notes == ()
    for camera, view in zip(path.cameras, scene.views[:3], strict=True):
        np.testing.assert_allclose(camera.world_from_cam[:3, 3], view.world_from_cam[:3, 3], atol=1e-6)
    data["splats"].append(data["splats"][0] | {"name": "other", "position": [9.0, 9, 9]})
    path = read_camera_path(track_cases.write_project(tmp_path / "b.ssproj", data), scene=scene)
    assert "room.ply is taken" in path.notes[0]


def test_splats_that_were_exported_as_the_cameras_came_are_found_out(tmp_path: Path) -> None:
    scene = lying(scene_of(tmp_path, VIEWS))
    seen = track_cases.looks(in_supersplat(scene, "capture")[:3])
    up = [(-p[:3, 1]).tolist() for p in in_supersplat(scene, "capture")[:3]]
    frames = [{"position": p, "target": t, "fov": 60, "up": u} for (p, t), u in zip(seen, up, strict=True)]
    path = read_camera_path(track_cases.write_json(tmp_path / "a.json", {"frames": frames}), scene=scene)
    assert "--world capture" in path.notes[0]
    for camera, view in zip(path.cameras, scene.views[:3], strict=True):
        np.testing.assert_allclose(camera.world_from_cam, view.world_from_cam, atol=1e-6)


def test_a_path_elsewhere_is_said_to_be(tmp_path: Path) -> None:
    seen = [([500.0, 0, 0], [501.0, 0, 0])] * 2
    file = track_cases.write_json(tmp_path / "settings.json", track_cases.settings([0, 30], seen, [60.0] * 2))
    path = read_camera_path(file, scene=scene_of(tmp_path, VIEWS))
    assert "no photo stands near" in path.notes[0] and "SuperSplat" in path.notes[0]


def straight(file: Path, **given: Any) -> Array:
    """The places (n,) along x of cameras that look along -z, read without a scene."""
    return np.array([-c.world_from_cam[0, 3] for c in read_camera_path(file, **given).cameras])


def along_x(places: list[float]) -> list[tuple[list[float], list[float]]]:
    return [([x, 0.0, 0.0], [x, 0.0, -5.0]) for x in places]


def test_the_curve_is_theirs(tmp_path: Path) -> None:
    """Between keys at 0, 10 and 30, where x is 0, 1 and 0: by hand from the formula of their sources."""
    seen = along_x([0.0, 1.0, 0.0])
    data = track_cases.settings([0, 10, 30], seen, [60.0] * 3, duration=1)
    x = straight(track_cases.write_json(tmp_path / "a.json", data))
    assert len(x) == 30 and x[[0, 10]] == pytest.approx([0, 1])
    # Slopes a frame: 1/10 at the first key, (0 - 0) / 30 at the second, -1/20 at the last.
    assert x[5] == pytest.approx(0.5 * 1 + 0.125 * 10 * 0.1)
    assert x[20] == pytest.approx(0.5 * 1 + 0.125 * 20 * 0.05)
    data["animTracks"][0]["smoothness"] = 0
    x = straight(track_cases.write_json(tmp_path / "b.json", data))
    assert x[5] == pytest.approx(0.5) and x[2] == pytest.approx(0.2**2 * (3 - 0.4))


def test_loops_go_on_from_the_last_key_to_the_first(tmp_path: Path) -> None:
    seen = along_x([0.0, 1.0, 0.0])
    data = track_cases.document([0, 20, 40], seen, [60.0] * 3, loop=True)
    file = track_cases.write_project(tmp_path / "a.ssproj", data)
    path = read_camera_path(file)
    assert path.loop and len(path.cameras) == 60 and path.seconds == 2
    x = straight(file)
    # The slope at the first key is that between its neighbours: the last key, 20 frames ago, and the second.
    assert x[0] == pytest.approx(0) and x[50] == pytest.approx(0.125 * 20 * (-1 / 40 - 1 / 40))
    data = track_cases.settings([0, 20, 40], seen, [60.0] * 3, loopMode="repeat")
    np.testing.assert_allclose(straight(track_cases.write_json(tmp_path / "b.json", data)), x, atol=1e-12)


def test_ping_pong_goes_there_and_back(tmp_path: Path) -> None:
    data = track_cases.settings([0, 60], along_x([0.0, 1.0]), [60.0] * 2, loopMode="pingpong", smoothness=1)
    file = track_cases.write_json(tmp_path / "a.json", data)
    path, x = read_camera_path(file), straight(file)
    assert path.loop and len(x) == 120 and path.seconds == 4
    assert x[[0, 30, 60, 90]] == pytest.approx([0, 0.5, 1, 0.5]) and x[119] == pytest.approx(x[1])


def test_steps_hold_each_key(tmp_path: Path) -> None:
    data = track_cases.settings([0, 30], along_x([0.0, 1.0]), [60.0] * 2, interpolation="step")
    x = straight(track_cases.write_json(tmp_path / "a.json", data))
    assert x[29] == 0 and x[30] == 1 and len(x) == 60


def test_the_first_version_counts_in_seconds_and_has_one_field_of_view(tmp_path: Path) -> None:
    values = {"position": [0, 0, 0, 1, 0, 0], "target": [0, 0, -5, 1, 0, -5]}
    track = {
        "name": "cameraAnim", "duration": 2, "target": "camera", "loopMode": "none",
        "interpolation": "spline",
        "keyframes": {"times": [0, 1], "values": values},
    }  # fmt: skip
    data = {"camera": {"fov": 90, "startAnim": "animTrack"}, "background": {}, "animTracks": [track]}
    file = track_cases.write_json(tmp_path / "settings.json", data)
    x = straight(file, width=400, height=300)
    assert len(x) == 60 and x[30] == pytest.approx(1)
    assert read_camera_path(file, 400, 300).cameras[0].intrinsics.fx == pytest.approx(200)


def test_a_portrait_film_has_the_angle_along_its_height(tmp_path: Path) -> None:
    data = track_cases.settings([0, 30], along_x([0.0, 1.0]), [90.0] * 2)
    file = track_cases.write_json(tmp_path / "a.json", data)
    assert read_camera_path(file, 300, 400).cameras[0].intrinsics.fy == pytest.approx(200)


def test_keys_without_frame_or_lens_take_the_usual_ones(tmp_path: Path) -> None:
    data = track_cases.document([0, 1], along_x([0.0, 1.0]), [60.0] * 2, loop=False)
    for pose in data["poseSets"][0]["poses"]:
        del pose["frame"], pose["fov"]
    path = read_camera_path(track_cases.write_project(tmp_path / "a.ssproj", data), 400, 300)
    x = np.array([-c.world_from_cam[0, 3] for c in path.cameras])
    assert x[30] == pytest.approx(1) and x[59] == pytest.approx(1)
    fov = 2 * math.degrees(math.atan(200 / path.cameras[0].intrinsics.fx))
    assert fov == pytest.approx(75)


def test_straight_down_the_right_side_is_x_as_in_supersplat(tmp_path: Path) -> None:
    seen = [([0.0, 5, 0], [0.0, 0, 0])] * 2
    file = track_cases.write_json(tmp_path / "a.json", track_cases.settings([0, 30], seen, [60.0] * 2))
    path = read_camera_path(file)
    assert_rigid(poses_of(path))
    np.testing.assert_allclose(
        path.cameras[0].world_from_cam[:3, 0], [-1, 0, 0], atol=1e-12
    )  # x is turned here


def test_what_cannot_be_shown_is_said(tmp_path: Path) -> None:
    data = track_cases.settings([0, 30], along_x([0.0, 1.0]), [60.0] * 2)
    data["postEffectSettings"]["bloom"]["enabled"] = True
    data |= {"tonemapping": "aces", "soundUrl": "a.mp3", "annotations": [{"title": "here"}]}
    data["background"]["skyboxUrl"] = "sky.webp"
    data["animTracks"].append(data["animTracks"][0])
    text = "\n".join(read_camera_path(track_cases.write_json(tmp_path / "a.json", data)).notes)
    for word in ("bloom", "aces", "sound", "sky", "annotations", "2 camera tracks"):
        assert word in text
    late = track_cases.document([0, 30, 90], along_x([0.0, 1.0, 2.0]), [60.0] * 3)
    late["poseSets"].append(late["poseSets"][0])
    text = "\n".join(read_camera_path(track_cases.write_project(tmp_path / "b.ssproj", late)).notes)
    assert "1 of its keyframes lie past" in text and "several sets" in text


def test_archives_and_pages_of_the_viewer_are_read(tmp_path: Path) -> None:
    data = track_cases.settings([0, 30], along_x([0.0, 1.0]), [60.0] * 2)
    plain = straight(track_cases.write_json(tmp_path / "settings.json", data))
    archive = track_cases.write_project(tmp_path / "viewer.zip", data, "settings.json")
    page = tmp_path / "viewer.html"
    page.write_text(
        f"<!doctype html>\n<script>\nconst sse = {{ settings: {json.dumps(data)}, x: 1 }};\n</script>"
    )
    for file in (archive, page):
        np.testing.assert_array_equal(straight(file), plain)


def broken(**changes: Any) -> dict[str, Any]:
    data = track_cases.settings([0, 30], along_x([0.0, 1.0]), [60.0] * 2)
    track = data["animTracks"][0]
    for name, value in changes.items():
        part = track["keyframes"] if name == "times" else track["keyframes"]["values"]
        (part if name in part else track)[name] = value
    return data


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"times": []}, "each keyframe"),
        ({"times": [0, math.nan]}, "each keyframe"),
        ({"times": "now"}, "each keyframe"),
        ({"position": [0.0] * 5}, "each keyframe"),
        ({"position": [0.0] * 6, "target": [0.0] * 6}, "keyframe 0 looks at the place"),
        ({"fov": [60.0]}, "each keyframe"),
        ({"fov": [60.0, 200.0]}, "field of view"),
        ({"duration": -1}, "duration"),
        ({"duration": 1e9}, "frames"),
        ({"frameRate": 0}, "frameRate"),
        ({"loopMode": "bounce"}, "bounce"),
        ({"interpolation": 3}, "interpolation"),
        ({"smoothness": 7}, "smoothness"),
        ({"keyframes": None}, "each keyframe"),
    ],
)
def test_bad_tracks_are_told(tmp_path: Path, changes: dict[str, Any], word: str) -> None:
    told(track_cases.write_json(tmp_path / "settings.json", broken(**changes)), word)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ({"animTracks": []}, "no camera track"),
        ({"poseSets": [], "timeline": {}}, "no camera keyframes"),
        ({"poseSets": [{"poses": [3]}], "timeline": {"frames": 60}}, "position and target"),
        ({"poseSets": [{"poses": [{"frame": 99}]}], "timeline": {"frames": 60}}, "position and target"),
        ({"frames": [{"position": [0, 0, 0], "target": [0, 0, 1]}, 7]}, "frame 1"),
        ({"frames": [{"position": [0, 0, 0], "target": [0, 0, 1], "up": [0, 0, 0]}]}, "up"),
    ],
)
def test_bad_files_are_told(tmp_path: Path, data: dict[str, Any], word: str) -> None:
    told(track_cases.write_json(tmp_path / "track.json", data), word)


def test_bad_archives_and_pages_are_told(tmp_path: Path) -> None:
    file = tmp_path / "room.ssproj"
    track_cases.write_project(file, {}, "readme.json")
    told(file, "without document.json")
    file.write_bytes(b"PK\x03\x04 and no more")
    told(file, "damaged archive")
    file.write_text("<html>nothing here</html>")
    told(file, "without the settings")


def told(file: Path, word: str) -> None:
    with pytest.raises(NerfsceneError, match=word) as caught:
        read_camera_path(file)
    assert "\n" not in str(caught.value) and str(file.parent) in str(caught.value)
