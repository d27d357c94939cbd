"""Animated cameras in glTF files, as Blender exports them, and frames that a script wrote out of Blender."""

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
from scipy.spatial.transform import Rotation
from track_cases import GltfParts

from nerfscene.errors import NerfsceneError
from nerfscene.exporters.placement import placed
from nerfscene.films.camera_path_file import read_camera_path
from nerfscene.scene.scene import Scene
from nerfscene.types import Array

VIEWS = ring(np.arange(0, 360, 15.0), shake=0.0)
BLENDER = np.diag([1.0, -1, -1, 1])  # a camera's axes there, and in glTF: along -z, +y up


def in_gltf(scene: Scene, world: Any = "upright") -> Array:
    """The photos' cameras as nodes of a glTF file about the exported scene: (x, z, -y) of the upright one."""
    return exported(scene, np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), world) @ BLENDER


def turned(poses: Array) -> Array:
    """Quaternions x, y, z, w, (n, 4), of neighbouring signs, as Blender writes them."""
    turns = Rotation.from_matrix(poses[:, :3, :3]).as_quat()
    for i in range(1, len(turns)):
        turns[i] *= 1 if turns[i] @ turns[i - 1] >= 0 else -1
    return turns


def sampled(poses: Array, times: Array, **more: Any) -> tuple[dict[str, Any], bytes]:
    """A camera with a key a frame, as Blender exports an animated one."""
    parts = GltfParts()
    moves = [
        (0, "translation", times, poses[:, :3, 3], "LINEAR"),
        (0, "rotation", times, turned(poses), "LINEAR"),
    ]
    node = {"camera": 0, "name": "Camera", "translation": [1, 2, 3], "rotation": [0, 0, 0, 1]}
    animation = parts.animation("CameraAction", moves)
    return parts.data([node], [animation], **more), parts.content


@pytest.mark.parametrize("kind", ["glb", "gltf", "beside"])
@pytest.mark.parametrize("source", ["photos", "polycam"])
def test_a_camera_animated_about_an_exported_mesh_films_the_same_view(
    tmp_path: Path, kind: str, source: str
) -> None:
    scene = lying(scene_of(tmp_path, VIEWS, source))
    poses = in_gltf(scene)[:6]
    data, content = sampled(poses, 1 / 24 + np.arange(6) / 24)  # Blender's scenes begin at frame 1
    if kind == "glb":
        file = track_cases.write_glb(tmp_path / "camera.glb", data, content)
    else:
        file = track_cases.write_gltf(tmp_path / "camera.gltf", data, content, kind == "gltf")
    path = read_camera_path(file, scene=scene, usual_size=(960, 720))
    assert path.notes == () and path.fps == 24 and len(path.cameras) == 6
    for camera, view in zip(path.cameras, scene.views[:6], strict=True):
        np.testing.assert_allclose(camera.world_from_cam, view.world_from_cam, atol=3e-5)
        k = camera.intrinsics
        assert (k.width, k.height) == (960, 540) and k.fy == pytest.approx(270 / math.tan(0.2))


@pytest.mark.parametrize(("world", "said"), [("capture", "--world capture"), ("z up", "other axes up")])
def test_a_mesh_or_path_exported_in_another_way_is_found_out(tmp_path: Path, world: str, said: str) -> None:
    scene = lying(scene_of(tmp_path, VIEWS))
    poses = in_gltf(scene, "capture")
    if world == "z up":  # Blender's export without +Y Up
        poses = np.stack([view.world_from_cam for view in placed(scene).views]) @ BLENDER
    data, content = sampled(poses[:4], np.arange(4) / 25)
    path = read_camera_path(track_cases.write_glb(tmp_path / "a.glb", data, content), scene=scene)
    assert said in path.notes[0] and path.fps == 25
    np.testing.assert_allclose(poses_of(path), [v.world_from_cam for v in scene.views[:4]], atol=2e-4)


def test_a_camera_on_a_turning_empty_goes_round_with_it(tmp_path: Path) -> None:
    parts = GltfParts()
    times = np.arange(9) / 24
    turns = Rotation.from_euler("y", 10 * np.arange(9)[:, None], degrees=True).as_quat()
    animation = parts.animation("EmptyAction", [(0, "rotation", times, turns, "LINEAR")])
    nodes = [
        {"name": "Empty", "children": [1], "translation": [0, 1, 0], "scale": [2, 2, 2]},
        {"name": "Camera", "camera": 0, "translation": [0, 0, 3]},
    ]
    file = track_cases.write_glb(tmp_path / "a.glb", parts.data(nodes, [animation]), parts.content)
    path = read_camera_path(file)
    assert_rigid(poses_of(path))
    angle = math.radians(80)
    # In glTF (6 sin, 1, 6 cos); here z is up, so (x, -z, y).
    np.testing.assert_allclose(
        path.cameras[8].world_from_cam[:3, 3], [6 * math.sin(angle), -6 * math.cos(angle), 1], atol=1e-6
    )


def moving(
    tmp_path: Path, kind: str, times: list[float], values: Any, path: str = "translation"
) -> list[Array]:
    parts = GltfParts()
    animation = parts.animation("A", [(0, path, np.array(times), np.array(values, float), kind)])
    file = tmp_path / "a.glb"
    track_cases.write_glb(file, parts.data([{"camera": 0}], [animation]), parts.content)
    return [c.world_from_cam for c in read_camera_path(file).cameras]


def test_few_keys_are_joined_as_they_say(tmp_path: Path) -> None:
    keys = [[0.0, 0, 0], [4.0, 0, 0], [4.0, 0, 0]]
    x = [p[0, 3] for p in moving(tmp_path, "LINEAR", [0, 1, 2], keys)]
    assert len(x) == 61 and x[15] == pytest.approx(2) and x[60] == 4
    x = [p[0, 3] for p in moving(tmp_path, "STEP", [0, 1, 2], keys)]
    assert x[29] == 0 and x[30] == 4
    flat = [0.0, 0, 0]
    cubic = [flat, keys[0], [4.0, 0, 0], [4.0, 0, 0], keys[1], flat, flat, keys[2], flat]  # in, value, out
    x = [p[0, 3] for p in moving(tmp_path, "CUBICSPLINE", [0, 1, 2], cubic)]
    assert x[15] == pytest.approx(2) and x[6] == pytest.approx(0.8)  # slopes of 4 a second on both sides
    half = Rotation.from_euler("z", 90, degrees=True).as_quat()
    poses = moving(tmp_path, "LINEAR", [0, 1], [[0, 0, 0, 1], (-half).tolist()], "rotation")
    seen = Rotation.from_matrix(poses[0][:3, :3]).inv() * Rotation.from_matrix(poses[15][:3, :3])
    assert np.degrees(seen.magnitude()) == pytest.approx(45)  # the shorter way


def test_an_animated_field_of_view_is_followed(tmp_path: Path) -> None:
    parts = GltfParts()
    times, places, angles = np.arange(3) / 24, np.eye(3), np.array([0.4, 0.5, 0.6])
    moves = [
        (0, "translation", times, places, "LINEAR"),
        ("/cameras/0/perspective/yfov", "pointer", times, angles, "LINEAR"),
    ]
    data = parts.data(
        [{"camera": 0}], [parts.animation("A", moves)], extensionsUsed=["KHR_animation_pointer"]
    )
    path = read_camera_path(track_cases.write_glb(tmp_path / "a.glb", data, parts.content))
    found = [2 * math.atan(0.5 * c.intrinsics.height / c.intrinsics.fy) for c in path.cameras]
    np.testing.assert_allclose(found, angles, atol=1e-6)


def test_of_several_cameras_the_one_that_moves_is_filmed(tmp_path: Path) -> None:
    parts = GltfParts()
    times = np.arange(3) / 24
    first = parts.animation("Fly", [(1, "translation", times, np.eye(3), "LINEAR")])
    second = parts.animation("Other", [(1, "translation", times, 2 * np.eye(3), "LINEAR")])
    nodes = [{"camera": 0, "name": "Still"}, {"camera": 0, "name": "Drone"}]
    file = track_cases.write_glb(tmp_path / "a.glb", parts.data(nodes, [first, second]), parts.content)
    path = read_camera_path(file)
    assert path.cameras[0].world_from_cam[0, 3] == pytest.approx(1)
    text = "\n".join(path.notes)
    assert "Drone is filmed, not Still" in text and "not Other" in text


def test_a_still_camera_makes_one_picture(tmp_path: Path) -> None:
    parts = GltfParts()
    data = parts.data([{"camera": 0, "translation": [0, 0, 5]}], [], buffers=[])
    path = read_camera_path(track_cases.write_glb(tmp_path / "a.glb", data, b""))
    assert len(path.cameras) == 1 and "doesn't move" in path.notes[0]


def good() -> tuple[dict[str, Any], bytes]:
    return sampled(np.stack([v.world_from_cam for v in VIEWS[:3]]), np.arange(3) / 24)


def change(data: dict[str, Any], where: tuple[Any, ...], value: Any) -> None:
    for step in where[:-1]:
        data = data[step]
    data[where[-1]] = value


BAD: list[tuple[tuple[Any, ...], Any, str]] = [
    (("nodes", 0, "camera"), None, "no camera"),
    (("nodes", 0, "camera"), 7, "damaged"),
    (("cameras", 0, "type"), "orthographic", "orthographic"),
    (("cameras", 0, "perspective", "yfov"), 4, "field of view"),
    (("cameras", 0, "perspective"), 4, "field of view"),
    (("accessors", 0, "count"), 99, "damaged"),
    (("accessors", 0, "componentType"), 1, "damaged"),
    (("accessors", 0, "bufferView"), "x", "damaged"),
    (("accessors", 0, "sparse"), {}, "sparse"),
    (("accessors", 1, "count"), 2, "don't match"),
    (("accessors", 1, "type"), "VEC2", "don't match"),
    (("bufferViews", 0, "extensions"), {"EXT_meshopt_compression": {}}, "compress"),
    (("bufferViews", 0, "byteOffset"), -4, "damaged"),
    (("bufferViews", 0, "byteOffset"), 10**6, "damaged"),
    (("animations", 0, "samplers", 0, "interpolation"), "MAGIC", "MAGIC"),
    (("animations", 0, "samplers"), [], "damaged"),
    (("nodes", 0, "matrix"), [1, 2], "matrix"),
    (("nodes", 0, "scale"), [1, 1, -1], "mirrors"),
    (("nodes", 0, "scale"), "big", "scale"),
    (("nodes", 0, "children"), [0], "ring"),
    (("buffers", 0, "uri"), "../secret.bin", "one file"),
    (("buffers", 0, "uri"), "gone.bin", "beside it"),
    (("buffers", 0, "uri"), "data:;base64,%%%", "decoded"),
]


@pytest.mark.parametrize(("where", "value", "word"), BAD)
def test_bad_files_are_told(tmp_path: Path, where: tuple[Any, ...], value: Any, word: str) -> None:
    data, content = good()
    change(data, where, value)
    told(track_cases.write_glb(tmp_path / "a.glb", data, content), word)


def test_files_that_are_cut_off_are_told(tmp_path: Path) -> None:
    file = track_cases.write_glb(tmp_path / "a.glb", *good())
    whole = file.read_bytes()
    for length in (5, 30, len(whole) - 8):
        file.write_bytes(whole[:length])
        told(file, "cut off or damaged")
    file.write_bytes(whole[:4] + b"\1" + whole[5:])
    told(file, "version 1")
    file.write_bytes(whole.replace(b'{"asset"', b'["asset"'))
    told(file, "JSON is damaged")


def told(file: Path, word: str) -> None:
    with pytest.raises(NerfsceneError, match=word) as caught:
        read_camera_path(file)
    assert "\n" not in str(caught.value) and str(file.parent) in str(caught.value)


def frames_of(scene: Scene, n: int = 4) -> list[dict[str, Any]]:
    """What Blender's camera.matrix_world holds about the exported mesh: its world has z up."""
    return [{"matrix_world": (v.world_from_cam @ BLENDER).tolist()} for v in placed(scene).views[:n]]


@pytest.mark.parametrize(
    ("lens", "half_height"),
    [
        ({"fov": 60.0}, math.tan(math.radians(30))),
        ({"lens": 50.0}, 18 / 50 / 2),  # Blender's sensor is 36 mm wide; the picture 2:1
        ({"lens": 50.0, "sensor_width": 24.0, "sensor_fit": "HORIZONTAL"}, 12 / 50 / 2),
        ({"lens": 50.0, "sensor_height": 20.0, "sensor_fit": "VERTICAL"}, 10 / 50),
    ],
)
def test_frames_from_a_script_film_the_same_view(
    tmp_path: Path, lens: dict[str, Any], half_height: float
) -> None:
    scene = lying(scene_of(tmp_path, VIEWS))
    frames = [frame | lens for frame in frames_of(scene)]
    data = {"fps": 24, "width": 800, "height": 400, "frames": frames, "loop": True}
    path = read_camera_path(track_cases.write_json(tmp_path / "camera.json", data), scene=scene)
    assert (path.notes, path.fps, path.loop, path.width, path.height) == ((), 24, True, 800, 400)
    np.testing.assert_allclose(poses_of(path), [v.world_from_cam for v in scene.views[:4]], atol=1e-9)
    assert path.cameras[0].intrinsics.fy == pytest.approx(200 / half_height)


def test_a_portrait_picture_has_the_sensor_along_its_height(tmp_path: Path) -> None:
    frames = [{"matrix_world": np.eye(4).tolist(), "lens": 50, "shift_x": 0.1}]
    data = {"width": 400, "height": 800, "frames": frames}
    path = read_camera_path(track_cases.write_json(tmp_path / "camera.json", data))
    assert path.cameras[0].intrinsics.fy == pytest.approx(800 * 50 / 36)
    assert "shift" in path.notes[0]


@pytest.mark.parametrize(
    ("frame", "word"),
    [
        ({"matrix_world": [[1, 2], [3, 4]], "fov": 50}, "4 rows"),
        ({"matrix_world": None, "fov": 50}, "4 rows"),
        ({"matrix_world": np.zeros((4, 4)).tolist(), "fov": 50}, "not a rotation"),
        ({"matrix_world": np.eye(4).tolist()}, "neither a fov"),
        ({"matrix_world": np.eye(4).tolist(), "fov": 0}, "field of view"),
        ({"matrix_world": np.eye(4).tolist(), "lens": -50}, "millimetres"),
        ({"matrix_world": np.eye(4).tolist(), "lens": 50, "sensor_fit": "ROUND"}, "millimetres"),
        (7, "4 rows"),
    ],
)
def test_bad_frames_are_told(tmp_path: Path, frame: Any, word: str) -> None:
    first = {"matrix_world": np.eye(4).tolist(), "fov": 50}
    told(track_cases.write_json(tmp_path / "camera.json", {"frames": [first, frame]}), word)


def test_a_transform_is_not_for_these(tmp_path: Path) -> None:
    data = {"frames": [{"matrix_world": np.eye(4).tolist(), "fov": 50}]}
    file = track_cases.write_json(tmp_path / "camera.json", data)
    transform = track_cases.write_json(tmp_path / "dataparser_transforms.json", {})
    with pytest.raises(NerfsceneError, match="Blender: leave it out"):
        read_camera_path(file, transform=transform)
    assert json.loads(file.read_text())
