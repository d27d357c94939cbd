"""nerfstudio's camera_path.json: read as its users wrote it, and written."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from path_cases import LENS, assert_rigid, poses_of, ring
from path_file_cases import save

from nerfscene.errors import NerfsceneError
from nerfscene.films.camera_path_file import read_camera_path
from nerfscene.films.path_parts import FLIP
from nerfscene.films.path_writing import write_camera_path
from nerfscene.films.paths import CameraPath
from nerfscene.films.presets import PRESETS, preset
from nerfscene.types import Camera


def test_reads_what_nerfstudio_writes(tmp_path: Path) -> None:
    path = read_camera_path(save(tmp_path))
    assert (path.fps, path.seconds, path.loop, path.width, path.height) == (24, 0.25, False, 600, 400)
    for camera, view in zip(path.cameras, ring(np.arange(0, 60, 10.0)), strict=True):
        np.testing.assert_allclose(camera.world_from_cam, view.world_from_cam, atol=1e-12)
        k = camera.intrinsics
        assert (k.width, k.height, k.cx, k.cy) == (600, 400, 300, 200)
        assert k.fx == k.fy == pytest.approx(200 / math.tan(math.radians(25)))


def test_opengl_axes_become_opencv_s(tmp_path: Path) -> None:
    eye = {"camera_to_world": np.eye(4).ravel().tolist(), "fov": 60, "aspect": 1.0}
    pose = read_camera_path(save(tmp_path, camera_path=[eye])).cameras[0].world_from_cam
    np.testing.assert_array_equal(pose[:3, 2], [0, 0, -1])  # OpenGL looks along -z
    np.testing.assert_array_equal(pose[:3, 1], [0, -1, 0])


def test_what_a_file_leaves_out_is_none(tmp_path: Path) -> None:
    silent = dict.fromkeys(
        ("fps", "seconds", "is_cycle", "render_width", "render_height", "camera_type"), ...
    )
    path = read_camera_path(save(tmp_path, **silent))
    assert (path.fps, path.seconds, path.loop, path.width, path.height) == (None, None, False, None, None)
    k = path.cameras[0].intrinsics
    assert (k.width, k.height) == (1280, 853)  # its aspect


@pytest.mark.parametrize(
    ("asked", "size", "half_angles"),
    [
        ((300, None), (300, 200), (1.5, 1.0)),
        ((None, 800), (1200, 800), (1.5, 1.0)),
        ((800, 400), (800, 400), (2.0, 1.0)),
        ((400, 800), (400, 800), (1.0, 2.0)),
    ],
)
def test_other_sizes_keep_the_subject(
    tmp_path: Path,
    asked: tuple[int | None, int | None],
    size: tuple[int, int],
    half_angles: tuple[float, float],
) -> None:
    k = read_camera_path(save(tmp_path), *asked).cameras[0].intrinsics
    assert (k.width, k.height) == size
    t = math.tan(math.radians(25))
    assert (0.5 * k.width / k.fx / t, 0.5 * k.height / k.fy / t) == pytest.approx(half_angles)


def test_a_portrait_path_keeps_its_narrow_angle(tmp_path: Path) -> None:
    file = save(tmp_path, render_width=400, render_height=800)
    narrow = 0.5 * math.tan(math.radians(25))
    k = read_camera_path(file).cameras[0].intrinsics
    assert 0.5 * k.width / k.fx == pytest.approx(narrow)
    k = read_camera_path(file, 800, 400).cameras[0].intrinsics
    assert 0.5 * k.height / k.fy == pytest.approx(narrow)


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("older", [False, True])
def test_keyframes_alone_become_a_path(tmp_path: Path, older: bool, loop: bool) -> None:
    views = ring(np.array([0.0, 90, 180, 270]), shake=0.0)
    keys = []
    for fov, v in zip((40.0, 50.0, 60.0, 50.0), views, strict=True):
        m = v.world_from_cam @ FLIP
        # The older viewer, in three.js, wrote columns one after another, as a string.
        matrix: Any = json.dumps(m.T.ravel().tolist()) if older else m.ravel().tolist()
        keys.append({"matrix": matrix, "fov": fov, "aspect": 1.5})
    file = save(tmp_path, keyframes=keys, camera_path=[], is_cycle=loop, seconds=4, fps=30)
    path = read_camera_path(file)
    assert len(path.cameras) == 120 and path.loop is loop
    poses = poses_of(path)
    assert_rigid(poses)
    np.testing.assert_allclose(poses[0], views[0].world_from_cam, atol=1e-9)
    if loop:
        np.testing.assert_allclose(poses[::30], [v.world_from_cam for v in views], atol=1e-9)
        assert np.linalg.norm(poses[-1, :3, 3] - poses[0, :3, 3]) < 0.3
        fov = 2 * math.degrees(math.atan(200 / path.cameras[60].intrinsics.fy))
        assert fov == pytest.approx(60)
    else:
        np.testing.assert_allclose(poses[-1], views[-1].world_from_cam, atol=1e-9)


@pytest.mark.parametrize("name", PRESETS)
def test_written_paths_read_back(tmp_path: Path, name: str) -> None:
    made = replace(preset(name, ring(np.arange(0, 360, 15.0)), 20, 642, 480), fps=25.0)
    file = tmp_path / "mine.json"
    file.write_text("an older one")
    write_camera_path(made, file)
    back = read_camera_path(file)
    np.testing.assert_allclose(poses_of(back), poses_of(made), atol=1e-9)
    assert (back.fps, back.seconds, back.loop) == (25.0, 0.8, made.loop)
    for a, b in zip(back.cameras, made.cameras, strict=True):
        assert (a.intrinsics.width, a.intrinsics.height) == (642, 480)
        assert a.intrinsics.fy == pytest.approx(b.intrinsics.fy)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.json"]


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    camera = Camera(LENS, np.full((4, 4), np.nan))
    good = CameraPath((Camera(LENS, np.eye(4)),))
    for path, file in (
        (CameraPath(()), tmp_path / "a.json"),
        (CameraPath((camera,)), tmp_path / "a.json"),
        (good, tmp_path / "missing" / "a.json"),
    ):
        with pytest.raises(NerfsceneError, match=r"a\.json"):
            write_camera_path(path, file)
    assert not list(tmp_path.iterdir())


def numbers(**at: float) -> list[float]:
    values = np.eye(4).ravel()
    for index, value in at.items():
        values[int(index[1:])] = value
    return values.tolist()


BAD_FRAMES: list[tuple[Any, str]] = [
    ({"camera_to_world": numbers()[:12], "fov": 50}, "camera 0"),
    ({"camera_to_world": [*numbers(), 1.0], "fov": 50}, "16"),
    ({"camera_to_world": numbers(_3=math.nan), "fov": 50}, "finite"),
    ({"camera_to_world": numbers(_3=math.inf), "fov": 50}, "finite"),
    ({"camera_to_world": numbers(_0=2.0), "fov": 50}, "stretches"),
    ({"camera_to_world": numbers(_1=0.4), "fov": 50}, "shears"),
    ({"camera_to_world": numbers(_0=-1.0), "fov": 50}, "mirrors"),
    ({"camera_to_world": numbers(_12=3.0), "fov": 50}, "not a rotation"),
    ({"camera_to_world": "no", "fov": 50}, "16"),
    ({"camera_to_world": None, "fov": 50}, "16"),
    ({"fov": 50}, "16"),
    ({"camera_to_world": numbers(), "fov": 0}, "field of view"),
    ({"camera_to_world": numbers(), "fov": 180}, "field of view"),
    ({"camera_to_world": numbers(), "fov": "wide"}, "field of view"),
    ({"camera_to_world": numbers(), "fov": math.nan}, "field of view"),
    ("not an object", "object"),
    ({"camera_to_world": [10**400] * 16, "fov": 50}, "16"),
    ({"camera_to_world": "[" * 100_000, "fov": 50}, "16"),
    ({"camera_to_world": numbers(), "fov": 10**400}, "field of view"),
    ({"camera_to_world": numbers(), "fov": 50, "camera_type": "orthographic"}, "camera 0.*perspective"),
    ({"camera_to_world": numbers(), "fov": 50, "camera_type": "fisheye"}, "camera 0.*camera_type"),
]


@pytest.mark.parametrize(("frame", "word"), BAD_FRAMES)
def test_bad_cameras_are_told(tmp_path: Path, frame: Any, word: str) -> None:
    told(save(tmp_path, camera_path=[frame]), word)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"camera_path": []}, "no cameras"),
        ({"camera_path": ...}, "no cameras"),
        ({"camera_path": {}}, "no cameras"),
        ({"camera_path": 3}, "no cameras"),
        ({"camera_type": "orthophoto"}, "perspective"),
        ({"camera_type": 3}, "perspective"),
        ({"fps": -1}, "fps"),
        ({"fps": "fast"}, "fps"),
        ({"seconds": math.nan}, "seconds"),
        ({"seconds": -1}, "seconds"),
        ({"render_width": 0}, "render_width"),
        ({"render_width": 100000}, "pixels"),
        ({"camera_path": [], "keyframes": [{"matrix": numbers(), "fov": 50}], "seconds": 1e9}, "frames"),
    ],
)
def test_bad_files_are_told(tmp_path: Path, changes: dict[str, Any], word: str) -> None:
    told(save(tmp_path, **changes), word)


def test_unreadable_files_are_told(tmp_path: Path) -> None:
    file = tmp_path / "camera_path.json"
    told(file, "exist")
    for content, word in ((b"{", "line 1"), (b"[1]", "object"), (b"\xff\xfe\x00", "read"), (b"", "line 1")):
        file.write_bytes(content)
        told(file, word)
    file.unlink()
    file.mkdir()
    told(file, "read")


OTHER_FILES: list[tuple[Any, str]] = [
    ({"w": 64, "frames": [{"file_path": "a.jpg", "transform_matrix": []}]}, "transforms.json.*walkthrough"),
    ({"transform": np.eye(4)[:3].tolist(), "scale": 1.0}, "dataparser_transforms.json.*--path-transform"),
    ([{"id": 0, "img_name": "a", "position": [0, 0, 0]}], "not a JSON object"),
    ({"path": []}, "no keyframes"),
]


@pytest.mark.parametrize(("content", "word"), OTHER_FILES)
def test_files_that_are_no_paths_are_told_by_name(tmp_path: Path, content: Any, word: str) -> None:
    file = tmp_path / "camera_path.json"
    file.write_text(json.dumps(content))
    told(file, word)


def test_a_file_nested_too_deep_is_told(tmp_path: Path) -> None:
    file = tmp_path / "camera_path.json"
    file.write_text('{"camera_path": ' + "[" * 100_000 + "]" * 100_000 + "}")
    told(file, "is not valid JSON")


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = save(tmp_path)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(read_camera_path(file).cameras) == 6


def told(file: Path, word: str) -> None:
    with pytest.raises(NerfsceneError, match=word) as caught:
        read_camera_path(file)
    message = str(caught.value)
    assert "\n" not in message and str(file.parent) in message
