"""What people give to the command line: HEIC photos, an archive, a video."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from archives import pack, pack_folder
from conftest import Command
from footage_cases import demo_pictures, write_video
from PIL import Image
from refusals import check_refusal, nothing_in
from transforms_cases import transforms, write_transforms

from nerfscene import api, intake
from nerfscene.capture.folder import open_capture
from nerfscene.config import FootageConfig, PoseConfig
from nerfscene.errors import NerfsceneError
from nerfscene.scene import folder as scene
from nerfscene.scene.output_folder import POSES
from nerfscene.types import Capture

QUICKLY = {"preset": "ultrafast"}  # of an HEIC file's writer
SMALL = PoseConfig(max_image_size=320, max_features=1500)
QUICK = (
    *("--steps", 3, "--holdout", 0, "--downscale", 8, "--field.occupancy-resolution", 32),
    *("--poses.max-image-size", SMALL.max_image_size, "--poses.max-features", SMALL.max_features),
)


@pytest.fixture(scope="module")
def walk_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's first twelve pictures, each shown for a tenth of a second."""
    pictures = [picture for picture in demo_pictures(12) for _ in range(3)]
    return write_video(tmp_path_factory.mktemp("video") / "walk.mp4", pictures)


def test_a_video_becomes_a_scene(command: Command, walk_video: Path, tmp_path: Path) -> None:
    done = command("train", walk_video, "--frames", 14, *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "looking through the video: 100 %" in done.stderr and "photos posed" in done.stderr
    made = scene.load(tmp_path / "walk-scene")
    assert 10 <= len(made.views) <= 14
    told: list[str] = []
    workdir = tmp_path / "walk-scene" / POSES
    configs = SMALL, FootageConfig(14)
    posed = api.posed_capture(walk_video, workdir, configs[0], lambda p: told.append(p.stage), configs[1])
    assert len(posed.views) == len(made.views)
    assert set(told) == {"checking photos"}, "frames and poses are kept"
    assert posed.root == workdir / "frames"


def test_a_broken_video_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(1000))
    done = command("train", tmp_path / "bad.mp4", "-o", tmp_path / "out", "--json")
    check_refusal(done.returncode, done.stdout, done.stderr, quiet=True)
    assert "bad.mp4" in done.stderr and nothing_in(tmp_path / "out")


def test_a_capture_of_a_video_needs_a_place_for_frames(walk_video: Path) -> None:
    with pytest.raises(NerfsceneError, match=r"is a video: .*nerfscene train"):
        open_capture(walk_video)


def test_heic_photos_turned_by_their_camera_become_a_scene(command: Command, tmp_path: Path) -> None:
    (tmp_path / "DCIM/100APPLE").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    for index, picture in enumerate(demo_pictures(6, 480)):
        stored = Image.fromarray(picture).transpose(Image.Transpose.ROTATE_90)
        stored.save(
            tmp_path / f"DCIM/100APPLE/IMG_{index}.HEIC", exif=exif.tobytes(), quality=90, enc_params=QUICKLY
        )
    done = command("train", tmp_path / "DCIM", "-o", tmp_path / "out", *QUICK)
    assert done.returncode == 0, done.stderr
    made = scene.load(tmp_path / "out")
    assert len(made.views) == 6 and made.views[0].path.name == "IMG_0.HEIC"
    lens = made.views[0].intrinsics
    assert lens.width > lens.height, "as they were held"


def test_an_archive_becomes_a_scene_that_can_be_moved(
    command: Command, small_room: Path, tmp_path: Path
) -> None:
    packed = pack_folder(tmp_path / "room.zip", small_room, "room/")
    quick = ("--steps", 3, "--field.occupancy-resolution", 32)
    done = command("train", packed, "-o", tmp_path / "out", *quick)
    assert done.returncode == 0, done.stderr
    assert scene.load(tmp_path / "out").figures.source == "transforms"
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    moved = scene.load(tmp_path / "elsewhere")
    assert len(moved.views) == 9 and all(view.path.is_file() for view in moved.views)


def test_an_archive_that_cannot_be_unpacked(command: Command, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no archive")
    outside = pack(tmp_path / "outside.zip", ("a.jpg", b"x"), ("../b.jpg", b"x"))
    for packed in (tmp_path / "text.zip", outside):
        done = command("train", packed, "-o", tmp_path / "out", "--json")
        check_refusal(done.returncode, done.stdout, done.stderr, quiet=True)
        assert packed.name in done.stderr and nothing_in(tmp_path / "out")
    assert not (tmp_path / "b.jpg").exists() and not (tmp_path.parent / "b.jpg").exists()


def test_a_full_disk_while_posing_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i, picture in enumerate(demo_pictures(3)):
        Image.fromarray(picture).save(tmp_path / f"{i}.jpg")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(intake, "pose", full)
    with pytest.raises(NerfsceneError, match="No space left on device") as caught:
        api.posed_capture(tmp_path, tmp_path / "work")
    assert "-o" in str(caught.value)


def test_all_the_photos_or_videos_of_a_folder_are_the_folder(tmp_path: Path) -> None:
    files = [tmp_path / f"photos/{i}.jpg" for i in range(3)]
    files[0].parent.mkdir()
    for file in files:
        file.write_bytes(b"")
    assert intake.one_source([tmp_path]) == tmp_path
    assert intake.one_source(files[::-1]) == tmp_path / "photos"
    for some in (files[:2], [*files, tmp_path], [tmp_path, tmp_path / "photos"], []):
        with pytest.raises(NerfsceneError, match="folder"):
            intake.one_source(some)
    with pytest.raises(NerfsceneError, match=r"--output .*my-scene$"):  # as in the commands of other tools
        intake.one_source([files[0].parent, tmp_path / "my-scene"])


@pytest.fixture
def unposed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Path], Capture]:
    """Opens a source, and returns the capture that would be posed."""
    monkeypatch.setattr(intake, "pose", lambda capture, *_: capture)
    return lambda source, workdir: cast("Capture", intake.open_posed(source, workdir))


def test_what_lies_beside_the_photos_is_told(
    unposed: Callable[[Path, Path], Capture], walk_video: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "DCIM"
    (folder / "day2").mkdir(parents=True)
    for i, picture in enumerate(demo_pictures(3)):
        Image.fromarray(picture).save(folder / f"IMG_{i}.jpg")
    assert unposed(folder, tmp_path / "work").warnings == ()
    # The video of a live photo and the RAW file of a photo are not reported as extra files.
    (folder / "IMG_0.MOV").write_bytes(b"")
    (folder / "IMG_1.DNG").write_bytes(b"")
    assert unposed(folder, tmp_path / "work").warnings == ()
    shutil.copyfile(walk_video, folder / "day2/walk.mp4")
    (folder / "IMG_7.DNG").write_bytes(b"")
    (folder / "old.gif").write_bytes(b"")
    found = unposed(folder, tmp_path / "work")
    assert len(found.photos) == 3
    video, pictures = found.warnings
    assert video.startswith("1 video (walk.mp4) beside the photos is not used") and "give the video" in video
    assert pictures.startswith("2 pictures (IMG_7.DNG, old.gif) are not used") and "JPEG" in pictures


def test_a_video_beside_photos_with_cameras_is_told(tmp_path: Path) -> None:
    write_transforms(tmp_path / "cap", transforms())
    (tmp_path / "cap/walk.mov").write_bytes(b"")
    posed = intake.open_posed(tmp_path / "cap", tmp_path / "work", given="read")
    (warning,) = posed.warnings
    assert warning.startswith("1 video (walk.mov) beside the photos with cameras is not used")


def test_cameras_that_were_not_used_are_told_where_posing_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise NerfsceneError("none of the 3 photos could be posed: take sharp ones.")

    monkeypatch.setattr(intake, "pose", fail)
    folder = tmp_path / "cap"
    folder.mkdir()
    for i, picture in enumerate(demo_pictures(3)):
        Image.fromarray(picture).save(folder / f"IMG_{i}.jpg")
    with pytest.raises(NerfsceneError, match=r"take sharp ones\.$"):
        intake.open_posed(folder, tmp_path / "work")
    (folder / "scan.nvm").write_text("NVM_V3\n")
    with pytest.raises(NerfsceneError, match=r"take sharp ones\. Also, scan\.nvm .*kapture"):
        intake.open_posed(folder, tmp_path / "work")


def test_videos_and_maps_of_depth_beside_a_video(
    unposed: Callable[[Path, Path], Capture], walk_video: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "71de12f9ab"
    (folder / "confidence").mkdir(parents=True)
    shutil.copyfile(walk_video, folder / "rgb.mp4")
    (folder / "depth_video.mp4").write_bytes(b"")
    for index in range(5):
        Image.new("L", (8, 6), index).save(folder / f"confidence/{index:06d}.png")
    found = unposed(folder, tmp_path / "work")
    assert {photo.path.name.partition("-")[0] for photo in found.photos} == {"rgb"}
    (warning,) = found.warnings
    assert warning.startswith("1 video (depth_video.mp4) is not used") and "give the video itself" in warning


def test_photos_beside_a_video_are_told(
    unposed: Callable[[Path, Path], Capture], walk_video: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "DCIM"
    folder.mkdir()
    shutil.copyfile(walk_video, folder / "walk.mp4")
    Image.fromarray(demo_pictures(1)[0]).save(folder / "cover.jpg")
    found = unposed(folder, tmp_path / "work")
    assert len(found.photos) > 3 and found.root == tmp_path / "work/frames"
    assert [w.split(":")[0] for w in found.warnings] == ["1 photo (cover.jpg) beside the video is not used"]


def test_archives_of_photos_and_of_a_video(
    unposed: Callable[[Path, Path], Capture], walk_video: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, picture in enumerate(demo_pictures(4)):
        Image.fromarray(picture).save(photos / f"{i}.jpg")
    found = unposed(pack_folder(tmp_path / "photos.zip", photos, "photos/"), tmp_path / "one")
    assert [photo.path.name for photo in found.photos] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    packed = pack(tmp_path / "video.zip", ("walk.mp4", walk_video.read_bytes()))
    found = unposed(packed, tmp_path / "two")
    assert len(found.photos) > 3 and found.root == tmp_path / "two/frames"


def test_paths_that_are_no_one_capture(command: Command, room: Path, tmp_path: Path) -> None:
    several = sorted((room / "images").iterdir())[:3]
    done = command("train", *several, "-o", tmp_path / "out")
    check_refusal(done.returncode, done.stdout, done.stderr, quiet=True)
    assert "3 paths were given" in done.stderr and nothing_in(tmp_path / "out")
    done = command("train", "-o", tmp_path / "out")
    check_refusal(done.returncode, done.stdout, done.stderr, quiet=True)
    assert "say what to make a scene of" in done.stderr
    (tmp_path / "packed").mkdir()
    pack(tmp_path / "packed/photos.zip", ("a.txt", b"text"))
    done = command("train", tmp_path / "packed", "-o", tmp_path / "out", "--json")
    check_refusal(done.returncode, done.stdout, done.stderr, quiet=True)
    assert "give the .zip file itself" in done.stderr
