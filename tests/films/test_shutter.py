"""Motion blur and depth of field: where the pictures of a frame are taken from, and what their mean is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films import lens as lenses
from nerfscene.films import shutter, through_lens
from nerfscene.films.filming import render_film, world_points
from nerfscene.films.lens import Lens, lens_of
from nerfscene.films.path_writing import write_camera_path
from nerfscene.films.paths import CameraPath, look_at
from nerfscene.films.shutter import Shutter, cameras_of, disc, moments, motion_of, pictures, taken
from nerfscene.scene import folder as scene
from nerfscene.scene.folder import Scene
from nerfscene.types import Camera, Frame, Intrinsics

WIDTH, HEIGHT, FOCAL = 120, 80, 100.0
K = Intrinsics(WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2)
UP = np.array([0.0, 0.0, 1.0])
SIMPLE: Any = SimpleNamespace(scene_from_world=np.eye(4))  # a renderer that renders nothing itself


@pytest.fixture(scope="module")
def loaded(trained: Path) -> Scene:
    return scene.load(trained)


def shifted(x: float, k: Intrinsics = K) -> Camera:
    """A camera that looks along +z, this far to the right."""
    pose = np.eye(4)
    pose[0, 3] = x
    return Camera(k, pose)


def seen_by(camera: Camera, point: Sequence[float]) -> np.ndarray:
    """Where a camera shows a point, pixels: the pinhole's equations."""
    x, y, z = np.linalg.inv(camera.world_from_cam)[:3] @ [*point, 1.0]
    k = camera.intrinsics
    return np.array([k.fx * x / z + k.cx, k.fy * y / z + k.cy])


def wall(monkeypatch: pytest.MonkeyPatch, z: float, dots: Sequence[Sequence[float]] = ()) -> None:
    """Stands for the scene: a black wall at this z, and dots of light before it as wide as a pixel."""

    def seen(renderer: Any, camera: Camera, samples: int = 1) -> Frame:
        k = camera.intrinsics
        columns, rows = np.meshgrid(np.arange(k.width) + 0.5, np.arange(k.height) + 0.5)
        rgb = np.zeros((k.height, k.width, 3), np.float32)
        for dot in dots:
            u, v = seen_by(camera, dot)
            rgb += np.exp(-0.5 * ((columns - u) ** 2 + (rows - v) ** 2))[..., None].astype(np.float32)
        x, y = (columns - k.cx) / k.fx, (rows - k.cy) / k.fy
        depth = (z - camera.world_from_cam[2, 3]) * np.sqrt(x * x + y * y + 1)
        return Frame(rgb, depth.astype(np.float32), np.ones((k.height, k.width), np.float32))

    def rays(renderer: Any, k: Intrinsics, pose: Any, mask: Any) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = np.nonzero(mask)
        flat = [(columns + 0.5 - k.cx) / k.fx, (rows + 0.5 - k.cy) / k.fy, np.ones(len(rows))]
        directions = np.stack(flat, 1)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return np.zeros_like(directions), directions

    monkeypatch.setattr(shutter, "render", seen)
    monkeypatch.setattr(through_lens, "render", seen)
    monkeypatch.setattr(shutter, "rays_through", rays)
    monkeypatch.setattr(shutter, "similarity_scale", lambda matrix: 1.0)


def light_of(frame: Frame) -> np.ndarray:
    """Linear light (height, width) of a grey frame (IEC 61966-2-1)."""
    x = frame.rgb[..., 0].astype(float)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def spread(light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle of the light and its variances, across and down, pixels."""
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]] + 0.5
    weight = light / light.sum()
    middle = np.array([(weight * columns).sum(), (weight * rows).sum()])
    squares = np.array(
        [(weight * (columns - middle[0]) ** 2).sum(), (weight * (rows - middle[1]) ** 2).sum()]
    )
    return middle, squares


# --- motion ---------------------------------------------------------------------------------------


def test_motion_blur_is_as_long_as_the_way_while_the_shutter_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wall(monkeypatch, 5.0, [(0.0, 0.0, 4.9)])
    step = 1.2  # a frame; the dot moves by 100 · 1.2 / 4.9 = 24.5 pixels
    path = CameraPath(tuple(shifted(x) for x in (-step, 0.0, step)))
    for angle in (90, 180, 360):
        cameras = cameras_of(Shutter(path, angle / 360), SIMPLE, 1)
        length = FOCAL * step / 4.9 * angle / 360
        assert len(cameras) >= length / 2
        blurred = taken(SIMPLE, cameras, 1, False)
        sharp = taken(SIMPLE, [path.cameras[1]], 1, False)
        middle, squares = spread(light_of(blurred))
        before, narrow = spread(light_of(sharp))
        assert np.abs(middle - before).max() < 0.1, "it is blurred about where it is"
        assert math.sqrt(12 * (squares[0] - narrow[0])) == pytest.approx(length, rel=0.06)
        assert squares[1] - narrow[1] < 0.3
        assert light_of(blurred).sum() == pytest.approx(light_of(sharp).sum(), rel=0.03)
        # No copies of it: along its way the light is even.
        line = light_of(blurred).sum(0)
        inner = line[np.abs(np.arange(WIDTH) + 0.5 - middle[0]) < length / 2 - 3]
        assert inner.size == 0 or inner.std() < 0.25 * inner.mean()


def test_a_still_camera_s_film_is_the_film_without_blur(loaded: Scene, tmp_path: Path) -> None:
    k = Intrinsics(48, 32, 40.0, 40.0, 24.0, 16.0)
    still = CameraPath((Camera(k, loaded.views[0].world_from_cam),) * 3, fps=10.0)
    write_camera_path(still, tmp_path / "path.json")
    config = RenderConfig(path=str(tmp_path / "path.json"))
    render_film(loaded, config, None, tmp_path / "sharp")
    told: list[str] = []
    render_film(loaded, replace(config, motion_blur=360), None, tmp_path / "blurred", note=told.append)
    for file in (tmp_path / "sharp").iterdir():
        assert file.read_bytes() == (tmp_path / "blurred" / file.name).read_bytes()
    assert "each frame is one picture" in told[0]


def test_the_camera_passes_through_its_frames_along_a_curve() -> None:
    poses = [
        look_at(np.array([3 * math.cos(a), 3 * math.sin(a), 1.0]), np.zeros(3), UP) for a in (0, 0.2, 0.4)
    ]
    ks = [replace(K, fx=f, fy=f) for f in (100.0, 110.0, 121.0)]
    one, two, three = (Camera(k, pose) for k, pose in zip(ks, poses, strict=True))
    motion = motion_of(two, one, three)
    for time, camera in ((-1.0, one), (0.0, two), (1.0, three)):
        assert np.allclose(motion.at(time).world_from_cam, camera.world_from_cam, atol=1e-9)
        assert motion.at(time).intrinsics.fx == pytest.approx(camera.intrinsics.fx)
    half = motion.at(0.5)
    there = look_at(np.array([3 * math.cos(0.3), 3 * math.sin(0.3), 1.0]), np.zeros(3), UP)
    assert np.abs(half.world_from_cam - there).max() < 0.003
    assert half.intrinsics.fx == pytest.approx(110 * 1.1**0.5)
    # At an open path's end it goes straight on, and alone it stands.
    assert np.allclose(
        motion_of(one, None, two).at(-0.5).world_from_cam[:3, 3],
        1.5 * poses[0][:3, 3] - 0.5 * poses[1][:3, 3],
    )
    assert motion_of(one, None, None).at(0.5) is one


def test_a_loop_has_no_end_and_a_cut_is_not_blurred(monkeypatch: pytest.MonkeyPatch) -> None:
    wall(monkeypatch, 5.0)
    path = CameraPath(tuple(shifted(x) for x in (0.0, 0.5, 1.0, 9.0, 9.5)))
    xs = [c.world_from_cam[0, 3] for c in cameras_of(Shutter(path, 1.0), SIMPLE, 2)]
    assert min(xs) > 0.7 and max(xs) < 1.3, "as before the cut"
    turn = CameraPath(tuple(shifted(x) for x in (0.0, 0.5, 1.0, 0.5)), loop=True)
    xs = [c.world_from_cam[0, 3] for c in cameras_of(Shutter(turn, 1.0), SIMPLE, 0)]
    assert max(xs) - min(xs) < 0.2, "it turns back there"


def test_more_pictures_the_faster_but_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    wall(monkeypatch, 5.0)
    found = []
    for step in (0.0, 0.01, 0.2, 1.0, 4.0, 40.0):
        path = CameraPath(tuple(shifted(x) for x in (-step, 0.0, step)))
        found.append(len(cameras_of(Shutter(path, 0.5), SIMPLE, 1)))
    assert found == sorted(found) and found[:2] == [1, 1] and found[2] > 1 and found[-1] == shutter.MOST
    assert pictures(0, 0.2) == 1 and pictures(0, 1000) == shutter.MOST


# --- depth of field -------------------------------------------------------------------------------


@pytest.mark.parametrize("z", [2.0, 4.0, 9.0])
def test_points_blur_with_the_diameter_of_the_formula(monkeypatch: pytest.MonkeyPatch, z: float) -> None:
    wall(monkeypatch, 30.0, [(0.0, 0.0, z)])
    aperture, focus = 0.4, 4.0  # world units
    focal_length = 0.036 * FOCAL / WIDTH  # metres, on a full-frame sensor
    lens = Lens(focal_length / aperture, 1.0, focus)
    cameras = cameras_of(Shutter(CameraPath((shifted(0.0),)), 0.0, lens), SIMPLE, 0)
    blurred = light_of(taken(SIMPLE, cameras, 1, False))
    sharp = light_of(taken(SIMPLE, [shifted(0.0)], 1, False))
    middle, squares = spread(blurred)
    before, narrow = spread(sharp)
    # The thin lens: c = A · |z - s| / z · f / (s - f) on the sensor, which for s far beyond f is f / s.
    wanted = aperture * abs(z - focus) / z * FOCAL / focus
    if wanted == 0:
        assert np.abs(blurred - sharp).max() < 0.2 and squares[0] - narrow[0] < 0.25
    else:
        assert 4 * np.sqrt(squares - narrow) == pytest.approx([wanted, wanted], rel=0.08)
    assert np.abs(middle - before).max() < 0.1
    assert blurred.sum() == pytest.approx(sharp.sum(), rel=0.03)


def test_what_is_in_the_plane_in_focus_stays_where_it_is() -> None:
    camera = Camera(K, look_at(np.array([1.0, 2.0, 3.0]), np.zeros(3), UP))
    lens = Lens(1.0, 2.0, np.zeros(3))
    distance = lens.distance(camera)
    assert distance == pytest.approx(math.sqrt(14))
    for place in disc(16):
        moved = through_lens.through_lens(lens, camera, place)
        assert isinstance(moved, Camera)
        for x, y in ((0.0, 0.0), (1.0, 0.5), (-2.0, 1.0)):
            point = camera.world_from_cam[:3] @ [x, y, distance, 1.0]
            assert np.abs(seen_by(moved, point) - seen_by(camera, point)).max() < 1e-9
        assert np.linalg.norm(
            moved.world_from_cam[:3, 3] - camera.world_from_cam[:3, 3]
        ) < 0.52 * lens.diameter(K)


def test_the_points_are_spread_evenly() -> None:
    for n in (6, 17, 64):
        points, times = disc(n), moments(n)
        radius = np.linalg.norm(points, axis=1)
        assert radius.max() < 0.53 and np.abs(points.mean(0)).max() < 1e-12
        assert (radius**2).mean() == pytest.approx(0.125, rel=0.1)  # of a disc of radius 0.5
        assert abs(times.mean()) < 1e-12 and times.max() - times.min() < 1
        assert np.diff(np.sort(times)).max() < 2 / n
    both = np.corrcoef(np.column_stack([disc(64), moments(64)]).T)
    assert np.abs(both[2, :2]).max() < 0.25, "the lens isn't crossed in step with time"


def test_what_can_be_in_focus(loaded: Scene) -> None:
    renderer, points = loaded.renderer(), world_points(loaded)
    view = loaded.views[0]
    path = CameraPath(tuple(Camera(view.intrinsics, v.world_from_cam) for v in loaded.views[:6]))

    def lens(**settings: Any) -> Lens | None:
        return lens_of(loaded, points, path, RenderConfig(**settings), renderer)

    assert lens() is None
    given = lens(aperture=2.8, focus="1.5")
    assert given is not None and given.focus == 1.5
    # The cameras are 2.4 from the spheres, and that counts as a metre.
    assert 1.4 < given.metre < 3.5
    measured = replace(loaded, world_from_capture=np.diag([2.0, 2.0, 2.0, 1.0]))
    real = lens_of(measured, points, path, RenderConfig(aperture=2.8, focus="1.5"), renderer)
    assert real is not None and real.metre == 1, "a scale was set: the world is in metres"
    named = lens(aperture=2.8, focus=view.path.name)
    subject = lens(aperture=2.8, focus="subject")
    usual = lens(aperture=2.8)
    placed = lens(aperture=2.8, focus="0.5,0.25,-1")
    assert named is not None and subject is not None and usual is not None and placed is not None
    camera = Camera(view.intrinsics, view.world_from_cam)
    assert 1.2 < named.distance(camera) < 4
    # The side that is seen of the sphere of 0.5 in the middle, or of another before it.
    assert subject.pulled is not None and usual.pulled is not None and len(subject.pulled) == 6
    assert subject.pulled.min() > 1.3 and subject.pulled.max() < 2.2
    assert (
        np.array_equal(usual.pulled, subject.pulled) and subject.at(2).distance(camera) == subject.pulled[2]
    )
    assert np.allclose(placed.focus, [0.5, 0.25, -1])
    for settings, said in (
        ({"focus": "subject"}, "give --aperture too"),
        ({"aperture": 2.8, "focus": "nobody.jpg"}, "no posed photo called 'nobody.jpg'"),
        ({"aperture": 2.8, "focus": "0"}, "--focus takes a distance above 0"),
        ({"aperture": 2.8, "focus": "-3"}, "--focus takes a distance above 0"),
        ({"aperture": 2.8, "focus": "nan"}, "--focus takes a distance above 0"),
        ({"aperture": 2.8, "focus": "1,2"}, "--focus takes three finite numbers"),
    ):
        with pytest.raises(NerfsceneError, match=said):
            lens(**settings)


def test_f_numbers_mean_what_photographers_mean() -> None:
    lens = Lens(2.0, 1.0, 1.0)
    fifty = replace(K, width=3600, height=2400, fx=5000, fy=5000)  # 36 mm of sensor, 50 mm
    assert lens.diameter(fifty) == pytest.approx(0.025)
    assert replace(lens, f_number=4.0, metre=10.0).diameter(fifty) == pytest.approx(0.125)
    upright = replace(fifty, width=2400, height=3600)
    assert lens.diameter(upright) == pytest.approx(0.025)


def test_a_focus_beside_or_behind_the_camera_is_still_one() -> None:
    lens = Lens(2.0, 1.0, np.array([3.0, 0.0, -4.0]))
    assert lens.distance(shifted(0.0)) == pytest.approx(5 * lenses.LEAST)


def test_a_lens_with_distortion_is_refused_in_a_sentence(loaded: Scene) -> None:
    k = replace(K, distortion=(0.1, 0.0, 0.0, 0.0, 0.0))
    path = CameraPath((Camera(k, loaded.views[0].world_from_cam),) * 2)
    with pytest.raises(NerfsceneError, match="--aperture is for lenses without distortion"):
        cameras_of(Shutter(path, 0.0, Lens(2.8, 1.0, 2.0)), loaded.renderer(), 0)
    fisheye = Intrinsics(48, 32, 20.0, 20.0, 24.0, 16.0, "fisheye")
    moving = CameraPath(tuple(Camera(fisheye, view.world_from_cam) for view in loaded.views[:3]))
    assert len(cameras_of(Shutter(moving, 0.5), loaded.renderer(), 1)) > 1, "motion blur is for all"


# --- both, and films ------------------------------------------------------------------------------


def test_means_are_of_light(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = iter([0.0, 1.0, 0.0, 1.0])

    def seen(renderer: Any, camera: Camera, samples: int = 1) -> Frame:
        value, ones = next(shown), np.ones((HEIGHT, WIDTH), np.float32)
        return Frame(np.full((HEIGHT, WIDTH, 3), value, np.float32), ones, value * ones)

    monkeypatch.setattr(through_lens, "render", seen)
    two = [shifted(0.0), shifted(1.0)]
    mean = taken(SIMPLE, two, 1, False)
    assert mean.rgb == pytest.approx(0.7354, abs=1e-3), "half the light of white is 188 of 255"
    clear = taken(SIMPLE, two, 1, True)
    assert clear.accumulation == pytest.approx(0.5)
    assert clear.rgb == pytest.approx(0.5), "white that is half opaque, multiplied by that"


def test_a_blurred_film_that_was_stopped_goes_on_and_is_the_same(loaded: Scene, tmp_path: Path) -> None:
    config = RenderConfig(
        width=48, fps=10, seconds=0.3, motion_blur=180, aperture=0.5, background="transparent", samples=1
    )

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    told: list[str] = []
    render_film(loaded, config, None, tmp_path / "whole", note=told.append)
    assert "is the mean of" in told[0]
    with pytest.raises(KeyboardInterrupt):
        render_film(loaded, config, None, tmp_path / "frames", stop)
    for other in ({"motion_blur": 90.0}, {"aperture": 0.7}, {"focus": "2"}):
        with pytest.raises(NerfsceneError, match="another film"):
            render_film(loaded, replace(config, **other), None, tmp_path / "frames")
    render_film(loaded, config, None, tmp_path / "frames")
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (tmp_path / "frames" / file.name).read_bytes()
    render_film(loaded, replace(config, motion_blur=0.0, aperture=None), None, tmp_path / "sharp")
    one, other = (np.asarray(Image.open(tmp_path / d / "00001.png")) for d in ("whole", "sharp"))
    assert np.abs(one.astype(int) - other).mean() > 2
