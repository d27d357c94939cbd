"""Films taken with other lenses: what pixels show, sizes, what is level, and what doesn't go together."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from lens_pictures import alone, box_of, intrinsics, ray
from PIL import Image

import nerfscene as ns
from nerfscene.cameras.algebra import pose_in_scene, similarity_scale
from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field.footprint import photos_of, pixel_samples
from nerfscene.field.rendering import rays_through, render
from nerfscene.films.filming import film_path, render_film
from nerfscene.films.lenses import eye_distance, level, unseen
from nerfscene.films.orbit import subject_of
from nerfscene.scene import folder as scene
from nerfscene.scene.folder import Scene
from nerfscene.types import Array, Camera, Intrinsics, Lens

FEW = {"path": "orbit", "fps": 5, "seconds": 0.6}


@pytest.fixture(scope="module")
def loaded(trained: Path) -> Scene:
    return scene.load(trained)


@pytest.mark.parametrize("shown", ["whole", "backdrop", "cropped", "bounded"])
@pytest.mark.parametrize("lens", ["fisheye", "equirectangular", "stereo180", "orthographic"])
def test_each_pixel_shows_what_its_own_camera_would(loaded: Scene, lens: Lens, shown: str) -> None:
    back = np.random.default_rng(1).random((32, 64, 3)).astype(np.float32)
    filmed = replace(
        loaded,
        crop=box_of(loaded) if shown == "cropped" else None,
        backdrop=back if shown == "backdrop" else None,
        background=(0.2, 0.9, 0.4),
    )
    if shown == "bounded":  # only the subject's box is there
        space = replace(loaded.field.space, unbounded=False)
        filmed = replace(filmed, field=replace(loaded.field, space=space), backdrop=None)
    renderer, pose = filmed.renderer(), loaded.views[3].world_from_cam
    frame = render(renderer, Camera(intrinsics(lens), pose))
    rng = np.random.default_rng(8)
    for row, column in zip(rng.integers(0, 24, 25), rng.integers(0, 48, 25), strict=True):
        start, direction = ray(lens, column + 0.5, row + 0.5)
        rgb, depth, accumulation = alone(renderer, pose, start, direction)
        assert np.abs(frame.rgb[row, column] - rgb).max() < 0.02, (row, column)
        assert abs(frame.accumulation[row, column] - accumulation) < 0.02
        if accumulation > 0.5:
            assert abs(frame.depth[row, column] / depth - 1) < 0.02
    assert frame.accumulation.max() > 0.5, "something is seen"
    if shown == "cropped":
        assert frame.accumulation.min() == 0, "and something is cut off"


def test_what_is_all_round_closes_and_the_poles_are_points(loaded: Scene) -> None:
    a_radian = 256 / (2 * np.pi)
    k = Intrinsics(256, 128, a_radian, a_radian, 128, 64, "equirectangular")
    rgb = render(loaded.renderer(), Camera(k, loaded.views[0].world_from_cam), 2).rgb.astype(float)
    steps = np.abs(np.diff(rgb, axis=1)).mean((0, 2))
    seam = np.abs(rgb[:, 0] - rgb[:, -1]).mean()
    assert seam < np.quantile(steps, 0.99), "the left edge goes on from the right one"
    for row in (0, -1):
        apart = np.abs(rgb[row] - rgb[row].mean(0)).mean()
        assert apart < 0.5 * np.abs(rgb[64] - rgb[64].mean(0)).mean(), "a pole is one point"


def test_the_right_eye_sees_near_things_farther_to_the_left(loaded: Scene) -> None:
    k, pose = intrinsics("stereo180"), np.eye(4)
    in_scene = pose_in_scene(loaded.scene_from_world, pose)
    every = np.ones((24, 48), bool)
    origins, directions = rays_through(loaded.renderer(), k, in_scene, every)
    world_from_scene = np.linalg.inv(loaded.scene_from_world)
    starts = origins @ world_from_scene[:3, :3].T + world_from_scene[:3, 3]
    toward = directions @ world_from_scene[:3, :3].T * similarity_scale(loaded.scene_from_world)

    def column(point: Array, eye: int) -> float:
        """The column, in its own half, of the eye's pixel whose ray goes nearest to a point."""
        away = point - starts
        along = (away * toward).sum(1)
        miss = np.linalg.norm(away - along[:, None] * toward, axis=1).reshape(24, 48)
        miss[(along < 0).reshape(24, 48)] = np.inf
        return float(np.argmin(miss[12, 24 * eye : 24 * eye + 24]))

    near, far = np.array([0.0, 0.0, 0.5]), np.array([0.0, 0.0, 500.0])
    assert column(near, 0) - column(near, 1) >= 4
    assert abs(column(far, 0) - column(far, 1)) <= 1
    assert np.allclose(starts[:24] - starts[24:48], [-0.4, 0, 0], atol=1e-5), "the left eye is on the left"


@pytest.mark.parametrize("lens", ["equirectangular", "stereo180"])
@pytest.mark.parametrize("along", [{"path": "orbit"}, {"path": "boom", "look_at": "subject"}])
def test_films_of_all_round_are_level(loaded: Scene, lens: str, along: dict[str, str]) -> None:
    config = RenderConfig(**{**FEW, **along}, lens=lens)  # type: ignore[arg-type]
    path, _ = film_path(loaded, config)
    plain, _ = film_path(loaded, replace(config, lens=None))
    up = subject_of(loaded.views, None, loaded.up).up
    for camera, before in zip(path.cameras, plain.cameras, strict=True):
        axes, was = camera.world_from_cam[:3, :3], before.world_from_cam
        assert np.allclose(-axes[:, 1], up, atol=1e-9) and np.allclose(axes.T @ axes, np.eye(3), atol=1e-9)
        assert np.linalg.det(axes) > 0 and np.array_equal(camera.world_from_cam[:3, 3], was[:3, 3])
        heading = was[:3, 2] - (was[:3, 2] @ up) * up
        assert axes[:, 2] @ heading > 0.999 * np.linalg.norm(heading)
    k = path.cameras[0].intrinsics
    assert k.lens == lens and k.width == 2 * k.height and k.width % 4 == 0


def test_looking_straight_down_keeps_the_heading() -> None:
    up = np.array([0.0, 0.0, 1.0])
    for degrees in (0, 60, 85, 90, -85):
        a = np.radians(degrees)
        z = np.array([np.cos(a), 0, -np.sin(a)])
        x = np.array([0.0, -1.0, 0.0])
        pose = np.eye(4)
        pose[:3, :3] = np.stack([x, np.cross(z, x), z], 1)
        assert np.allclose(level(pose, up)[:3, 2], [1, 0, 0], atol=1e-9), degrees


def test_sizes_without_one_given(loaded: Scene) -> None:
    def size(**settings: object) -> tuple[int, int]:
        k = film_path(loaded, RenderConfig(**FEW, **settings))[0].cameras[0].intrinsics  # type: ignore[arg-type]
        return k.width, k.height

    photo = loaded.views[0].intrinsics
    whole = 2 * np.pi * photo.fx  # pixels all round that the photos resolve
    assert (
        size(lens="equirectangular")
        == size(lens="stereo180")
        == (round(whole) // 4 * 4, round(whole) // 4 * 2)
    )
    assert size(lens="equirectangular", width=202) == (200, 100)
    assert size(lens="equirectangular", height=4096) == (8192, 4096)
    assert size(lens="stereo180", width=64, height=32) == (64, 32)
    side = round(np.pi * photo.fx) // 2 * 2
    assert size(lens="fisheye") == (side, side) and size(lens="fisheye", width=100) == (100, 100)
    assert size(lens="fisheye", width=160, height=90) == (160, 90)
    assert size(lens="orthographic") == size(lens="perspective") == size()
    sharp = replace(
        loaded, views=tuple(replace(v, intrinsics=replace(photo, fx=5000.0)) for v in loaded.views)
    )
    k = film_path(sharp, RenderConfig(**FEW, lens="equirectangular"))[0].cameras[0].intrinsics  # type: ignore[arg-type]
    assert (k.width, k.height) == (3840, 1920)


def test_fields_of_view(loaded: Scene) -> None:
    def lens(**settings: object) -> Intrinsics:
        return film_path(loaded, RenderConfig(**FEW, **settings))[0].cameras[0].intrinsics  # type: ignore[arg-type]

    k = lens(lens="fisheye", width=200, height=100)
    assert np.isclose(100 / k.fy, np.pi) and k.fx == k.fy, "180° across the shorter side"
    assert np.isclose(100 / lens(lens="fisheye", width=100, fov=220).fy, np.radians(220))
    k = lens(width=200, height=100, fov=40)
    assert k.lens == "perspective" and np.isclose(2 * np.degrees(np.arctan(50 / k.fy)), 40)
    k = lens(lens="orthographic", width=200, height=100, view_width=4)
    assert k.fx == k.fy == 50
    side = 2 / similarity_scale(loaded.scene_from_world)
    assert np.isclose(lens(lens="orthographic", width=200, height=100).fx, 100 / side)


def test_an_orthographic_film_shows_the_whole_crop(loaded: Scene) -> None:
    cropped = replace(loaded, crop=box_of(loaded))
    config = RenderConfig(**FEW, lens="orthographic", width=64, height=48)  # type: ignore[arg-type]
    path, _ = film_path(cropped, config)
    corners = np.array([[x, y, z, 1.0] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    world = corners @ cropped.crop.T  # type: ignore[union-attr]
    k = path.cameras[0].intrinsics
    for camera in path.cameras:
        seen = world @ np.linalg.inv(camera.world_from_cam).T
        middle = np.abs(seen[:, :2] - seen[:, :2].mean(0))
        assert (middle[:, 0] * k.fx <= 32).all() and (middle[:, 1] * k.fy <= 24).all()


def test_pixels_of_distant_things_need_no_more_rays_without_perspective(loaded: Scene) -> None:
    photos, renderer = photos_of(loaded.views), loaded.renderer()
    pose = loaded.views[0].world_from_cam
    photo = loaded.views[0].intrinsics
    distance = np.linalg.norm(pose[:3, 3] - subject_of(loaded.views).focus)
    scale = photo.fx / distance
    as_fine = Intrinsics(64, 48, scale, scale, 32, 24, "orthographic")
    assert pixel_samples(photos, renderer, Camera(as_fine, pose)) == 1
    coarse = Intrinsics(21, 16, scale / 3, scale / 3, 10.5, 8, "orthographic")
    assert pixel_samples(photos, renderer, Camera(coarse, pose)) >= 2


def test_how_far_apart_the_eyes_are(loaded: Scene) -> None:
    up = subject_of(loaded.views).up
    places = np.stack([v.world_from_cam[:3, 3] for v in loaded.views])
    none = np.zeros((0, 3))
    distance = np.median(np.linalg.norm(places - subject_of(loaded.views).focus, axis=1))
    assert np.isclose(eye_distance(loaded, places, up, none), distance / 30, rtol=0.01)
    scaled = replace(loaded, world_from_capture=np.diag([2.5, 2.5, 2.5, 1.0]))
    assert eye_distance(scaled, places, up, none) == 0.063, "a scale was set"
    turned = replace(loaded, world_from_capture=np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert eye_distance(turned, places, up, none) != 0.063, "only turned"
    phone = replace(loaded, figures=replace(loaded.figures, source="polycam"))
    assert eye_distance(phone, places, up, none) == 0.063
    config = RenderConfig(**FEW, lens="stereo180", eye_distance=0.2)  # type: ignore[arg-type]
    assert film_path(loaded, config)[0].cameras[0].intrinsics.distortion == (0.2, 0, 0, 0, 0)


@pytest.mark.parametrize("lens", ["fisheye", "equirectangular", "stereo180", "orthographic"])
def test_each_lens_films(loaded: Scene, tmp_path: Path, lens: str) -> None:
    config = RenderConfig(**FEW, lens=lens, width=64)  # type: ignore[arg-type]
    made = render_film(loaded, config, tmp_path / "film.mp4", tmp_path / "frames")
    assert (made["width"], made["frames"], made["warnings"]) == (64, 3, [])
    with av.open(str(tmp_path / "film.mp4")) as film:
        frames = list(film.decode(video=0))
    tags = {side.type.name for side in frames[0].side_data}
    assert ("SPHERICAL" in tags) == (lens in ("equirectangular", "stereo180"))
    picture = np.asarray(Image.open(tmp_path / "frames/00001.png")).astype(float)
    filmed = frames[1].to_ndarray(format="rgb24", src_colorspace="ITU709")
    assert filmed.shape == picture.shape and np.abs(filmed - picture).mean() < 16
    assert picture.std() > 10
    if lens == "fisheye":
        assert picture.shape == (64, 64, 3) and not picture[:4, :4].any(), "black beside the circle"
        assert picture[32].any(-1).all() and picture[:, 32].any(-1).all()


@pytest.mark.parametrize("blur", [0.0, 180.0])
def test_beside_a_fisheye_s_circle_a_film_is_transparent(loaded: Scene, tmp_path: Path, blur: float) -> None:
    config = RenderConfig(
        path="orbit", fps=5, seconds=0.2, lens="fisheye", width=48, background="transparent",
        motion_blur=blur, passes="depth,accumulation", passes_as="png",
    )  # fmt: skip
    render_film(loaded, config, None, tmp_path)
    picture = np.asarray(Image.open(tmp_path / "00000.png"))
    y, x = np.mgrid[:48, :48] + 0.5
    outside = np.hypot(x - 24, y - 24) > 24
    assert not picture[outside, 3].any() and picture[~outside, 3].mean() > 100
    for name in ("depth", "accumulation"):
        values = np.asarray(Image.open(tmp_path / f"{name}-00000.png"))
        assert not values[outside].any() and values[~outside].any()


@pytest.mark.parametrize(
    "lens",
    [
        "fisheye",
        "equirectangular",
        *(pytest.param(x, marks=pytest.mark.long) for x in ("stereo180", "orthographic")),
    ],
)
@pytest.mark.parametrize("blur", [{"motion_blur": 360.0}, {"aperture": 0.01}])
def test_blur_goes_with_every_lens(loaded: Scene, tmp_path: Path, lens: str, blur: dict[str, float]) -> None:
    config = RenderConfig(path="orbit", fps=5, seconds=0.4, lens=lens, width=32)  # type: ignore[arg-type]
    for name, settings in (("sharp", {}), ("blurred", blur)):
        render_film(loaded, replace(config, **settings), None, tmp_path / name)  # type: ignore[arg-type]
    sharp, blurred = (
        np.asarray(Image.open(tmp_path / name / "00001.png")).astype(float) for name in ("sharp", "blurred")
    )
    assert np.abs(np.diff(blurred, axis=1)).mean() < np.abs(np.diff(sharp, axis=1)).mean()
    assert abs(blurred.mean() - sharp.mean()) < 18


def test_a_fisheye_s_circle() -> None:
    k = Intrinsics(60, 40, 20 / np.pi, 20 / np.pi, 30, 20, "fisheye")  # 360° across the height
    beyond = unseen(k, True)
    assert beyond is not None
    y, x = np.mgrid[:40, :60] + 0.5
    assert np.array_equal(beyond, np.hypot(x - 30, y - 20) > 20)
    wide = replace(k, fx=40 / np.pi, fy=40 / np.pi)
    assert not unseen(wide, False)[20, 30:].any()  # type: ignore[index]
    assert unseen(replace(k, lens="perspective"), True) is None


def test_the_command_takes_a_lens(
    trained: Path, tmp_path: Path, run: Callable[..., tuple[str, str]], loaded: Scene
) -> None:
    names = ",".join(loaded.views[i].path.name for i in (0, 3))
    film = tmp_path / "film.mp4"
    out, _ = run(
        "render", trained, "-o", film, "--through", names, "--lens", "equirectangular", "--width", "64",
        "--seconds", "0.2", "--json",
    )  # fmt: skip
    made = json.loads(out)
    assert (made["width"], made["height"], made["frames"]) == (64, 32, 6)


def test_what_does_not_go_together(loaded: Scene) -> None:
    for settings, said in (
        ({"lens": "equirectangular", "width": 1920, "height": 1080}, "twice as wide as high, not 1920×1080"),
        ({"lens": "stereo180", "fov": 90}, "a stereo180 film always shows 180°: leave out --fov"),
        ({"lens": "orthographic", "fov": 90}, "--view-width, in world units"),
        ({"fov": 175}, "--lens fisheye"),
        ({"view_width": 2.0}, "--view-width is for --lens orthographic"),
        ({"lens": "equirectangular", "view_width": 2.0}, "--view-width is for --lens orthographic"),
        ({"lens": "orthographic", "view_width": 1e9}, "a --view-width of 1e\\+09 world units shows nothing"),
        ({"lens": "orthographic", "view_width": 1e-9}, "a --view-width of 1e-09 world units shows nothing"),
        ({"lens": "fisheye", "eye_distance": 0.1}, "--eye-distance is for --lens stereo180"),
        ({"lens": "equirectangular", "height": 5000}, "can't be made"),
    ):
        with pytest.raises(NerfsceneError, match=said):
            film_path(loaded, RenderConfig(**FEW, **settings))  # type: ignore[arg-type]
    for wrong in ({"fov": 0}, {"fov": 361}, {"view_width": 0}, {"eye_distance": -1}, {"lens": "wide"}):
        with pytest.raises((NerfsceneError, TypeError)):
            RenderConfig(**wrong)  # type: ignore[arg-type]


def test_files_that_can_t_tell_players_say_so(loaded: Scene, tmp_path: Path) -> None:
    said: list[str] = []
    config = RenderConfig(**FEW, lens="stereo180", width=32)  # type: ignore[arg-type]
    render_film(loaded, config, tmp_path / "film.gif", warn=said.append)
    assert len(said) == 1 and "film.mp4" in said[0]


@pytest.mark.parametrize("name", ["social", "hd", "4k", "gif", "prores"])
def test_presets_of_size_keep_all_round_twice_as_wide(loaded: Scene, name: str) -> None:
    config = RenderConfig(path="orbit", seconds=0.1, preset=name, lens="stereo180")  # type: ignore[arg-type]
    plain = film_path(loaded, replace(config, lens=None))[0].cameras[0].intrinsics
    k = film_path(loaded, config)[0].cameras[0].intrinsics
    assert k.width == plain.width == 2 * k.height
    quick = film_path(loaded, replace(config, preview=True))[0].cameras[0].intrinsics
    assert abs(quick.width - k.width / 2) <= 2 and quick.lens == "stereo180"


def test_a_path_s_file_is_filmed_with_another_lens(loaded: Scene, tmp_path: Path) -> None:
    file = tmp_path / "camera_path.json"
    path, _ = film_path(loaded, RenderConfig(**FEW, width=160, height=90))  # type: ignore[arg-type]
    ns.write_camera_path(path, file)
    filmed, _ = film_path(loaded, RenderConfig(path=str(file), lens="equirectangular", width=128))
    k = filmed.cameras[0].intrinsics
    assert (k.width, k.height, k.lens, len(filmed.cameras)) == (128, 64, "equirectangular", 3)
    assert any("fields of view" in note for note in filmed.notes)
    assert json.loads(file.read_text())["camera_type"] == "perspective"
    tilted = loaded.views[0].world_from_cam
    own = replace(filmed, cameras=tuple(replace(c, world_from_cam=tilted) for c in filmed.cameras))
    ns.write_camera_path(own, tmp_path / "round.json")
    held, _ = film_path(loaded, RenderConfig(path=str(tmp_path / "round.json")))
    assert held.cameras[0].intrinsics == k and np.allclose(held.cameras[0].world_from_cam, tilted)
    again, _ = film_path(loaded, RenderConfig(path=str(file)))
    assert not again.notes and again.cameras[0].intrinsics.lens == "perspective"
