"""A disk that fills up or a folder that turns read-only at any write: one sentence, and the old stays."""

from __future__ import annotations

import errno
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import analytic
import numpy as np
import pytest
from failing_writes import count_of_writes, sentence
from footage_cases import demo_pictures, walk, write_video
from panorama_cases import write_panoramas
from PIL import Image

from nerfscene import api
from nerfscene.capture.archive import unpack
from nerfscene.capture.cutting import cut_photos
from nerfscene.capture.folder import open_capture
from nerfscene.capture.footage import take_frames
from nerfscene.config import CredentialsConfig, FootageConfig, RenderConfig, TrainConfig
from nerfscene.films.filming import film_path, render_film
from nerfscene.films.path_writing import write_camera_path
from nerfscene.measuring.contact_sheet import contact_sheet
from nerfscene.measuring.report import write_report
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import save_crop, with_figures
from nerfscene.scene.world import save_world

FAULTS = pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS])
UNSIGNED = CredentialsConfig(credentials=False)  # a film that can't be signed is a film
TINY = RenderConfig(width=32, fps=5, seconds=0.4)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def fails_at_every_write(
    work: Callable[[], object], place: Path, fault: int, whole: Callable[[], object]
) -> int:
    """Lets ``work`` fail at each of its writes below ``place`` in turn; ``whole`` checks what is left."""
    keep = place.with_name(place.name + "-kept")
    shutil.copytree(place, keep)

    def again() -> None:
        shutil.rmtree(place)
        shutil.copytree(keep, place)

    count = count_of_writes(work, place)
    for good in range(count):
        again()
        sentence(work, good, fault, place)
        whole()
    again()
    shutil.rmtree(keep)
    work()  # and once the disk has room again, all goes well
    return count


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "scene")


@FAULTS
def test_saving_a_scene(place: Path, fault: int) -> None:
    old = scenes.load(place)
    arrays = {"weights": old.field.weights}
    newer = with_figures(old, steps=old.figures.steps + 1)

    def whole() -> None:
        assert scenes.load(place).figures.steps == old.figures.steps

    assert fails_at_every_write(lambda: scenes.save(newer, place, arrays), place, fault, whole) > 6


@FAULTS
def test_what_is_saved_into_a_scene(place: Path, fault: int) -> None:
    scene, before = scenes.load(place), contents(place)
    path, _ = film_path(scene, TINY)
    writers: list[Callable[[], object]] = [
        lambda: save_crop(place, np.eye(4)),
        lambda: save_world(place, np.diag([2.0, 2, 2, 1]), np.array([0.0, 0, 1])),
        lambda: write_camera_path(path, place / "camera_path.json"),
        lambda: write_report(scene, place),
        lambda: contact_sheet([("a", *2 * (np.zeros((9, 9, 3), np.uint8),))], place / "sheet.jpg"),
        lambda: render_film(scene, TINY, place / "film.mp4", credentials=UNSIGNED),
    ]

    def whole() -> None:
        left = contents(place)
        assert {name: left[name] for name in before} == before and set(left) - set(before) <= {"t"}

    for write in writers:
        if fault == errno.EROFS:  # temporary files can't be removed either
            assert fails_at_every_write(write, place, fault, lambda: scenes.load(place)) >= 2
        else:
            assert fails_at_every_write(write, place, fault, whole) >= 2
        before = contents(place)
        scene = scenes.load(place)


@pytest.mark.parametrize("good", [0, 2, 4])
def test_training_over_another_scene(small_room: Path, place: Path, good: int) -> None:
    """The old scene stays until the new one is written: the probe, its temporary files, then the renaming."""
    old = scenes.load(place).figures

    def work() -> None:
        api.train(small_room, place, TrainConfig(steps=2, holdout=0), analytic.SMALL, overwrite=True)

    sentence(work, good, errno.ENOSPC, place)
    assert scenes.load(place).figures == old and (place / "report.html").exists()


@FAULTS
@pytest.mark.parametrize("kind", ["archive", "video", "panoramas"])
def test_intermediate_results(tmp_path: Path, fault: int, kind: str) -> None:
    """What an earlier run completed stays, whatever happens while it is replaced."""
    work = tmp_path / "work"
    work.mkdir()
    makers: dict[str, Callable[[int], object]] = {}
    if kind == "archive":
        for i in range(2):
            with zipfile.ZipFile(tmp_path / f"{i}.zip", "w") as packed:
                for name in "abc":
                    packed.writestr(f"{name}{i}.txt", name * 50)
        makers[kind] = lambda i: unpack(tmp_path / f"{i}.zip", work / "unpacked")
    elif kind == "video":
        video = write_video(tmp_path / "v.mp4", walk([6.0] * 24))
        makers[kind] = lambda i: take_frames([video], work / "frames", FootageConfig(frames=4 + i))
    else:
        write_panoramas(tmp_path / "0", 128, range(1))
        write_panoramas(tmp_path / "1", 128, range(2))
        for i in range(2):
            for n in range(3 - i):  # a capture has three pictures or more
                Image.fromarray(demo_pictures(3, 64)[n]).save(tmp_path / f"{i}/{n}.jpg")
        captures = [open_capture(tmp_path / str(i)) for i in range(2)]
        makers[kind] = lambda i: cut_photos(captures[i], work / "panoramas")
    make = makers[kind]
    make(0)

    def whole() -> None:
        """The old or the new result is there, and no making is needed for one of them."""
        done = [count_of_writes(lambda i=i: make(i), work) for i in range(2)]  # type: ignore[misc]
        assert min(done) <= 1  # one if the old one gets its name back

    fails_at_every_write(lambda: make(1), work, fault, whole)
