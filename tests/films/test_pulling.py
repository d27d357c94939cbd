"""Films whose focus, exposure, field of view and roll are pulled by key: what their frames show."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nerfscene import cli
from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films.camera_path_file import read_camera_path
from nerfscene.films.filming import film_path, render_film, world_points
from nerfscene.films.lens import Lens, lens_of
from nerfscene.films.path_writing import write_camera_path
from nerfscene.films.paths import CameraPath
from nerfscene.films.pulling import focus_value
from nerfscene.films.shutter import cameras_of
from nerfscene.films.taking import rendered, shutter_for
from nerfscene.films.tracks import Key, Tracks, rolled
from nerfscene.scene import folder as scene
from nerfscene.scene.folder import Scene
from nerfscene.types import Array, Camera, Intrinsics
from nerfscene.viewer import keyframes, path_files

K = Intrinsics(72, 72, 60.0, 60.0, 36.0, 36.0)
SHORT = RenderConfig(path="boom", width=64, height=48, fps=10, seconds=0.7, samples=1)  # 7 frames, no loop


@pytest.fixture(scope="module")
def loaded(trained: Path) -> Scene:
    return scene.load(trained)


@pytest.fixture
def still(loaded: Scene, tmp_path: Path) -> RenderConfig:
    """A second of a camera that stands where a photo was taken, 10 frames."""
    path = CameraPath((Camera(K, loaded.views[0].world_from_cam),) * 10, fps=10.0)
    write_camera_path(path, tmp_path / "still.json")
    return RenderConfig(path=str(tmp_path / "still.json"), samples=1)


def filmed(loaded: Scene, config: RenderConfig, folder: Path) -> list[np.ndarray]:
    render_film(loaded, config, None, folder)
    return [np.asarray(Image.open(file)) for file in sorted(folder.glob("0*.png"))]


def light(picture: np.ndarray) -> Array:
    """Linear light of a picture's bytes (IEC 61966-2-1)."""
    x = picture / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


# --- focus and aperture ---------------------------------------------------------------------------


def lens_for(loaded: Scene, cameras: tuple[Camera, ...], **settings: Any) -> Lens:
    path = CameraPath(cameras, fps=10.0)
    made = lens_of(loaded, world_points(loaded), path, RenderConfig(**settings), loaded.renderer())
    assert made is not None
    return made


def test_focus_is_pulled_evenly_in_blur(loaded: Scene) -> None:
    cameras = (Camera(K, loaded.views[0].world_from_cam),) * 11
    lens = lens_for(loaded, cameras, aperture=1.4, focus="0:1,1.1:4")
    assert lens.pulled is not None and lens.f_numbers is None
    assert (lens.pulled[0], lens.pulled[-1]) == (pytest.approx(1), pytest.approx(4))
    assert lens.pulled[5] == pytest.approx(1 / 0.625), "half way between 1 and 1/4 dioptres"
    assert (np.diff(lens.pulled) > 0).all()
    assert lens.at(5).distance(cameras[5]) == pytest.approx(1.6)


def test_focus_goes_from_what_a_photo_shows_to_a_point_and_stays_there(loaded: Scene) -> None:
    """The camera moves meanwhile, and what is held in focus stays so."""
    cameras = tuple(Camera(K, view.world_from_cam) for view in loaded.views[:11])
    name = loaded.views[3].path.name
    lens = lens_for(
        loaded, cameras, aperture=2, focus=f"0:{name},0.33:{name},0.66:0.1,0.2,0.3,1.1:0.1,0.2,0.3"
    )
    photo = lens_for(loaded, cameras, aperture=2, focus=name)
    point = lens_for(loaded, cameras, aperture=2, focus="0.1,0.2,0.3")
    pulled = [lens.at(i).distance(camera) for i, camera in enumerate(cameras)]
    held = [photo.distance(camera) for camera in cameras]
    there = [point.distance(camera) for camera in cameras]
    assert pulled[:4] == pytest.approx(held[:4]) and pulled[6:] == pytest.approx(there[6:])
    assert np.ptp(held) > 0.1, "the camera moves"
    both = lens_for(loaded, cameras, aperture=2, focus=f"0:subject,1.1:{name}")
    subject = lens_for(loaded, cameras, aperture=2, focus="subject")
    assert both.pulled is not None and subject.pulled is not None
    assert both.pulled[0] == pytest.approx(subject.pulled[0]) and both.pulled[-1] == pytest.approx(held[-1])
    same = lens_for(loaded, cameras, aperture=2, focus="0:subject,1.1:subject")
    assert same == subject


def test_a_pull_is_seen_in_the_pictures(loaded: Scene, still: RenderConfig, tmp_path: Path) -> None:
    """First the sphere in the middle is sharp and the wall behind isn't, then the other way round."""
    config = replace(still, seconds=0.5, aperture=0.4, focus="0:1.9,0.5:6.5")
    pictures = filmed(loaded, config, tmp_path / "frames")
    sharp = filmed(loaded, replace(still, seconds=0.1), tmp_path / "sharp")[0]

    def loss(picture: np.ndarray, part: tuple[slice, slice]) -> float:
        return float(np.abs(light(picture[part]) - light(sharp[part])).mean())

    near, far = (slice(26, 46), slice(26, 46)), (slice(0, 14), slice(0, 72))
    nears, fars = ([loss(p, part) for p in pictures] for part in (near, far))
    assert nears[0] < 0.5 * nears[-1] and fars[-1] < 0.5 * fars[0]
    assert nears[0] < nears[2] < nears[-1] and fars[0] > fars[2] > fars[-1]


def test_the_aperture_opens_by_key(loaded: Scene) -> None:
    cameras = (Camera(K, loaded.views[0].world_from_cam),) * 11
    lens = lens_for(loaded, cameras, aperture="0:8,1.1:2", focus="2.5")
    wide = [lens.at(i).diameter(K) for i in (0, 5, 10)]
    assert wide[1] / wide[0] == pytest.approx(2) and wide[2] / wide[0] == pytest.approx(4)
    assert lens.at(3).focus == 2.5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2.5", 2.5),
        (" subject ", "subject"),
        ("0001.jpg", "0001.jpg"),
        ("0001", "0001"),  # a photo's name without its ending, and no distance
        ("0.5", 0.5),
        ('"17"', "17"),
        ("1, 2,-3", (1.0, 2.0, -3.0)),
    ],
)
def test_what_may_be_in_focus(text: str, value: object) -> None:
    assert focus_value(text) == value


def test_photos_with_odd_names_can_be_in_focus(loaded: Scene) -> None:
    names = ["12:30.jpg", "a,1:b.jpg", *(view.path.name for view in loaded.views[2:])]
    views = tuple(replace(v, path=Path(name)) for v, name in zip(loaded.views, names, strict=True))
    odd = replace(loaded, views=views)
    cameras = (Camera(K, loaded.views[5].world_from_cam),) * 5
    whole = lens_for(odd, cameras, aperture=2, focus="12:30.jpg").distance(cameras[0])
    other = lens_for(odd, cameras, aperture=2, focus="a,1:b.jpg").distance(cameras[0])
    pulled = lens_for(odd, cameras, aperture=2, focus='0:"12:30.jpg",0.5:"a,1:b.jpg"').pulled
    assert pulled is not None
    assert (pulled[0], pulled[-1]) == (pytest.approx(whole), pytest.approx(other))


@pytest.mark.parametrize(
    ("focus", "said"),
    [
        ("0:nobody.jpg,0.5:subject", "no posed photo called 'nobody.jpg'"),
        ("0:0,0.5:subject", "--focus takes a distance above 0"),
        ("0:1,2,0.5:subject", "--focus takes three finite numbers"),
        ("nobody.jpg,0.5:subject", "--focus must have a time before its first value too"),
        ("0:subject,9:2", "--focus has a key at 9 s, and the film ends at 0.7 s"),
    ],
)
def test_focus_that_cannot_be_is_told(loaded: Scene, tmp_path: Path, focus: str, said: str) -> None:
    with pytest.raises(NerfsceneError, match=said):
        render_film(loaded, replace(SHORT, aperture=2.8, focus=focus), None, tmp_path / "frames")
    assert not list(tmp_path.iterdir())


# --- exposure, field of view and roll -------------------------------------------------------------


def test_exposure_changes_the_light_by_key(loaded: Scene, still: RenderConfig, tmp_path: Path) -> None:
    usual = light(filmed(loaded, replace(still, seconds=0.1), tmp_path / "usual")[0])
    pictures = filmed(loaded, replace(still, exposure="0:0,1:-3"), tmp_path / "pulled")
    found = [np.log2(light(p).sum() / usual.sum()) for p in pictures]
    assert found[0] == pytest.approx(0, abs=0.01) and found[-1] == pytest.approx(-3, abs=0.05)
    share = np.linspace(0, 1, 10)
    assert found == pytest.approx(-3 * share**2 * (3 - 2 * share), abs=0.05)  # eased at both ends
    one = filmed(loaded, replace(still, seconds=0.1, exposure=-3.0), tmp_path / "one")[0]
    assert np.array_equal(pictures[-1], one)


def test_the_camera_zooms_by_key(loaded: Scene) -> None:
    path, _ = film_path(loaded, replace(SHORT, fov="0:60,0.7:20"))
    fovs = [2 * np.degrees(np.arctan(24 / c.intrinsics.fx)) for c in path.cameras]
    assert (fovs[0], fovs[-1]) == (pytest.approx(60), pytest.approx(20)) and (np.diff(fovs) < 0).all()
    focals = [c.intrinsics.fx for c in path.cameras]
    assert focals[3] == pytest.approx(np.sqrt(focals[0] * focals[-1])), "half way as a zoom lens turns"
    plain, _ = film_path(loaded, SHORT)
    for a, b in zip(path.cameras, plain.cameras, strict=True):
        assert np.array_equal(a.world_from_cam, b.world_from_cam)
    dome, _ = film_path(loaded, replace(SHORT, lens="fisheye", fov="0:180,0.7:90"))
    assert [48 / dome.cameras[i].intrinsics.fx for i in (0, -1)] == pytest.approx([np.pi, np.pi / 2])
    for lens, said in (("equirectangular", "leave out --fov"), ("orthographic", "--view-width")):
        with pytest.raises(NerfsceneError, match=said):
            film_path(loaded, replace(SHORT, lens=lens, height=None, fov="0:60,0.7:20"))  # type: ignore[arg-type]
    with pytest.raises(NerfsceneError, match=r"--fov of 175 degrees: give 0\.1 to 170"):
        film_path(loaded, replace(SHORT, fov="0:60,0.7:175"))


def test_roll_turns_the_picture_clockwise(loaded: Scene, still: RenderConfig, tmp_path: Path) -> None:
    upright = filmed(loaded, replace(still, seconds=0.1), tmp_path / "upright")[0].astype(int)
    pictures = filmed(loaded, replace(still, roll="0:0,0.5:90,1:180"), tmp_path / "rolled")
    assert np.array_equal(pictures[0], upright)
    assert np.abs(pictures[-1] - np.rot90(upright, 2)).mean() < 1
    aside = filmed(loaded, replace(still, seconds=0.1, roll=90), tmp_path / "aside")[0]
    assert np.abs(aside - np.rot90(upright, -1)).mean() < 1
    for lens in ("equirectangular", "stereo180"):
        with pytest.raises(NerfsceneError, match=f"--lens {lens} are level: leave out --roll"):
            film_path(loaded, replace(SHORT, lens=lens, width=64, height=None, roll=5))  # type: ignore[arg-type]


def test_what_a_camera_looks_at_stays_in_the_middle_while_it_rolls(loaded: Scene) -> None:
    config = replace(SHORT, look_at="0.1,0.2,0.1")
    level, _ = film_path(loaded, config)
    path, _ = film_path(loaded, replace(config, roll="0:0,0.7:30"))
    for a, b in zip(path.cameras, level.cameras, strict=True):
        assert np.allclose(a.world_from_cam[:3, 2:], b.world_from_cam[:3, 2:])
    assert np.allclose(path.cameras[-1].world_from_cam, rolled(level.cameras[-1].world_from_cam, 30))


# --- films ----------------------------------------------------------------------------------------


def test_a_preview_has_the_values_of_the_frames_that_it_shows(loaded: Scene, tmp_path: Path) -> None:
    config = replace(SHORT, exposure="0:0,0.7:-2", roll="0:0,0.7:40", aperture="0:8,0.7:1", focus="0:1,0.7:3")
    whole, _ = film_path(loaded, config)
    quick, _ = film_path(loaded, replace(config, preview=True))
    assert whole.times is not None and quick.times is not None
    assert np.array_equal(quick.times, whole.times[::3]) and quick.tracks == whole.tracks
    renderer, points = loaded.renderer(), world_points(loaded)
    a, b = (lens_of(loaded, points, path, config, renderer) for path in (whole, quick))
    assert a is not None and b is not None and a.pulled is not None and b.pulled is not None
    assert a.f_numbers is not None and b.f_numbers is not None
    assert np.allclose(b.pulled, a.pulled[::3]) and np.allclose(b.f_numbers, a.f_numbers[::3])
    small = filmed(loaded, replace(config, preview=True, aperture=None, focus=None), tmp_path / "quick")
    plain = filmed(loaded, replace(SHORT, preview=True, roll="0:0,0.7:40"), tmp_path / "plain")
    stops = np.log2(light(small[1]).mean() / light(plain[1]).mean())
    assert stops == pytest.approx(-1, abs=0.03), "frame 3 of 0 to 6 is half way"


def test_a_stopped_film_goes_on_with_the_same_keys_alone(loaded: Scene, tmp_path: Path) -> None:
    config = replace(SHORT, aperture=1.4, focus="0:1,0.7:3", exposure="0:0,0.7:-1")

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    whole = filmed(loaded, config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        render_film(loaded, config, None, tmp_path / "frames", stop)
    for other in ({"focus": "0:1,0.7:3.1"}, {"exposure": "0:0,0.6:-1"}, {"aperture": "0:1.4,0.7:2"}):
        with pytest.raises(NerfsceneError, match="another film"):
            render_film(loaded, replace(config, **other), None, tmp_path / "frames")  # type: ignore[arg-type]
    assert all(map(np.array_equal, filmed(loaded, config, tmp_path / "frames"), whole))
    # Any process that has the path renders the same frame of it.
    path, _ = film_path(loaded, config)
    picture, _, _ = next(rendered(loaded, path, config, loaded.renderer(), [4]))
    assert np.array_equal(picture, whole[4])


def test_loops_close_and_say_so(loaded: Scene) -> None:
    config = replace(SHORT, path="orbit", seconds=8, fps=5)
    path, _ = film_path(loaded, replace(config, exposure="0:0,4:-1"))
    assert path.loop
    (said,) = path.notes
    assert "from 4 s on the exposure goes back" in said and "a key at 8 s" in said
    for given, notes in (("0:0,4:-1,8:0", 0), ("0:0,8:-1", 1), ("2", 0), ("0:0,4:-1,8:-1", 1)):
        assert len(film_path(loaded, replace(config, exposure=given))[0].notes) == notes, given
    assert film_path(loaded, replace(config, roll="0:0,8:360"))[0].notes == ()
    said = film_path(loaded, replace(config, fov="0:60,8:35"))[0].notes[0]
    assert said == "the path is a loop, and the field of view jumps where it begins again."


@pytest.mark.parametrize("name", ["fov", "roll", "exposure", "aperture", "focus"])
def test_keys_after_the_end_are_told(loaded: Scene, name: str) -> None:
    given = {"aperture": 2.0, name: "0:2,0.71:3"}
    assert film_path(loaded, replace(SHORT, **given))[0].cameras, "within half a frame it is the end"  # type: ignore[arg-type]
    with pytest.raises(NerfsceneError, match=rf"--{name} has a key at 0\.8 s, and the film ends at 0\.7 s"):
        film_path(loaded, replace(SHORT, **{**given, name: "0:2,0.8:3"}))  # type: ignore[arg-type]


def test_a_jump_where_a_loop_begins_again_is_not_blurred(loaded: Scene) -> None:
    """The shutter is open at the first frame, and must not see the last one's other field of view."""
    config = replace(SHORT, path="turntable", seconds=8, fps=5, motion_blur=360)

    def zoom(**pulled: Any) -> float:
        path, _ = film_path(loaded, replace(config, **pulled))
        renderer = loaded.renderer()
        cameras = cameras_of(shutter_for(loaded, path, config, renderer), renderer, 0)
        assert path.loop and len(cameras) > 1
        focals = [camera.intrinsics.fx for camera in cameras]
        return max(focals) / min(focals)

    assert zoom(fov="0:60,8:50") < 1.01 and zoom(roll="0:0,8:360") < 1.001


# --- files ----------------------------------------------------------------------------------------

OTHERS: tuple[tuple[str, Any], ...] = (
    ("a.glb", "blender"),
    ("b.json", "blender"),
    ("base_cam.json", "instant-ngp"),
    ("settings.json", "supersplat"),
    ("c.json", "splat-transform"),
)
PULLED = {
    "fov": "0:60,0.7:30",
    "roll": "0:0,0.3:15,0.7:0",
    "exposure": "0:0,0.7:-1",
    "aperture": "0:2.8,0.7:1",
    "focus": "0:subject,0.2:1,2,3,0.5:2.5",
}


@pytest.fixture
def written(trained: Path, tmp_path: Path) -> Path:
    """A path with everything, written by the command."""
    file = tmp_path / "camera_path.json"
    film = ["--path", "boom", "--fps", "10", "--seconds", "0.7", "--width", "64", "--height", "48"]
    words = [word for name, keys in PULLED.items() for word in (f"--{name}", keys)]
    cli.main(["paths", str(trained), "--write", str(file), *film, *words])
    return file


def test_a_path_s_file_holds_what_is_pulled(loaded: Scene, written: Path, tmp_path: Path) -> None:
    given, _ = film_path(loaded, replace(SHORT, **PULLED))  # type: ignore[arg-type]
    path, fps = film_path(loaded, RenderConfig(str(written), samples=1))
    assert (path.tracks, fps, path.notes) == (given.tracks, 10, ())
    assert path.tracks.focus == (Key(0, "subject"), Key(0.2, (1.0, 2.0, 3.0)), Key(0.5, 2.5))
    for a, b in zip(path.cameras, given.cameras, strict=True):
        assert np.allclose(a.world_from_cam, b.world_from_cam, atol=1e-9)
        assert a.intrinsics.fx == pytest.approx(b.intrinsics.fx)
    again = tmp_path / "again.json"
    write_camera_path(replace(path, fps=fps), again)
    assert json.loads(again.read_text())["nerfscene"] == json.loads(written.read_text())["nerfscene"]
    a = filmed(loaded, replace(SHORT, **PULLED), tmp_path / "given")  # type: ignore[arg-type]
    b = filmed(loaded, RenderConfig(str(written), samples=1), tmp_path / "file")
    assert max(np.abs(x.astype(int) - y).max() for x, y in zip(a, b, strict=True)) <= 2


def test_options_win_over_the_file_s(loaded: Scene, written: Path) -> None:
    config = RenderConfig(str(written))
    plain, _ = film_path(loaded, replace(SHORT, fov="0:60,0.7:30"))
    path, _ = film_path(loaded, replace(config, roll=0, exposure=0, aperture=4, focus="2"))
    for a, b in zip(path.cameras, plain.cameras, strict=True):
        assert np.allclose(a.world_from_cam, b.world_from_cam, atol=1e-9), "the file's roll is gone"
    assert path.tracks.exposure == (Key(0, 0),) and path.tracks.focus == (Key(0, 2.0),)
    even, _ = film_path(loaded, replace(config, fov=40))
    assert {round(c.intrinsics.fx, 6) for c in even.cameras} == {round(24 / np.tan(np.radians(20)), 6)}
    longer, fps = film_path(loaded, replace(config, seconds=1.4))
    assert (len(longer.cameras), fps) == (14, 10)
    assert [key.time for key in longer.tracks.roll] == pytest.approx([0, 0.6, 1.4])
    level, _ = film_path(loaded, replace(SHORT, seconds=1.4))
    turn = level.cameras[-1].world_from_cam[:3, :3].T @ longer.cameras[-1].world_from_cam[:3, :3]
    assert np.allclose(turn, np.eye(3), atol=1e-3)


def test_a_loop_that_jumps_in_its_zoom_can_be_made_longer(loaded: Scene, tmp_path: Path) -> None:
    """The path's curve goes on from its last frame to its first, and the zoom doesn't."""
    config = replace(SHORT, path="orbit", seconds=1, fov="0:60,1:30")
    path, fps = film_path(loaded, config)
    write_camera_path(replace(path, fps=fps), tmp_path / "camera_path.json")
    longer, _ = film_path(loaded, RenderConfig(str(tmp_path / "camera_path.json"), seconds=4))
    wanted, _ = film_path(loaded, replace(config, seconds=4, fov="0:60,4:30"))
    for a, b in zip(longer.cameras, wanted.cameras, strict=True):
        assert a.intrinsics.fx == pytest.approx(b.intrinsics.fx)


def test_what_others_hold_no_keys_for_is_told(loaded: Scene, written: Path, tmp_path: Path) -> None:
    path, fps = film_path(loaded, RenderConfig(str(written)))
    path = replace(path, fps=fps)
    for name, program in OTHERS:
        notes = write_camera_path(path, tmp_path / name, fps, loaded, program)
        told = [note for note in notes if "without focus, aperture and exposure" in note]
        assert len(told) == 1 and name in told[0], notes
        back = read_camera_path(tmp_path / name, scene=loaded)
        assert back.tracks == Tracks()
        # The zoom is in the frames; as the film has another size, only its course can be compared.
        found, given = (np.array([c.intrinsics.fy for c in p.cameras]) for p in (back, path))
        if program == "instant-ngp":  # so short a film counts as one that was never recorded, of 8 seconds
            found = np.interp(np.linspace(0, 1, 7), np.linspace(0, 1, len(found)), found)
        else:
            assert len(found) == 7
        assert found / found[0] == pytest.approx(given / given[0], rel=1e-2), name
        if program not in ("supersplat", "instant-ngp"):  # the first has no roll
            turn = back.cameras[3].world_from_cam[:3, :3].T @ path.cameras[3].world_from_cam[:3, :3]
            assert np.allclose(turn, np.eye(3), atol=1e-4), name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 3}, "its version is 3, and this nerfscene reads 1 and 2"),
        ({"tracks": []}, "its tracks are not an object"),
        ({"tracks": {"tilt": []}}, "there is no track 'tilt'"),
        ({"tracks": {"roll": 5}}, "its roll is not a list"),
        ({"tracks": {"roll": [5]}}, "key 1 of its roll is not an object"),
        ({"tracks": {"roll": [{"value": 5}]}}, "key 1 of its roll has no time"),
        ({"tracks": {"roll": [{"time": 0, "value": "5"}]}}, "key 1 of the roll must be a number, not '5'"),
        ({"tracks": {"roll": [{"time": 0, "value": 5000}]}}, "must be -3600 to 3600 degrees, not 5000"),
        ({"tracks": {"fov": [{"time": 0, "value": 0}]}}, "must be above 0 and at most 360 degrees, not 0"),
        ({"tracks": {"focus": [{"time": 0, "value": [1, 2]}]}}, "value of key 1 of its focus is no number"),
        ({"tracks": {"focus": [{"time": 0, "value": -1}]}}, "must be a distance above 0, not -1"),
        ({"tracks": {"focus": [{"time": 0, "value": [1, 2, 1e13]}]}}, "must have three finite numbers"),
        ({"tracks": {"focus": [{"time": 0, "value": True}]}}, "is no number, point or text"),
        ({"tracks": {"focus": [{"time": 0, "value": " "}]}}, "must name a photo"),
        ({"tracks": {"roll": [{"time": 1, "value": 5}] * 2}}, "must have a time after the key before it"),
        ({"tracks": {"roll": [{"time": t, "value": 5} for t in (3, 2)]}}, "not 2 s"),
        ({"tracks": {"roll": [{"time": 9, "value": 5}]}}, "has a key at 9 s, and the film ends at 0.7 s"),
    ],
)
def test_a_file_s_keys_that_cannot_be_are_told(written: Path, change: dict[str, Any], said: str) -> None:
    data = json.loads(written.read_text())
    data["nerfscene"] |= change
    written.write_text(json.dumps(data))
    for read in (read_camera_path, path_files.load):
        with pytest.raises(NerfsceneError, match=rf"camera_path\.json.*{said}|{said}.*") as told:
            read(written)
        assert "camera_path.json" in str(told.value)


def test_the_viewer_keeps_what_is_pulled(loaded: Scene, written: Path, tmp_path: Path) -> None:
    """Also of a path without keyframes of its own, whose roll is not put into the new ones a second time."""
    path, _ = film_path(loaded, RenderConfig(str(written)))
    plan = path_files.load(written)
    assert keyframes.tracks_of(plan) == path.tracks
    shown = keyframes.cameras(plan)
    for a, b in zip(shown.cameras, path.cameras, strict=True):
        assert np.abs(a.world_from_cam - b.world_from_cam).max() < 0.02
        assert a.intrinsics.fx == pytest.approx(b.intrinsics.fx, rel=1e-3)
    file = tmp_path / "saved.json"
    path_files.save(plan, file)
    back = path_files.load(file)
    assert keyframes.tracks_of(back) == path.tracks and len(back.keyframes) == len(plan.keyframes)
    again, _ = film_path(loaded, RenderConfig(str(file)))
    for a, b in zip(again.cameras, shown.cameras, strict=True):
        assert np.allclose(a.world_from_cam, b.world_from_cam, atol=1e-9)
    few = keyframes.cameras(plan, 3)
    assert np.allclose(few.cameras[-1].world_from_cam, shown.cameras[-1].world_from_cam)
    with pytest.raises(NerfsceneError, match=r"of this path has a key at 0\.5 s, and the film ends"):
        keyframes.cameras(replace(plan, seconds=0.3))
    keys = tuple(replace(k, focus=None, exposure=None, roll=0.0) for k in plan.keyframes)
    bare = keyframes.Plan(keys, seconds=0.7, fps=10.0)
    path_files.save(bare, file)
    assert json.loads(file.read_text())["nerfscene"]["version"] == 1
