"""Depth of field with lenses that aren't perspective: rays, discs, and what a film can't have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lens_pictures import TILT, alone, box_of, intrinsics, ray
from scipy.spatial.transform import Rotation

from nerfscene.field.rendering import render
from nerfscene.films import lens as lenses
from nerfscene.films import shutter, through_lens
from nerfscene.films.lens import ROUND, Lens
from nerfscene.films.paths import CameraPath
from nerfscene.films.shutter import Shutter, cameras_of, taken
from nerfscene.films.through_lens import Across, refocused, shown
from nerfscene.scene import folder as scene
from nerfscene.scene.folder import Scene
from nerfscene.types import Array, Camera, Frame, Intrinsics
from nerfscene.types import Lens as Kind

UPRIGHT: Any = SimpleNamespace(
    scene_from_world=np.eye(4), crop=None
)  # a renderer that renders nothing itself


@pytest.fixture(scope="module")
def loaded(trained: Path) -> Scene:
    return scene.load(trained)


def across(direction: Array, place: Array) -> Array:
    """A point of the aperture, in the camera's axes: turned as its middle ray is from straight ahead."""
    turn, _ = Rotation.align_vectors([direction], [[0.0, 0.0, 1.0]])
    axis = np.cross([0.0, 0.0, 1.0], direction)
    if np.linalg.norm(axis) > 1e-9:
        turn = Rotation.from_rotvec(axis / np.linalg.norm(axis) * np.arccos(direction[2]))
    return turn.apply([*place, 0.0])


# --- rays -----------------------------------------------------------------------------------------


def test_all_rays_of_a_pixel_meet_where_it_is_sharp() -> None:
    rng = np.random.default_rng(2)
    pose = np.eye(4)
    pose[:3, :3] = TILT * np.linalg.det(TILT)
    inside = rng.normal(size=(200, 3))
    inside /= np.linalg.norm(inside, axis=1, keepdims=True)
    inside[0], inside[1] = [0, 0, 1], [0, 0, -1]
    directions = (inside @ pose[:3, :3].T).astype(np.float32)
    origins = rng.normal(size=(200, 3)).astype(np.float32)
    place, focus = np.array([0.2, -0.1]), 3.0
    begin, toward = refocused(origins, directions, pose, place, focus)
    moved = begin - origins
    assert np.linalg.norm(moved[2:], axis=1) == pytest.approx(np.hypot(*place), rel=1e-4)
    assert np.abs((moved * directions).sum(1)).max() < 1e-5, "the aperture lies across the ray"
    assert np.linalg.norm(toward, axis=1) == pytest.approx(1, abs=1e-6)
    sharp = origins + focus * directions
    off = np.cross(toward, sharp - begin)
    assert np.linalg.norm(off, axis=1).max() < 1e-5
    for i in (0, *range(2, 200, 20)):
        wanted = pose[:3, :3] @ across(inside[i], place)
        assert np.abs(moved[i] - wanted).max() < 1e-4


@pytest.mark.parametrize("backdrop", [False, True])
@pytest.mark.parametrize("kind", ROUND)
def test_the_middle_of_the_lens_shows_what_a_pinhole_does(loaded: Scene, kind: Kind, backdrop: bool) -> None:
    back = np.random.default_rng(1).random((32, 64, 3)).astype(np.float32) if backdrop else None
    renderer = replace(loaded, backdrop=back, background=(0.2, 0.9, 0.4)).renderer()
    camera = Camera(intrinsics(kind), loaded.views[3].world_from_cam)
    for samples in (1,) if backdrop else (1, 2):  # a backdrop is looked up once a pixel
        one, other = (
            render(renderer, camera, samples),
            shown(renderer, Across(camera, np.zeros(2), 2.0), samples),
        )
        assert np.abs(one.rgb - other.rgb).max() < 0.02 and np.abs(one.rgb - other.rgb).mean() < 1e-3
        assert np.abs(one.accumulation - other.accumulation).max() < 0.02


@pytest.mark.parametrize("kind", [*ROUND, "orthographic"])
def test_each_pixel_shows_what_its_own_ray_meets(loaded: Scene, kind: Kind) -> None:
    renderer, pose = loaded.renderer(), loaded.views[3].world_from_cam
    camera = Camera(intrinsics(kind), pose)
    distance = 1.8
    pixels = camera.intrinsics.fx * (distance if kind == "orthographic" else 1)
    lens = Lens(0.036 * pixels / 48 / 0.3, 1.0, distance)  # an aperture 0.3 wide
    place = np.array([0.3, -0.4])
    frame = shown(renderer, through_lens.through_lens(lens, camera, place), 1)
    rng = np.random.default_rng(8)
    changed = 0.0
    sharp = render(renderer, camera)
    for row, column in zip(rng.integers(0, 24, 50), rng.integers(0, 48, 50), strict=True):
        start, direction = ray(kind, column + 0.5, row + 0.5)
        moved = np.array([0.09, -0.12, 0]) if kind == "orthographic" else across(direction, 0.3 * place)
        toward = distance * direction - moved
        rgb, _, accumulation = alone(renderer, pose, start + moved, toward / np.linalg.norm(toward))
        assert np.abs(frame.rgb[row, column] - rgb).max() < 0.02, (row, column)
        assert abs(frame.accumulation[row, column] - accumulation) < 0.02
        changed = max(changed, float(np.abs(sharp.rgb[row, column] - rgb).max()))
    assert changed > 0.04, "it isn't what the middle of the lens sees"


# --- discs ----------------------------------------------------------------------------------------


DOT = 1 + 1 / 12  # pixels²: the variance of a dot that is sharp, and of the places within a pixel


def spread(light: Array) -> Array:
    """The variances of light (height, width), down and across, pixels."""
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    weight = light / light.sum()
    return np.array([(weight * (x - (weight * x).sum()) ** 2).sum() for x in (rows, columns)])


@pytest.mark.parametrize("away", [1.5, 3.0, 8.0])
def test_all_round_points_blur_with_the_diameter_of_the_formula(
    monkeypatch: pytest.MonkeyPatch, away: float
) -> None:
    k = Intrinsics(720, 360, 360 / np.pi, 360 / np.pi, 360, 180, "equirectangular")
    aside = np.radians(70.0)
    dot = away * np.array([np.sin(aside), 0.0, np.cos(aside)])

    def rays(renderer: Any, k: Intrinsics, pose: Any, mask: Any, rect: Any) -> tuple[Array, Array]:
        rows, columns = np.nonzero(mask)
        along, down = (columns + 0.5 - k.cx) / k.fx, (rows + rect[0] + 0.5 - k.cy) / k.fy
        to = [np.cos(down) * np.sin(along), np.sin(down), np.cos(down) * np.cos(along)]
        return np.zeros((len(rows), 3)), np.stack(to, 1)

    def light(renderer: Any, origins: Array, directions: Array) -> tuple[Array, Array]:
        toward = dot - origins
        toward /= np.linalg.norm(toward, axis=1, keepdims=True)
        angle = np.arccos(np.clip((directions * toward).sum(1), -1, 1)) * 360 / np.pi
        value = np.exp(-0.5 * angle**2)
        encoded = np.where(value <= 0.0031308, 12.92 * value, 1.055 * value ** (1 / 2.4) - 0.055)
        return np.repeat(encoded[:, None], 3, 1).astype(np.float32), np.ones(len(value), np.float32)

    monkeypatch.setattr(through_lens, "rays_through", rays)
    monkeypatch.setattr(through_lens, "_traced", light)
    monkeypatch.setattr(through_lens.backend, "thread_count", lambda threads: 1)
    monkeypatch.setattr(shutter, "_seen", lambda renderer, camera: np.array([[0, 0, 1.2], dot]))
    renderer: Any = SimpleNamespace(scene_from_world=np.eye(4), crop=None, threads=1)
    aperture, focus = 0.25, 3.0
    lens = Lens(0.036 * k.fx / 720 / aperture, 1.0, focus)
    shots = cameras_of(Shutter(CameraPath((Camera(k, np.eye(4)),)), 0.0, lens), renderer, 0)
    assert len(shots) > 6 and all(isinstance(shot, Across) for shot in shots)
    blurred = taken(renderer, shots, 1, False).rgb[..., 0].astype(float)
    linear = np.where(blurred <= 0.04045, blurred / 12.92, ((blurred + 0.055) / 1.055) ** 2.4)
    wanted = aperture * abs(1 / away - 1 / focus) * k.fx
    assert 4 * np.sqrt(np.maximum(spread(linear) - DOT, 0)) == pytest.approx([wanted] * 2, rel=0.1, abs=0.8)
    place = np.unravel_index(linear.argmax(), linear.shape)
    assert abs(place[0] - 180) < 4 + wanted / 2 and abs(place[1] - (360 + 140)) < 4 + wanted / 2


@pytest.mark.parametrize("z", [1.0, 2.0, 5.0])
def test_orthographic_points_blur_with_the_diameter_of_the_formula(
    monkeypatch: pytest.MonkeyPatch, z: float
) -> None:
    k = Intrinsics(120, 80, 20.0, 20.0, 60.0, 40.0, "orthographic")
    dot = np.array([0.8, -0.6, z])

    def seen(renderer: Any, camera: Camera, samples: int = 1) -> Frame:
        x, y, _ = np.linalg.solve(camera.world_from_cam[:3, :3], dot - camera.world_from_cam[:3, 3])
        u, v = (
            camera.intrinsics.fx * x + camera.intrinsics.cx,
            camera.intrinsics.fy * y + camera.intrinsics.cy,
        )
        columns, rows = np.meshgrid(np.arange(120) + 0.5, np.arange(80) + 0.5)
        value = np.exp(-0.5 * ((columns - u) ** 2 + (rows - v) ** 2))
        encoded = np.where(value <= 0.0031308, 12.92 * value, 1.055 * value ** (1 / 2.4) - 0.055)
        ones = np.ones((80, 120), np.float32)
        return Frame(np.repeat(encoded[..., None], 3, 2).astype(np.float32), ones, ones)

    monkeypatch.setattr(through_lens, "render", seen)
    sky = np.array([[0, 0, 2000.0]] * 5)  # nothing is there, however wide it would be blurred
    monkeypatch.setattr(
        shutter, "_seen", lambda *_: np.concatenate([np.array([[0, 0, 1.2]] * 9), [dot], sky])
    )
    aperture, focus = 0.5, 2.0
    lens = Lens(0.036 * 20 * focus / 120 / aperture, 1.0, focus)
    assert lens.diameter(k, focus) == pytest.approx(aperture)
    shots = cameras_of(Shutter(CameraPath((Camera(k, np.eye(4)),)), 0.0, lens), UPRIGHT, 0)
    assert 6 <= len(shots) < shutter.MOST
    blurred = taken(UPRIGHT, shots, 1, False).rgb[..., 0].astype(float)
    linear = np.where(blurred <= 0.04045, blurred / 12.92, ((blurred + 0.055) / 1.055) ** 2.4)
    wanted = aperture * abs(z / focus - 1) * 20
    assert 4 * np.sqrt(np.maximum(spread(linear) - DOT, 0)) == pytest.approx([wanted] * 2, rel=0.1, abs=0.8)


# --- focus, and what can't be ---------------------------------------------------------------------


def test_what_is_in_focus_lies_round_a_lens_that_sees_round_itself() -> None:
    lens, pose = Lens(2.0, 1.0, np.array([3.0, 0.0, -4.0])), np.eye(4)
    for kind in ROUND:
        assert lens.distance(Camera(intrinsics(kind), pose)) == pytest.approx(5)
    assert lens.distance(Camera(intrinsics("orthographic"), pose)) == pytest.approx(5 * lenses.LEAST)


def test_the_focus_is_looked_for_along_the_lens_s_own_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Camera] = []

    def seen(renderer: Any, camera: Camera) -> Frame:
        asked.append(camera)
        shape = camera.intrinsics.height, camera.intrinsics.width
        return Frame(
            np.zeros((*shape, 3), np.float32), np.full(shape, 7, np.float32), np.ones(shape, np.float32)
        )

    monkeypatch.setattr(lenses, "render", seen)
    target = np.array([1.0, 0.5, -2.0])
    for kind, wanted in (("equirectangular", 7.0), ("fisheye", 7.0), ("orthographic", 7.0)):
        camera = Camera(intrinsics(kind), np.eye(4))  # type: ignore[arg-type]
        assert lenses._depth_toward(camera, target, UPRIGHT) == wanted
    flat = asked.pop()
    assert flat.intrinsics.lens == "orthographic" and np.allclose(flat.world_from_cam[:3, 3], [1, 0.5, 0])
    assert np.allclose(asked[0].world_from_cam[:3, 2], target / np.linalg.norm(target))


def test_a_crop_hides_the_same_through_a_point_of_the_lens(loaded: Scene) -> None:
    whole, cropped = loaded.renderer(), replace(loaded, crop=box_of(loaded)).renderer()
    for kind in ROUND:
        camera = Camera(intrinsics(kind), loaded.views[0].world_from_cam)
        middle = Across(camera, np.zeros(2), 2.0)
        through = shown(cropped, middle, 1)
        plain = render(cropped, camera)
        assert np.abs(through.rgb - plain.rgb).mean() < 2e-3
        assert np.abs(through.accumulation - plain.accumulation).mean() < 2e-3
        assert np.abs(through.accumulation - shown(whole, middle, 1).accumulation).mean() > 0.02
