"""What a job's process makes of a scene. Most are done in this process; test_queue.py has real ones."""

from __future__ import annotations

import errno
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from job_cases import a_scene, a_shop, begun, done_here, places
from PIL import Image

from nerfscene.config import TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.export import FORMATS
from nerfscene.films.presets import PRESETS
from nerfscene.films.video import film_facts
from nerfscene.scene import folder as scene_folder
from nerfscene.serve import actions, jobs, pictures, scenes, work, work_pages, work_train
from nerfscene.serve.line import Line
from nerfscene.serve.pictures import sides
from nerfscene.serve.shop import Shop
from nerfscene.serve.task import Task, for_owner, is_full, safe_name


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Shop]:
    opened = a_shop(tmp_path)
    yield opened
    opened.db.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures for the gallery that are quick to render, and no page."""
    monkeypatch.setattr(pictures, "TURN_SIZE", (32, 24))
    monkeypatch.setattr(work_pages, "share", lambda *given: given[1].mkdir())


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, float | None]]:
    """Every stage that the work tells."""
    stages: list[tuple[str, float, float | None]] = []

    def progress(line: Line, stage: str, fraction: float, remaining: float | None = None) -> None:
        stages.append((stage, fraction, remaining))

    monkeypatch.setattr(Line, "progress", progress)
    return stages


def test_more_training_goes_on_and_shows_the_scene(
    opened: Shop,
    room: Path,
    trained: Path,
    told: list[tuple[str, float, float | None]],
    small: None,
) -> None:
    row = a_scene(opened, room, trained)
    before = scene_folder.read_figures(trained)
    task = begun(opened, row, "train", steps=before.steps + 20, more=True)
    ended = done_here(task)
    figures = scene_folder.read_figures(task.at.scene)
    assert ended.state == "done" and figures.steps == before.steps + 20
    assert ended.result["psnr"] == figures.psnr
    assert {"training", "measuring held-out photos", "taking pictures"} <= {stage for stage, _, _ in told}
    assert all(remaining is not None for stage, _, remaining in told if stage == "training")
    poster = np.asarray(Image.open(task.at.poster))
    assert poster.shape == (48, 64, 3) and poster.std() > 20
    turning = np.asarray(Image.open(task.at.turning), np.float64)
    assert turning.shape == (24, 12 * 32, 3)
    first, opposite = turning[:, :32], turning[:, 6 * 32 : 7 * 32]
    assert np.abs(first - opposite).mean() > 5  # another side
    assert task.at.page.is_dir() and not task.at.now.exists()


def test_a_training_that_is_stopped_shows_what_there_is(
    opened: Shop, room: Path, trained: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped_at_once(line: Line, stage: str, fraction: float, remaining: float | None = None) -> None:
        if stage == "training":
            assert line.stopped is not None
            line.stopped()

    monkeypatch.setattr(Line, "progress", stopped_at_once)
    task = begun(opened, a_scene(opened, room, trained), "train", steps=10**7, more=True)
    ended = done_here(task)
    figures = scene_folder.read_figures(task.at.scene)
    assert ended.state == "stopped" and figures.steps < 10**7 and figures.psnr is not None
    assert task.at.poster.exists() and task.at.turning.exists()


def test_where_a_training_begins(opened: Shop, room: Path, trained: Path) -> None:
    """From the start, unless this very job has saved something, or more is asked for."""
    empty = a_scene(opened, room)
    assert work_train._begin(begun(opened, empty, "train")) == (False, False)
    row = a_scene(opened, room, trained)
    task = begun(opened, row, "train")
    field = task.at.scene / scene_folder.FIELD_FILE
    os.utime(field, (task.job.created - 5, task.job.created - 5))
    assert work_train._begin(task) == (False, True)
    os.utime(field, (task.job.created + 5, task.job.created + 5))
    assert work_train._begin(task) == (True, False)
    (task.at.photos / "images" / "another.png").write_bytes(b"more")
    assert work_train._begin(task) == (False, True)
    assert "began again" in task.line.warnings[0]


def test_more_of_other_photos_is_refused(opened: Shop, room: Path, trained: Path) -> None:
    row = a_scene(opened, room, trained)
    next((places(opened, row).photos / "images").iterdir()).unlink()
    with pytest.raises(NerfsceneError, match="added or removed"):
        done_here(begun(opened, row, "train", more=True))


def test_a_training_by_steps_ends_with_the_longest_time(tmp_path: Path) -> None:
    opened = a_shop(tmp_path, longest=100.0)
    config = work_train.config_of(begun(opened, a_scene(opened), "train", steps=10**9, more=False))
    assert config == TrainConfig(steps=10**9, time=100.0, threads=1)
    assert work_train.config_of(begun(opened, a_scene(opened), "train", time=30.0)).time == 30.0


def test_stopping_before_there_is_a_scene_leaves_nothing(opened: Shop, room: Path, trained: Path) -> None:
    task = begun(opened, a_scene(opened, room), "train")
    (task.at.scene / "poses" / "posing.partial").mkdir(parents=True)
    task.line.wanted = "stop"
    assert work._interrupted(task) == work.ENDED
    assert not task.at.scene.exists() and jobs.job_of(opened.db, task.job.id).state == "stopped"
    older = begun(opened, a_scene(opened, room, trained), "train")
    partial = older.at.scene / "poses" / "posing.partial"
    partial.mkdir(parents=True)
    older.line.wanted = "stop"
    work._interrupted(older)
    assert not partial.exists() and scene_folder.is_scene(older.at.scene)


@pytest.mark.parametrize(
    ("wanted", "code", "state"),
    [
        ("pause", 0, "paused"),
        ("leave", jobs.LEFT, "running"),
        ("too long", 0, "failed"),
        ("", jobs.LEFT, "running"),
    ],
)
def test_how_interrupted_work_ends(opened: Shop, wanted: str, code: int, state: str) -> None:
    task = begun(opened, a_scene(opened), "film")
    task.line.wanted = wanted
    assert work._interrupted(task) == code
    assert jobs.job_of(opened.db, task.job.id).state == state
    assert jobs.job_of(opened.db, task.job.id).tries == (0 if state == "running" else 1)


def test_a_film(opened: Shop, trained: Path, told: list[tuple[str, float, float | None]]) -> None:
    task = begun(opened, a_scene(opened, None, trained), "film", width=64, height=48, seconds=0.5, fps=8.0)
    ended = done_here(task)
    file = task.at.films / f"{task.job.id}.mp4"
    assert ended.result["files"] == [f"films/{file.name}"]
    assert film_facts(file)["frames"] == 4 and list(task.at.films.iterdir()) == [file]
    assert [fraction for stage, fraction, _ in told if stage == "filming"] == [0.25, 0.5, 0.75, 1.0]


def test_a_film_of_another_kind(opened: Shop, trained: Path) -> None:
    row = a_scene(opened, None, trained)
    asked = {"preset": "gif", "width": 64, "seconds": 0.24, "exposure": "0:0,0.2:1", "background": "white"}
    assert actions.film(opened, row, asked).options == {**asked, "ending": "gif"}
    task = begun(opened, row, "film", **asked, ending="gif")
    ended = done_here(task)
    assert ended.result["files"] == [f"films/{task.job.id}.gif"]
    assert film_facts(task.at.films / f"{task.job.id}.gif")["frames"] == ended.result["frames"] == 3


def test_a_film_goes_on_with_the_frames_that_are_there(
    opened: Shop, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = a_scene(opened, None, trained)
    task = begun(opened, row, "film", width=64, height=48, seconds=0.5, fps=8.0)
    seen: list[float] = []

    def interrupted(line: Line, stage: str, fraction: float, remaining: float | None = None) -> None:
        seen.append(fraction)
        if fraction == 0.75:
            raise KeyboardInterrupt

    monkeypatch.setattr(Line, "progress", interrupted)
    with pytest.raises(KeyboardInterrupt):
        done_here(task)
    assert not (task.at.films / f"{task.job.id}.mp4").exists()
    seen.clear()
    monkeypatch.setattr(Line, "progress", lambda line, stage, done, left=None: seen.append(done))
    done_here(task)
    assert 0.25 not in seen and seen[-1] == 1.0


def test_a_film_along_no_file_of_the_server(opened: Shop, trained: Path) -> None:
    row = a_scene(opened, None, trained)
    for path in (str(opened.data / "secret"), "../scene/scene.json", "saved"):
        with pytest.raises(NerfsceneError, match="camera path"):
            done_here(begun(opened, row, "film", path=path))
        with pytest.raises(NerfsceneError, match="camera path"):
            task = begun(opened, row, "page", path=path)
            try:
                work._work_of(task)[0](task)
            finally:
                jobs.end(opened.db, task.job.id, "failed")


@pytest.mark.parametrize(
    ("to", "ending", "options", "inside"),
    [
        ("points", "ply", {"count": 500}, None),
        ("cameras", "json", {}, None),
        ("cameras", "zip", {}, {"transforms.json", "sparse/0/cameras.bin"}),
    ],
)
def test_an_export_is_one_file(
    opened: Shop,
    room: Path,
    trained: Path,
    to: str,
    ending: str,
    options: dict[str, int],
    inside: set[str] | None,
) -> None:
    row = a_scene(opened, room, trained)
    task = begun(opened, row, "export", to=to, ending=ending, **options)
    (name,) = done_here(task).result["files"]
    file = task.at.home / name
    assert file.is_file() and file.parent.name == task.job.id and file.stem == "A room of mine"
    assert [entry.name for entry in task.at.exports.iterdir()] == [task.job.id]
    if inside is not None:
        names = zipfile.ZipFile(file).namelist()
        assert {f"{file.stem}/{one}" for one in inside} <= set(names), names


def test_an_export_of_three_files_is_zipped(opened: Shop, trained: Path) -> None:
    pytest.importorskip("fast_simplification")
    task = begun(
        opened, a_scene(opened, None, trained), "export", to="mesh", ending="obj", faces=300, texture=64
    )
    (name,) = done_here(task).result["files"]
    assert name.endswith(".zip")
    endings = {Path(one).suffix for one in zipfile.ZipFile(task.at.home / name).namelist()}
    assert {".obj", ".mtl"} < endings and len(endings) == 3


def test_pictures_of_a_training_come_less_and_less_often() -> None:
    taken = [0.0]
    for quarter in range(1, 1200):
        if pictures.due(quarter / 4, taken[-1]):
            taken.append(quarter / 4)
    apart = np.diff(taken[1:])
    assert taken[1] == pictures.FIRST and 10 < len(taken) < 60
    assert apart.min() >= pictures.APART and apart[-1] > 5 * apart[0]


def test_pictures_of_a_training_are_as_large_as_time_allows() -> None:
    assert pictures.affordable(0.5, 1e-7, 4 / 3) == 960
    assert pictures.affordable(0.5, 1e-4, 4 / 3) == 64
    assert pictures.affordable(0.5, 1e-2, 4 / 3) is None


def test_pictures_may_take_more_early_and_little_in_all() -> None:
    seconds = np.linspace(0.5, 60, 100)
    allowed = np.array([pictures.allowed(s, 60.0) for s in seconds])
    assert (np.diff(allowed) > 0).all() and allowed[-1] < 0.05 * 60
    assert allowed[10] > 2 * pictures.SHARE * seconds[10]
    assert pictures.allowed(100.0, float("inf")) == pictures.AT_ONCE + pictures.SHARE * 100


def test_the_first_picture_comes_whatever_it_takes(
    tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "AT_ONCE", -1e6)
    now = pictures.NowPictures(tmp_path / "now.jpg", "cpu", 1, 60.0)
    now.started(scene_folder.load(trained))
    now.trained(1.0)
    assert Image.open(now.file).size == (64, 48)


def test_a_picture_of_a_training(tmp_path: Path, trained: Path) -> None:
    now = pictures.NowPictures(tmp_path / "now.jpg", "cpu", 1, 300.0)
    now.trained(1.0)
    assert not now.file.exists()  # nothing is trained yet
    now.started(scene_folder.load(trained))
    now.trained(100.0)
    first = Image.open(now.file)
    assert first.width > first.height and np.asarray(first).std() > 20 and now.spent > 0
    made = now.file.stat().st_mtime_ns
    now.trained(100.5)
    now.spent = 1e6
    now.trained(200.0)
    assert now.file.stat().st_mtime_ns == made and now.looked_at == 200.0


def test_sides_of_a_picture() -> None:
    assert sides(4 / 3, 320) == (320, 240) and sides(3 / 4, 320) == (240, 320) and sides(100, 50) == (50, 1)


def test_a_full_disk_is_told_from_other_failures(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    try:
        raise NerfsceneError("posing failed") from full
    except NerfsceneError as error:
        assert is_full(error)
    assert is_full(full) and is_full(OSError(errno.EDQUOT, "quota"))
    assert is_full(NerfsceneError("the disk is full while writing a; free some space"))
    assert not is_full(NerfsceneError("no photos")) and not is_full(PermissionError("no"))


def test_a_full_disk_has_the_job_wait(opened: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(task: Task) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Line, "__enter__", lambda line: line)
    monkeypatch.setattr(Line, "__exit__", lambda *given: None)
    task = begun(opened, a_scene(opened), "film")
    monkeypatch.setattr(work, "_work_of", lambda task: (full, lambda task: None))
    monkeypatch.setattr(os, "nice", lambda by: 0)
    assert work.main([str(opened.data), task.job.id, json.dumps({"spare": "0"})]) == jobs.FULL
    found = jobs.job_of(opened.db, task.job.id)
    assert (found.state, found.tries) == ("running", 0) and "disk is full" in found.message


def test_owners_are_not_told_where_files_are(opened: Shop) -> None:
    task = begun(opened, a_scene(opened), "film")
    said = for_owner(task, f"{task.at.photos}/a.jpg is damaged,\n and {task.at.scene} is empty")
    assert said == "a.jpg is damaged, and the scene is empty"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("/home/ada/films can't be written; choose another with -o", "films can't be written"),
        ("free some space there, or choose another folder with -o", "free some space there"),
        ("it is damaged; train it again with --overwrite", "it is damaged; train it again from its photos"),
        ("there is nothing there: give another --look-at", "there is nothing there: give another “look-at”"),
        ("try another --seed. --no-photos", "try another “seed”. “photos” turned off"),
        ("see https://example.org/a/b, 3/4 and x-ray", "see https://example.org/a/b, 3/4 and x-ray"),
        ("/tmp/nerfscene-1/a b.jpg: wrong", "a b.jpg: wrong"),
    ],
)
def test_owners_are_not_told_of_commands(opened: Shop, message: str, said: str) -> None:
    assert for_owner(begun(opened, a_scene(opened), "film"), message) == said


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("A/b", "A b"),
        ("..", "scene"),
        ("Ünsere Küche 2", "Ünsere Küche 2"),
        ('x"\n<y>', "x y"),
        ("/", "scene"),
    ],
)
def test_names_of_downloads(title: str, name: str) -> None:
    assert safe_name(title) == name


def test_a_failure_is_said_and_noted(opened: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    row = a_scene(opened)  # without photos
    task = begun(opened, row, "train")
    assert work._ends(task, "failed", "there are no photos") == work.ENDED
    found = jobs.job_of(opened.db, task.job.id)
    assert (found.state, found.message) == ("failed", "there are no photos")
    (noted,) = scenes.unread_notes(opened.db, row.person)
    assert noted["text"] == "A room / of mine failed: there are no photos"


def test_what_may_be_asked_for_is_what_the_work_takes(opened: Shop, trained: Path) -> None:
    row = a_scene(opened, None, trained)
    assert ("auto", "saved", *PRESETS) == actions.PATHS
    for ask in (actions.film, actions.page):
        with pytest.raises(NerfsceneError, match="camera path"):
            ask(opened, row, {"path": "/etc/passwd"})
    for kind, endings in actions.ENDINGS.items():
        known = {ending.lstrip(".") or "zip" for ending in FORMATS[kind]}
        assert set(endings) <= known, kind


def test_a_removed_job_takes_its_files_along(opened: Shop, trained: Path) -> None:
    row = a_scene(opened, None, trained)
    film = actions.film(opened, row, {})
    at = places(opened, row)
    at.films.mkdir()
    (at.films / f"{film.id}.mp4").touch()
    (at.films / "other.mp4").touch()
    (at.films / f".{film.id}").mkdir()  # the frames of a paused one
    (at.home / jobs.lock_of(film.id)).touch()
    with pytest.raises(NerfsceneError, match="under way"):
        actions.remove_job(opened, film)
    jobs.ask(opened.db, film.id, "stop")
    actions.remove_job(opened, film)
    assert [file.name for file in at.films.iterdir()] == ["other.mp4"]
    assert not (at.home / jobs.lock_of(film.id)).exists()
    assert jobs.jobs_of(opened.db, row.id) == []
    page = actions.page(opened, row, {})
    jobs.ask(opened.db, page.id, "stop")
    with pytest.raises(NerfsceneError, match="only films and exports"):
        actions.remove_job(opened, page)
