"""Frames from videos: which are chosen, what they look like, what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from colour_cases import BT2020, P3, SRGB_CURVE
from footage_cases import demo_pictures, walk, with_matrix, write_coded, write_video
from numpy.typing import NDArray
from PIL import Image

from nerfscene.capture import dynamic_range, footage
from nerfscene.capture.footage import take_frames
from nerfscene.capture.motion import choose, moved, sharpness, spectra
from nerfscene.config import FootageConfig
from nerfscene.errors import NerfsceneError
from nerfscene.intake import find_videos


def taken(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jpg"))


def refusal(video: Path, folder: Path) -> str:
    with pytest.raises(NerfsceneError) as caught:
        take_frames([video], folder)
    assert "\n" not in str(caught.value) and not list(folder.parent.glob("frames*"))
    return str(caught.value)


@pytest.mark.parametrize(("across", "down"), [(0, 0), (3, 0), (-4, 2), (9, -7)])
def test_shifts_are_measured_between_pixels(across: int, down: int) -> None:
    picture = np.asarray(Image.fromarray(demo_pictures(1)[0]).convert("L"), np.float32)
    noise = np.random.default_rng(0).normal(0, 3, (2, 108, 192))
    # Windows an odd number of pixels apart, shrunk by 2, lie half pixels apart.
    a, b = (picture[40 + y : 256 + y, 60 + x : 444 + x] for x, y in ((0, 0), (across, down)))
    copies = [w.reshape(108, 2, 192, 2).mean((1, 3)) + n for w, n in zip((a, b), noise, strict=True)]
    got = moved(spectra(copies[0].astype(np.float32)), spectra(copies[1].astype(np.float32)))
    assert got == pytest.approx(np.hypot(across, down) / 2, abs=0.25)


def test_blank_views_do_not_move_and_other_views_are_lost() -> None:
    blank = np.full((108, 192), 90, np.float32)
    assert moved(spectra(blank), spectra(blank + 1)) == 0
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0, 255, (2, 108, 192)).astype(np.float32)
    assert moved(spectra(a), spectra(b)) is None


def test_a_video_that_changes_its_shape_is_lost_there() -> None:
    picture = np.asarray(Image.fromarray(demo_pictures(1)[0]).convert("L"), np.float32)
    assert moved(spectra(picture), spectra(picture[:, : picture.shape[1] // 2])) is None


def test_blur_in_one_direction_is_less_sharp() -> None:
    picture = np.asarray(Image.fromarray(demo_pictures(1)[0]).convert("L"))
    smeared = np.mean([np.roll(picture, i, axis=1) for i in range(9)], axis=0).astype(np.uint8)
    assert sharpness(smeared) < 0.8 * sharpness(picture)


def test_frames_are_chosen_by_the_way_and_not_by_time() -> None:
    travel = np.concatenate([np.zeros(500), np.linspace(0, 300, 100)])
    sharp = np.ones(600)
    chosen = choose(travel, sharp, 50)
    assert len(chosen) == 50 and (chosen >= 490).sum() >= 49
    assert np.diff(travel[chosen]).max() < 2.1 * 300 / 50
    assert len(choose(travel, sharp, 1000)) <= 300 / 2.2 + 1  # no closer than that
    assert len(choose(np.zeros(500), sharp[:500], 50)) == 1
    spoilt = np.where(np.arange(600) % 2 == 0, 0.3, 1.0)  # every other frame is blurred
    assert (choose(travel, spoilt, 20) % 2 == 1).all()


def test_still_stretches_give_few_frames_and_blurred_frames_none(tmp_path: Path) -> None:
    steps = [0.0] * 60 + [4.0] * 60 + [0.0] * 60
    blurred = [i for i in range(60, 120) if i % 3]
    video = write_video(tmp_path / "walk.mp4", walk(steps, blurred))
    told: list[tuple[str, float]] = []
    assert take_frames([video], tmp_path / "frames", FootageConfig(15), lambda *t: told.append(t)) == ()
    frames = taken(tmp_path / "frames")
    assert 12 <= len(frames) <= 15 and frames[0].name == "walk-0001.jpg"
    stages = [stage for stage, _ in told]
    assert stages[0] == "looking through the video" and told[-1] == ("taking frames", 1.0)
    pictures = walk(steps)
    nearest = []
    for frame in frames:
        got = np.asarray(Image.open(frame)).astype(int)
        assert got.shape == (180, 320, 3)
        errors = [np.abs(got - picture).mean() for picture in pictures]
        nearest.append(int(np.argmin(errors)))
        assert min(errors) < 6
    moving = [n for n in nearest if 60 <= n < 119]
    assert len(moving) >= len(frames) - 2
    assert np.mean([n in blurred for n in moving]) < 0.2
    assert nearest == sorted(nearest)


def test_frames_are_kept_until_video_or_settings_change(tmp_path: Path) -> None:
    video = write_video(tmp_path / "walk.mp4", walk([3.0] * 60))
    folder = tmp_path / "frames"
    take_frames([video], folder, FootageConfig(10))
    first = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    take_frames([video], folder, FootageConfig(10), lambda *_: pytest.fail("nothing is to be done"))
    assert first == {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    take_frames([video], folder, FootageConfig(5))
    assert len(taken(folder)) <= 5
    write_video(video, walk([3.0] * 50))
    take_frames([video], folder, FootageConfig(10))
    assert 5 < len(taken(folder)) <= 10
    assert not (tmp_path / "frames.partial").exists()


def test_rotation_is_honoured_and_size_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footage, "LONGEST", 160)
    pictures = walk([3.0] * 45)
    video = write_video(tmp_path / "upright.mov", pictures, turned=-90)
    take_frames([video], tmp_path / "frames")
    got = np.asarray(Image.open(taken(tmp_path / "frames")[0])).astype(int)
    assert got.shape == (160, 90, 3)
    shown = [np.rot90(p.reshape(90, 2, 160, 2, 3).mean((1, 3)), -1) for p in pictures]
    assert min(np.abs(got - s).mean() for s in shown) < 8


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((-1, 0, 0, 1), lambda p: p[:, ::-1]),  # as front cameras write it
        ((1, 0, 0, -1), lambda p: p[::-1]),
        ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
        ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
        ((0, -1, 1, 0), lambda p: np.rot90(p)),
        ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda p: p[::-1, ::-1].swapaxes(0, 1)),
        ((0, 0, 0, 0), lambda p: p),  # nonsense
    ],
)
def test_turned_and_mirrored_as_players_show_it(
    tmp_path: Path,
    matrix: tuple[int, int, int, int],
    shown: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
) -> None:
    pictures = walk([4.0] * 30, size=(160, 96))
    video = write_video(tmp_path / "plain.mp4", pictures)
    (tmp_path / "turned.mp4").write_bytes(with_matrix(video.read_bytes(), matrix))
    take_frames([tmp_path / "turned.mp4"], tmp_path / "frames")
    got = np.asarray(Image.open(taken(tmp_path / "frames")[0])).astype(int)
    assert min(np.abs(got - shown(p)).mean() for p in pictures) < 6


@pytest.mark.parametrize(
    ("name", "codec"), [("a.webm", "libvpx"), ("a.mkv", "mpeg4"), ("a.avi", "mpeg4"), ("a.MOV", "libx264")]
)
def test_other_containers_and_codecs(tmp_path: Path, name: str, codec: str) -> None:
    video = write_video(tmp_path / name, walk([3.0] * 40, size=(160, 96)), codec)
    take_frames([video], tmp_path / "frames")
    assert 10 <= len(taken(tmp_path / "frames")) <= 20
    assert find_videos(tmp_path) == [video] and find_videos(video) == [video]
    nameless = video.rename(tmp_path / "download")
    assert find_videos(nameless) == [nameless] and find_videos(tmp_path) == []


@pytest.mark.parametrize("name", ["notes.txt", "notes", "list.csv"])
def test_text_is_no_video(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("walk round the subject\n" * 500)
    assert find_videos(tmp_path / name) == []


def test_several_videos_share_the_frames_by_how_far_they_move(tmp_path: Path) -> None:
    long = write_video(tmp_path / "a.mp4", walk([4.0] * 90))
    short = write_video(tmp_path / "a.mkv", walk([2.0] * 45))
    take_frames([long, short], tmp_path / "frames", FootageConfig(25))
    names = [p.name for p in taken(tmp_path / "frames")]
    of_long, of_short = (sum(n.startswith(s) for n in names) for s in ("a-mp4-", "a-mkv-"))
    assert of_long + of_short == len(names) <= 25 and of_long > 2 * of_short >= 6


def test_a_cut_off_video_gives_what_it_has_and_a_warning(tmp_path: Path) -> None:
    video = write_video(tmp_path / "cut.mkv", walk([3.0] * 180))
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    (warning,) = take_frames([video], tmp_path / "frames")
    assert "cut.mkv" in warning and ("ends after" in warning or "damaged" in warning)
    assert len(taken(tmp_path / "frames")) >= 10
    assert take_frames([video], tmp_path / "frames") == (warning,), "said again of frames that were kept"


def test_damage_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    video = write_video(tmp_path / "hurt.mkv", walk([3.0] * 120))
    data = bytearray(video.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    video.write_bytes(data)
    warnings = take_frames([video], tmp_path / "frames")
    assert len(taken(tmp_path / "frames")) >= 10 and len(warnings) <= 1


def test_what_is_no_video_is_one_sentence(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", walk([3.0] * 40, size=(160, 96)))
    cut = tmp_path / "cut.mp4"  # without its index, which is at its end
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert "cut.mp4 can't be read as a video" in refusal(cut, tmp_path / "frames")
    (tmp_path / "text.mp4").write_text("not a video")
    assert "can't be read as a video" in refusal(tmp_path / "text.mp4", tmp_path / "frames")
    still = write_video(tmp_path / "still.mp4", walk([0.0] * 40, size=(160, 96)))
    assert "hardly moves" in refusal(still, tmp_path / "frames")
    brief = write_video(tmp_path / "brief.mp4", walk([60.0] * 2))
    assert "different frames" in refusal(brief, tmp_path / "frames")
    with pytest.raises(NerfsceneError, match="frames must be"):
        take_frames([whole], tmp_path / "frames", FootageConfig(2))


def test_photos_go_before_videos(tmp_path: Path) -> None:
    write_video(tmp_path / "IMG_1.MOV", walk([3.0] * 5, size=(160, 96)))
    assert find_videos(tmp_path) == [tmp_path / "IMG_1.MOV"]
    Image.new("RGB", (20, 20)).save(tmp_path / "IMG_1.jpg")
    assert find_videos(tmp_path) == [tmp_path / "IMG_1.MOV"], "a cover doesn't hide it"
    for number in (2, 3):
        Image.new("RGB", (20, 20)).save(tmp_path / f"IMG_{number}.jpg")
    assert find_videos(tmp_path) == []


def test_videos_in_sub_folders_are_found_and_their_frames_kept_apart(tmp_path: Path) -> None:
    videos = []
    for name in ("day 2/a.mp4", "day 10/a.mp4", "day 10/a.ts"):
        (tmp_path / "given" / name).parent.mkdir(parents=True, exist_ok=True)
        videos.append(write_video(tmp_path / "given" / name, walk([4.0] * 40, size=(160, 96))))
    assert find_videos(tmp_path / "given") == videos
    take_frames(videos, tmp_path / "frames")
    names = [p.name.rpartition("-")[0] for p in taken(tmp_path / "frames")]
    assert {name: names.count(name) >= 5 for name in set(names)} == {
        "1-a-mp4": True,
        "2-a-mp4": True,
        "a-ts": True,
    }


def test_a_video_that_gives_nothing_is_left_out_beside_others(tmp_path: Path) -> None:
    good = write_video(tmp_path / "good.mp4", walk([4.0] * 40, size=(160, 96)))
    still = write_video(tmp_path / "still.mp4", walk([0.0] * 40, size=(160, 96)))
    (tmp_path / "empty.mp4").write_bytes(b"")
    told = take_frames([tmp_path / "empty.mp4", good, still], tmp_path / "frames")
    assert len(told) == 2 and "empty.mp4" in told[0] and "still.mp4" in told[1]
    assert all(p.name.startswith("good-") for p in taken(tmp_path / "frames"))
    with pytest.raises(NerfsceneError, match=r"empty\.mp4"):
        take_frames([tmp_path / "empty.mp4", still], tmp_path / "none")


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_high_dynamic_range_looks_as_it_should(tmp_path: Path, transfer: int, name: str) -> None:
    pictures = [np.minimum(p, 215) for p in walk([0] + [12] * 9)]  # no brighter than the unchanged frames
    video = write_coded(tmp_path / "hdr.mkv", pictures, transfer)
    (told,) = take_frames([video], tmp_path / "frames")
    assert f"hdr.mkv has high dynamic range ({name})" in told
    check_colours(tmp_path / "frames", pictures)


@pytest.mark.parametrize("primaries", [P3, BT2020])
def test_wide_colours_of_ordinary_range_are_converted(tmp_path: Path, primaries: int) -> None:
    pictures = walk([0] + [12] * 9)
    video = write_coded(tmp_path / "wide.mkv", pictures, SRGB_CURVE, primaries)
    assert take_frames([video], tmp_path / "frames") == ()
    check_colours(tmp_path / "frames", pictures)


def check_colours(folder: Path, pictures: list[NDArray[np.uint8]]) -> None:
    coarse = [blocks(picture) for picture in pictures]  # which average out JPEG's errors
    for file in taken(folder):
        with Image.open(file) as image:
            got = blocks(np.asarray(image))
        off = min((np.abs(got - picture) for picture in coarse), key=np.mean)
        assert off.mean() < 1.2 and off.max() < 4


def blocks(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Means over 20×20 pixels."""
    return picture.reshape(9, 20, 16, 20, 3).mean((1, 3))


def test_what_is_brighter_than_paper_is_still_told_apart() -> None:
    for transfer in dynamic_range.NAMES:
        ramp = np.linspace(0, 65535, 64).astype(np.uint16)
        shown = dynamic_range.to_srgb(np.repeat(ramp[None, :, None], 3, 2), transfer)[0].astype(int)
        assert (np.ptp(shown, axis=1) <= 1).all(), "grey stays grey"
        grey = shown[:, 1]
        assert (np.diff(grey) >= 0).all() and grey[0] == 0 and grey[-1] >= 254
    three_quarters = dynamic_range.to_srgb(np.full((1, 1, 3), 49151, np.uint16), dynamic_range.HLG)
    assert 235 <= three_quarters[0, 0, 1] <= 250, "paper, by ITU-R BT.2408"
