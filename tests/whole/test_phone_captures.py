"""Photos and videos from a phone become a good scene without any options.

Training is limited by steps and quality, not by time as usual: the same on every machine, and much shorter.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Command
from footage_cases import DEMO
from phone_cases import (
    FOCAL,
    CameraErrors,
    PhonePhotos,
    camera_errors,
    full_hd,
    write_phone_photos,
    write_phone_video,
)
from PIL import Image

from nerfscene.capture.motion import sharpness
from nerfscene.films.presets import preset
from nerfscene.measuring.evaluate import compare
from nerfscene.measuring.metrics import psnr
from nerfscene.scene import folder as scenes
from nerfscene.types import Array

STEPS = 60
WALK = tuple(range(45, 57))
FRONT = tuple(range(6, 18))  # 90° of the first walk, as one would stand before a house


def trained(command: Command, source: Path, output: Path, *smaller: object) -> Path:
    """Trains a scene as a person would. ``smaller``: options that shrink the pictures, to save time."""
    done = command("train", source, "-o", output, "--steps", STEPS, "--quality", "1min", *smaller)
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> PhonePhotos:
    return write_phone_photos(tmp_path_factory.mktemp("phone") / "DCIM", first=8, count=10)


@pytest.fixture(scope="module")
def of_photos(command: Command, photos: PhonePhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(command, photos.folder, tmp_path_factory.mktemp("of_photos") / "scene", "--downscale", 16)


def check(errors: CameraErrors) -> None:
    """Checks places, directions and focal lengths. Measured: 0.1 % of the extent, 0.1° and 0.1 %."""
    assert np.median(errors.places) < 0.005 and errors.places.max() < 0.02
    assert errors.turns.max() < 1.0
    assert np.abs(errors.focals).max() < 0.02


def test_all_photos_that_are_fit_are_posed_and_the_others_named(photos: PhonePhotos, of_photos: Path) -> None:
    scene = scenes.load(of_photos)
    assert [v.path.name for v in scene.views] == sorted(photos.good)
    reasons = {left["name"]: left["reason"] for left in scene.figures.left_out}
    assert reasons.keys() == {photos.blurred, photos.copy}
    assert "blurred" in reasons[photos.blurred] and "same picture" in reasons[photos.copy]
    report = (of_photos / "report.html").read_text()
    assert photos.blurred in report and photos.copy in report


def test_photos_lying_on_their_side_are_posed_as_they_were_held(of_photos: Path) -> None:
    views = scenes.load(of_photos).views
    numbers = [int(v.path.stem.split("_")[1]) for v in views]
    upright = [v.intrinsics.width < v.intrinsics.height for v in views]
    assert sum(upright) == 2
    # The demo's pictures are 480 pixels high, and so is what was cut from them.
    check(camera_errors(views, numbers, [FOCAL * v.intrinsics.height / 480 for v in views]))


def test_the_scene_is_upright_and_like_the_photos_it_never_saw(of_photos: Path) -> None:
    scene = scenes.load(of_photos)
    assert scene.figures.psnr is not None and scene.figures.psnr > 19  # 24.2 measured
    for _, photo, frame in compare(scene):
        render = np.clip(frame.rgb, 0, 1)
        turned = [np.rot90(photo, quarters) for quarters in (1, 2, 3)]
        others = [psnr(render, t) for t in turned if t.shape == render.shape] + [psnr(render, photo[:, ::-1])]
        assert psnr(render, photo) > max(others) + 2
    numbers = [int(v.path.stem.split("_")[1]) for v in scene.views]
    up = camera_errors(scene.views, numbers, [1.0] * len(numbers)).up
    film = preset("orbit", scene.views, 12, 320, 180, scene.points).cameras
    tops = np.stack([-camera.world_from_cam[:3, 1] for camera in film])  # of the frames: y runs down
    assert (tops @ up).min() > 0.8


@pytest.mark.long
def test_sharp_frames_of_a_video_become_a_scene(command: Command, tmp_path: Path) -> None:
    video = write_phone_video(tmp_path / "VID_0001.mp4", WALK)
    scene = scenes.load(trained(command, video, tmp_path / "scene", "--downscale", 6))
    stills = {number: full_hd(number) for number in WALK}
    thumbnails = {number: thumbnail(still) for number, still in stills.items()}
    numbers, sharp = [], []
    for view in scene.views:
        with Image.open(view.path) as image:
            frame = image.convert("RGB")
        assert frame.size == (1920, 1080)
        seen = thumbnail(frame)
        off = {n: np.abs(seen - thumb).mean() for n, thumb in thumbnails.items()}
        numbers.append(min(off, key=off.__getitem__))
        sharp.append(crispness(frame) / crispness(stills[numbers[-1]]))
    assert set(numbers) == set(WALK) and numbers == sorted(numbers)
    # Two in ten frames are sharp. Where the view jumps, a blurred one may be the only choice.
    assert np.mean(np.array(sharp) > 0.9) > 0.8
    check(camera_errors(scene.views, numbers, [3 * FOCAL * v.intrinsics.width / 1920 for v in scene.views]))
    assert scene.figures.psnr is not None and scene.figures.psnr > 19  # 24.3 measured


def thumbnail(picture: Image.Image) -> Array:
    return np.asarray(picture.resize((96, 54), Image.Resampling.BOX), float)


def crispness(picture: Image.Image) -> float:
    return sharpness(np.asarray(picture.convert("L").resize((960, 540), Image.Resampling.BOX)))


@pytest.mark.long
def test_a_dozen_photos_of_a_front_are_enough(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "house"
    folder.mkdir()
    for number in FRONT:
        shutil.copyfile(DEMO / f"{number:04d}.jpg", folder / f"IMG_{number:04d}.jpg")
    scene = scenes.load(trained(command, folder, tmp_path / "scene", "--downscale", 2))
    numbers = [int(v.path.stem.split("_")[1]) for v in scene.views]
    assert numbers == list(FRONT)
    check(camera_errors(scene.views, numbers, [FOCAL * v.intrinsics.width / 640 for v in scene.views]))
    assert scene.figures.psnr is not None and scene.figures.psnr > 19  # 22.3 measured
