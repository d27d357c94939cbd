"""The viewer's parts that need no browser: pace, tiles, pictures, keyframes, splats."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import path_file_cases
import pytest
from path_file_cases import scene_of
from PIL import Image

from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import new_cancel, render, render_part
from nerfscene.films.camera_path_file import read_camera_path
from nerfscene.films.light import exposed
from nerfscene.films.paths import look_at
from nerfscene.films.presets import preset
from nerfscene.films.tracks import rolled
from nerfscene.films.video import to_bytes
from nerfscene.scene import folder as scenes
from nerfscene.types import Camera, Frame, Intrinsics
from nerfscene.viewer import keyframes, path_files, pictures
from nerfscene.viewer.keyframes import Editor, Keyframe, Plan
from nerfscene.viewer.pace import FLOOR, Pace, tiles_from_centre
from nerfscene.viewer.splats import splats_of
from nerfscene.viewer.still import Look, Still, developed

UP = np.array([0.0, 0.0, 1.0])


def test_pace_follows_what_is_measured_and_never_runs_away() -> None:
    pace = Pace()
    for _ in range(40):
        pace.note(100_000, 0.1)
    assert pace.pixels_per_second == pytest.approx(1e6, rel=0.01)
    assert pace.moving_size(1000, 800, 15)[0] < 1000
    before = pace.pixels_per_second
    pace.note(100_000, 10.0)  # one bad moment
    assert pace.pixels_per_second > before / 5
    for _ in range(200):
        pace.note(10, 100.0)
    assert pace.pixels_per_second >= FLOOR * 0.999
    pace.note(0, 1.0)
    pace.note(10, 0.0)
    assert np.isfinite(pace.pixels_per_second)


@pytest.mark.parametrize("size", ((1, 1), (64, 48), (641, 479), (3, 2000)))
def test_moving_pictures_keep_their_shape_and_are_never_larger(size: tuple[int, int]) -> None:
    for speed in (FLOOR, 1e6, 1e9):
        width, height = Pace(speed).moving_size(*size, 15)
        assert 1 <= width <= size[0] and 1 <= height <= size[1]
        if min(size) > 40:
            assert width / height == pytest.approx(size[0] / size[1], rel=0.1)
    assert Pace(1e12).moving_size(*size, 15) == size


@pytest.mark.parametrize("size", ((1, 1), (128, 128), (300, 200), (641, 479)))
def test_tiles_cover_once_and_begin_in_the_middle(size: tuple[int, int]) -> None:
    seen = np.zeros((size[1], size[0]), int)
    tiles = tiles_from_centre(*size)
    for top, bottom, left, right in tiles:
        seen[top:bottom, left:right] += 1
    assert (seen == 1).all()
    distance = [np.hypot((t + b - size[1]) / 2, (le + r - size[0]) / 2) for t, b, le, r in tiles]
    assert distance == sorted(distance)


def plane(width: int = 60, height: int = 40, tilt: float = 0.4) -> tuple[Frame, Intrinsics, Any]:
    """A plane z = 2 + tilt·x seen by a camera at the origin: its frame, lens and normal."""
    k = Intrinsics(width, height, 50.0, 50.0, width / 2, height / 2)
    x, y = np.meshgrid((np.arange(width) + 0.5 - k.cx) / 50, (np.arange(height) + 0.5 - k.cy) / 50)
    z = 2 / (1 - tilt * x)
    depth = (z * np.sqrt(1 + x * x + y * y)).astype(np.float32)
    normal = np.array([tilt, 0.0, -1.0]) / np.hypot(tilt, 1)
    ones = np.ones_like(depth)
    return Frame(np.zeros((height, width, 3), np.float32), depth, ones), k, normal


def test_normals_of_a_plane() -> None:
    frame, k, normal = plane()
    pose = look_at(np.array([1.0, 2.0, 3.0]), np.zeros(3), UP)
    n = pictures.normals(frame, k, pose)
    assert np.allclose(n[6:-6, 6:-6], pose[:3, :3] @ normal, atol=0.02)


@pytest.mark.parametrize("mode", pictures.MODES)
@pytest.mark.parametrize("size", ((1, 1), (60, 40), (400, 300)))
def test_every_mode_gives_a_picture(mode: str, size: tuple[int, int]) -> None:
    frame, k, _ = plane(*size)
    made = pictures.develop(frame, mode, k, np.eye(4))
    assert made.shape == (size[1], size[0], 3) and made.dtype == np.uint8
    empty = Frame(frame.rgb, np.zeros_like(frame.depth), np.zeros_like(frame.accumulation))
    assert pictures.develop(empty, mode, k, np.eye(4)).shape == made.shape


def test_depth_has_a_legend_that_other_modes_lack() -> None:
    frame, k, _ = plane(400, 300)
    corner = (slice(265, 300), slice(60, 180))
    shown = pictures.develop(frame, "depth", k, np.eye(4))[corner]
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 40
    assert not pictures.develop(frame, "colour", k, np.eye(4))[corner].any()


def test_wipe_and_errors_lie_where_the_photo_does() -> None:
    render_, photo = np.full((60, 100, 3), 40, np.uint8), np.full((30, 40, 3), 200, np.uint8)
    k, where = pictures.fitted(Intrinsics(40, 30, 50.0, 50.0, 20.0, 15.0), 100, 60)
    assert where == (0, 60, 10, 90) and k.fx == 100 and (k.cx, k.cy) == (50.0, 30.0)
    half = pictures.wiped(render_, photo, where, 0.5)
    assert (half[:, 10:48] == 200).all() and (half[:, 52:] == 40).all() and (half[:, :10] == 40).all()
    assert (pictures.wiped(render_, photo, where, 0.0) == 40).all()
    assert (pictures.wiped(render_, photo, where, 1.0)[:, 10:90] == 200).all()
    error = pictures.error_map(render_, photo, where)
    assert (error[:, 10:90] == 255).all() and not error[:, :10].any()
    assert not pictures.error_map(render_, render_, (0, 60, 0, 100)).any()


def walk(n: int, **settings: Any) -> Plan:
    """Keyframes on a quarter circle, looking at its middle."""
    frames = []
    for a in np.linspace(0, np.pi / 2, n):
        eye = np.array([2 * np.cos(a), 2 * np.sin(a), 1.0])
        frames.append(Keyframe(look_at(eye, np.zeros(3), UP), 40 + 10 * a))
    return Plan(tuple(frames), width=64, height=48, fps=10, seconds=2, **settings)


@pytest.mark.parametrize("loop", (False, True))
@pytest.mark.parametrize("even", (False, True))
@pytest.mark.parametrize("easing", keyframes.EASINGS)
def test_films_go_through_their_keyframes(loop: bool, even: bool, easing: str) -> None:
    plan = walk(4, loop=loop, constant_speed=even, easing=easing)
    path = keyframes.cameras(plan)
    assert len(path.cameras) == 20 and path.loop == loop and path.fps == 10
    at = np.stack([c.world_from_cam[:3, 3] for c in path.cameras])
    assert np.allclose(at[0], plan.keyframes[0].world_from_cam[:3, 3], atol=1e-6)
    if not loop:
        assert np.allclose(at[-1], plan.keyframes[-1].world_from_cam[:3, 3], atol=1e-6)
        k = path.cameras[-1].intrinsics
        assert np.degrees(2 * np.arctan(k.height / 2 / k.fy)) == pytest.approx(40 + 5 * np.pi, abs=0.01)
        steps = np.linalg.norm(np.diff(at, axis=0), axis=1)
        if even and easing == "none":
            assert steps.std() < 0.02 * steps.mean()
        if easing == "strong":
            assert steps[0] < 0.5 * steps[len(steps) // 2] > 2 * steps[-1] * 0.5


def test_keyframes_times_make_the_pace() -> None:
    plan = walk(3)
    slow_first = replace(
        plan, keyframes=(plan.keyframes[0], replace(plan.keyframes[1], time=3.0), plan.keyframes[2])
    )
    share = keyframes.progress_at(slow_first, np.array([0.0, 0.75, 1.0]))
    assert np.allclose(share, [0, 1, 2])
    fine = keyframes.progress_at(slow_first, np.linspace(0, 1, 50))
    assert (np.diff(fine) >= 0).all()


def test_editing_is_undone_step_by_step() -> None:
    editor = Editor()
    assert not editor.undo()
    frames = walk(3).keyframes
    for k in frames:
        editor.apply(keyframes.added(editor.plan, k))
    editor.apply(keyframes.moved(editor.plan, 0, 2))
    assert [k.fov for k in editor.plan.keyframes] == [frames[i].fov for i in (1, 2, 0)]
    editor.apply(keyframes.removed(editor.plan, 1))
    editor.apply(keyframes.changed(editor.plan, 0, fov=33.0))
    assert editor.plan.keyframes[0].fov == 33.0
    for _ in range(3):
        assert editor.undo()
    assert editor.plan.keyframes == frames
    for _ in range(3):
        assert editor.undo()
    assert not editor.plan.keyframes and not editor.undo()


def test_saving_restores_everything_and_others_read_it(tmp_path: Path) -> None:
    plan = replace(walk(3, loop=True, constant_speed=True, easing="gentle"), seconds=3.5, fps=24.0)
    file = tmp_path / "camera_path.json"
    path_files.save(plan, file)
    back = path_files.load(file)
    assert [k.fov for k in back.keyframes] == [k.fov for k in plan.keyframes]
    for a, b in zip(back.keyframes, plan.keyframes, strict=True):
        assert np.allclose(a.world_from_cam, b.world_from_cam)
    assert replace(back, keyframes=()) == replace(plan, keyframes=())
    path = read_camera_path(file)  # as nerfstudio's
    assert len(path.cameras) == plan.n_frames and path.loop and path.fps == 24
    data = json.loads(file.read_text())
    del data[path_files.OURS]
    file.write_text(json.dumps(data))
    other = path_files.load(file)  # only the part that another program knows
    assert 3 <= len(other.keyframes) <= 24 and other.loop and (other.width, other.height) == (64, 48)
    data[path_files.OURS] = {"version": path_files.VERSION, "keyframes": 7}
    file.write_text(json.dumps(data))
    with pytest.raises(NerfsceneError, match=r"camera_path.json"):
        path_files.load(file)
    with pytest.raises(NerfsceneError, match="no keyframes"):
        path_files.save(Plan(), file)


def test_a_path_in_nerfstudio_s_coordinates_is_taken_over_once(tmp_path: Path) -> None:
    scene = scene_of(tmp_path)
    file = path_file_cases.save(tmp_path, crop={"crop_center": [0, 0, 0], "crop_scale": [1, 1, 1]})
    transform = {"transform": np.eye(4)[:3].tolist(), "scale": 0.5}
    (tmp_path / "dataparser_transforms.json").write_text(json.dumps(transform))
    said: list[str] = []
    plan = path_files.load(file, scene, said.append)
    poses = np.stack([k.world_from_cam for k in plan.keyframes])
    assert np.allclose(poses[:, :3, 3], 2 * path_file_cases.positions())
    assert any("crop is not shown here" in text for text in said)
    path_files.save(plan, file)  # in the same place, beside dataparser_transforms.json
    again = path_files.load(file, scene, said.append)
    assert np.allclose(np.stack([k.world_from_cam for k in again.keyframes]), poses)


@pytest.mark.parametrize("name", ["orbit", "dolly", "figure-eight", "boom"])
def test_presets_become_keyframes(trained: Path, name: str) -> None:
    scene = scenes.load(trained)
    path = preset(name, scene.views, 60, 64, 48)
    plan = replace(path_files.from_path(path), seconds=2.0, fps=30.0)
    again = keyframes.cameras(plan)
    off = [np.linalg.norm(a.world_from_cam[:3, 3] - b.world_from_cam[:3, 3])
           for a, b in zip(path.cameras, again.cameras, strict=True)]  # fmt: skip
    places = np.stack([camera.world_from_cam[:3, 3] for camera in path.cameras])
    assert max(off) < 0.05 * np.linalg.norm(np.ptp(places, axis=0))


def test_rolling_keeps_where_the_camera_looks() -> None:
    pose = walk(1).keyframes[0].world_from_cam
    turned = rolled(pose, 30)
    assert np.allclose(turned[:3, 2:], pose[:3, 2:])
    assert turned[:3, 0] @ pose[:3, 0] == pytest.approx(np.cos(np.radians(30)))
    assert np.allclose(rolled(turned, -30), pose)


def test_the_exposure_changes_colours_alone_and_not_beside_a_photo() -> None:
    frame, lens, _ = plane()
    lit = replace(frame, rgb=np.full_like(frame.rgb, 0.25))
    camera, brighter = Camera(lens, np.eye(4)), Look(exposure=1.0)
    shown = developed(lit, brighter, camera, np.eye(4))
    assert np.abs(shown.astype(int) - to_bytes(exposed(lit.rgb, 1.0))).max() == 0 and shown.mean() > 80
    for mode in pictures.MODES[1:]:
        two = (developed(lit, replace(look, mode=mode), camera, np.eye(4)) for look in (Look(), brighter))
        assert np.array_equal(*two), mode
    photo = np.zeros((*lit.depth.shape, 3), np.uint8)
    where = (0, lens.height, 0, lens.width)
    for look in (Look(compare="wipe", share=0.0), Look(compare="wipe", share=0.0, exposure=2.0)):
        still = Still(camera, look, lit, photo, where, np.ones(3, np.float32), 0.0)
        assert np.array_equal(still.picture(np.eye(4)), to_bytes(lit.rgb))


def test_splats_lie_on_what_is_rendered(trained: Path) -> None:
    scene = scenes.load(trained)
    renderer = scene.renderer()
    splats = splats_of(renderer, scene.views)
    assert len(splats.centers) > 1000
    assert np.isfinite(splats.centers).all() and np.isfinite(splats.covariances).all()
    assert (np.linalg.eigvalsh(splats.covariances) > 0).all()
    assert splats.rgbs.min() >= 0 and splats.rgbs.max() <= 1
    # Seen from one of the photos, each splat is as far away as the rendered surface, or behind it.
    view = scene.views[0]
    frame = render(renderer, Camera(view.intrinsics, view.world_from_cam))
    local = (splats.centers - view.world_from_cam[:3, 3]) @ view.world_from_cam[:3, :3]
    k = view.intrinsics
    u, v = local[:, 0] / local[:, 2] * k.fx + k.cx, local[:, 1] / local[:, 2] * k.fy + k.cy
    inside = (local[:, 2] > 0) & (u > 0) & (u < k.width) & (v > 0) & (v < k.height)
    depth = frame.depth[v[inside].astype(int), u[inside].astype(int)]
    distance = np.linalg.norm(local[inside], axis=1)
    assert (distance > 0.8 * depth).mean() > 0.8


def test_parts_are_of_the_whole_and_cancelled_ones_stop(trained: Path) -> None:
    scene = scenes.load(trained)
    renderer, view = scene.renderer(), scene.views[0]
    camera = Camera(view.intrinsics, view.world_from_cam)
    whole = render(renderer, camera)
    cancel = new_cancel(renderer)
    part = render_part(renderer, camera, (5, 30, 7, 50), cancel)
    assert np.allclose(part.rgb, whole.rgb[5:30, 7:50], atol=1e-5)
    cancel.set()
    assert not render_part(renderer, camera, (5, 30, 7, 50), cancel).rgb.any()
    cancel.clear()
    assert render_part(renderer, camera, (5, 30, 7, 50), cancel).rgb.any()


def test_photos_that_are_gone_are_not_compared(trained: Path, tmp_path: Path) -> None:
    from nerfscene.viewer.still import load_photo

    view = scenes.load(trained).views[0]
    photo = load_photo(view)
    assert photo is not None and photo.dtype == np.uint8 and photo.shape[2] == 3
    assert load_photo(replace(view, path=tmp_path / "gone.png")) is None
    Image.new("RGBA", (4, 3), (255, 0, 0, 0)).save(tmp_path / "cut.png")
    cut = load_photo(replace(view, path=tmp_path / "cut.png"))
    assert cut is not None and (cut == 255).all()
