"""nerfstudio's camera_path.json: read as its users wrote it, and written."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from path_cases import LENS, a_motion, assert_rigid, poses_of, ring

from nerfscene.errors import NerfsceneError
from nerfscene.films.camera_path_file import FLIP, read_camera_path, write_camera_path
from nerfscene.films.paths import CameraPath
from nerfscene.films.presets import PRESETS, preset
from nerfscene.types import Array, Camera


def frame_of(pose: Array, fov: float = 50.0) -> dict[str, Any]:
    return {"camera_to_world": (pose @ FLIP).ravel().tolist(), "fov": fov, "aspect": 1.5}


def save(folder: Path, **changes: Any) -> Path:
    """A path as nerfstudio's viewer writes it."""
    poses = [v.world_from_cam for v in ring(np.arange(0, 60, 10.0))]
    data = {
        "default_fov": 50.0,
        "default_transition_sec": 2.0,
        "keyframes": [],
        "camera_type": "perspective",
        "render_height": 400,
        "render_width": 600,
        "fps": 24,
        "seconds": 0.25,
        "is_cycle": False,
        "smoothness_value": 0.0,
        "camera_path": [frame_of(p) for p in poses],
    }
    data = {k: v for k, v in (data | changes).items() if v is not ...}
    file = folder / "camera_path.json"
    file.write_text(json.dumps(data))
    return file


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
    assert path.cameras[0].intrinsics.width / path.cameras[0].intrinsics.height == 1.5  # its aspect


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


def trained_with(folder: Path, applied: Array | None, applied_scale: float = 1.0) -> Path:
    """A path in nerfstudio's training coordinates, and its dataparser_transforms.json."""
    own = a_motion()
    own_scale = 0.3
    frames = []
    for v in ring(np.arange(0, 60, 10.0)):
        pose = own @ v.world_from_cam
        pose[:3, 3] *= own_scale
        frames.append(frame_of(pose))
    kept = own if applied is None else own @ applied
    (folder / "dataparser_transforms.json").write_text(
        json.dumps({"transform": kept[:3].tolist(), "scale": own_scale * applied_scale})
    )
    if applied is not None:
        values = {"applied_transform": applied[:3].tolist(), "applied_scale": applied_scale, "frames": []}
        (folder / "transforms.json").write_text(json.dumps(values))
    return save(folder, camera_path=frames)


@pytest.mark.parametrize("applied_scale", [None, 1.0, 2.5])
def test_nerfstudio_s_training_coordinates_are_undone(tmp_path: Path, applied_scale: float | None) -> None:
    swap = np.eye(4)[[0, 2, 1, 3]] * [[1], [1], [-1], [1]]  # what its COLMAP import applies
    swap[:3, 3] = [0.5, 0, -1]
    file = (
        trained_with(tmp_path, None) if applied_scale is None else trained_with(tmp_path, swap, applied_scale)
    )
    expected = np.stack([v.world_from_cam for v in ring(np.arange(0, 60, 10.0))])
    np.testing.assert_allclose(poses_of(read_camera_path(file)), expected, atol=1e-9)
    # The file may be given by name, from another folder.
    elsewhere = tmp_path / "elsewhere.json"
    (tmp_path / "dataparser_transforms.json").rename(elsewhere)
    assert not np.allclose(poses_of(read_camera_path(file)), expected)
    np.testing.assert_allclose(poses_of(read_camera_path(file, transform=elsewhere)), expected, atol=1e-9)


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
        ({"camera_type": "equirectangular"}, "perspective"),
        ({"camera_type": "vr180"}, "perspective"),
        ({"camera_type": "fisheye"}, "perspective"),
        ({"fps": -1}, "fps"),
        ({"fps": "fast"}, "fps"),
        ({"seconds": math.nan}, "seconds"),
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


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "{}",
        '{"transform": [[1, 0], [0, 1]], "scale": 1}',
        json.dumps({"transform": np.eye(4)[:3].tolist(), "scale": 0}),
        json.dumps({"transform": np.eye(4)[:3].tolist(), "scale": "big"}),
        json.dumps({"transform": (2 * np.eye(4)[:3]).tolist(), "scale": 1}),
    ],
)
def test_bad_dataparser_transforms_are_told(tmp_path: Path, content: str) -> None:
    file = save(tmp_path)
    (tmp_path / "dataparser_transforms.json").write_text(content)
    told(file, "dataparser_transforms.json")


def told(file: Path, word: str) -> None:
    with pytest.raises(NerfsceneError, match=word) as caught:
        read_camera_path(file)
    message = str(caught.value)
    assert "\n" not in message and str(file.parent) in message
