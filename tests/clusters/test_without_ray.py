"""What of work on a cluster can be checked without one: who gets what, under which name, and what is said."""

from __future__ import annotations

import dataclasses
import importlib.util
import pickle
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import analytic
import numpy as np
import pytest
from refusals import Refused

from nerfscene import ray_commands
from nerfscene.clusters import desk, trainings
from nerfscene.clusters.connecting import Cluster, Needs
from nerfscene.clusters.film_parts import LONGEST_PART, PART_BYTES, _part, parts_of
from nerfscene.clusters.runs import MOST_TRIES, News, Outcome
from nerfscene.config import FootageConfig, PoseConfig, RenderConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films.filming import Frame, Rendered, as_filmed, film_path, render_film, rendered
from nerfscene.films.frames import film_digest
from nerfscene.films.paths import CameraPath
from nerfscene.scene import folder as scenes

# --- without Ray on this machine ------------------------------------------------------------------


def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "ray" else found(name, *a)
    )


def test_without_ray_one_sentence_says_what_to_install(
    refused: Refused, small_room: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ray(monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert "pip install 'nerfscene[ray]'" in refused("train", small_room, "--ray")
    assert "pip install 'nerfscene[ray]'" in refused(
        "render", trained, "-o", "film.mp4", "--ray", "head:6379"
    )
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_done_on_a_cluster_is_refused(
    refused: Refused, small_room: Path, trained: Path, tmp_path: Path
) -> None:
    assert "--view" in refused("train", small_room, "--ray", "--view")
    assert str(tmp_path / "not-there") in refused("train", small_room, tmp_path / "not-there", "--ray")
    assert "elsewhere" in refused("render", trained, "-o", tmp_path / "a.mp4", "--ray", "elsewhere")
    assert "one address" in refused("train", small_room, "--ray", "ray://a:1", "ray://b:1")


# --- the command ----------------------------------------------------------------------------------


def test_what_follows_ray_may_be_its_address_or_paths(tmp_path: Path) -> None:
    folder = str(tmp_path)
    for words, address, paths in (
        ((), "auto", []),
        (("auto",), "auto", []),
        (("ray://head:10001",), "ray://head:10001", []),
        (("head.example.org:6379",), "head.example.org:6379", []),
        (("[fd00::1]:6379",), "[fd00::1]:6379", []),
        ((folder, "b/"), "auto", [tmp_path, Path("b")]),
        (("10.0.0.2:6379", folder), "10.0.0.2:6379", [tmp_path]),
    ):
        assert ray_commands.address_and_paths(words) == (address, paths)


def test_each_path_is_a_scene_and_photos_are_one(small_room: Path, tmp_path: Path) -> None:
    photos = sorted(small_room.rglob("*.png")) or sorted(small_room.rglob("*.jpg"))
    assert ray_commands.sources_of([small_room, tmp_path, small_room]) == [small_room, tmp_path]
    assert ray_commands.sources_of(photos) == [photos[0].parent]
    with pytest.raises(NerfsceneError, match="say what to make a scene of"):
        ray_commands.sources_of([])


def test_scenes_of_captures_with_the_same_name_get_different_ones(tmp_path: Path) -> None:
    made = [tmp_path / name for name in ("a/images", "b/images", "c/Garden", "d/garden.zip", "e/x")]
    for path in made:
        path.parent.mkdir()
        path.touch() if path.suffix else path.mkdir()
    assert ray_commands.names_of(made) == ["a-images", "b-images", "c-Garden", "d-garden", "x"]
    (tmp_path / "f/a/images").mkdir(parents=True)
    with pytest.raises(NerfsceneError, match="would both become a-images-scene"):
        ray_commands.names_of([made[0], tmp_path / "f/a/images"])


# --- the cluster's machines -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machines", "threads", "gpu", "needs", "room"),
    [
        ([{"CPU": 8.0}, {"CPU": 4.0}], 0, True, Needs(2, 0), 6),
        ([{"CPU": 8.0}, {"CPU": 4.0}], 8, False, Needs(8, 0), 1),
        ([{"CPU": 4.0}], 64, False, Needs(4, 0), 1),  # never more than there is
        ([{"CPU": 1.0}, {"CPU": 1.0}, {}], 0, False, Needs(1, 0), 2),
        ([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 64.0}], 0, True, Needs(2, 1), 2),
        ([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 64.0}], 32, True, Needs(16, 1), 1),
        ([{"CPU": 16.0, "GPU": 2.0}], 0, False, Needs(2, 0), 8),
        ([], 0, False, Needs(1, 0), 1),
    ],
)
def test_work_asks_for_what_a_machine_has(
    machines: list[dict[str, float]],
    threads: int,
    gpu: bool,
    needs: Needs,
    room: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Cluster, "machines", lambda self: machines)
    assert Cluster("auto").needs(threads, gpu) == needs
    assert Cluster("auto").room(needs) == room


# --- the desk -------------------------------------------------------------------------------------


def test_a_worker_leaves_when_its_work_is_not_its_own_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(desk.time, "monotonic", lambda: now[0])
    here = desk.Desk()
    here.open("run")
    assert here.tell("run", {}, []) == ""
    here.hear("run", "stop")
    assert here.tell("run", {"count": 1}, [("note", "a")]) == "stop"
    assert here.hear("run", "") == ({"count": 1}, [("note", "a")])
    assert here.hear("run", "") == ({"count": 1}, [])  # a line is heard once
    assert here.tell("run", {}, []) == "stop"  # still
    assert here.tell("another", {}, []) == desk.LEAVE
    now[0] += desk.LEASE + 1  # nobody asks any more
    assert here.tell("run", {}, []) == desk.LEAVE
    here.hear("run", "")
    here.close("run")
    assert here.tell("run", {}, []) == desk.LEAVE


# --- several trainings ----------------------------------------------------------------------------


class Runs:
    """Stands for the office: each training ends as ``plan`` says, one outcome for each try."""

    def __init__(self, plan: Sequence[Sequence[str]]) -> None:
        self.plan = [list(outcomes) for outcomes in plan]
        self.begun: list[tuple[Path, str | None]] = []

    def begin(self, work: Any, arguments: tuple[Any, ...], needs: Needs) -> Any:
        training, _, begun_on = arguments
        self.begun.append((training.output, begun_on))
        return Run(self, int(training.output.name))


class Run:
    """One try."""

    def __init__(self, runs: Runs, number: int) -> None:
        self.runs, self.number = runs, number

    def hear(self, wanted: str = "") -> News:
        state: Any = "stopped" if wanted else self.runs.plan[self.number].pop(0)
        return News({"stage": "training", "fraction": 0.5}, [], Outcome(state, "why") if state else None)

    def give_up(self) -> None:
        pass


class Told:
    """Keeps the lines that it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str]] = []

    def progress(self, number: int, report: dict[str, Any]) -> None:
        pass

    def line(self, number: int, kind: str, text: str) -> None:
        self.lines.append((number, text))

    def ended(self, number: int, outcome: Outcome) -> None:
        pass


def train_all(
    plan: Sequence[Sequence[str]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Outcome], Runs, Told]:
    runs, told = Runs(plan), Told()
    monkeypatch.setattr(trainings, "Office", lambda: runs)
    monkeypatch.setattr(trainings, "POLL", 0.001)
    monkeypatch.setattr(Cluster, "machines", lambda self: [{"CPU": 2.0}])
    tasks = [training(folder, folder / str(number)) for number in range(len(plan))]
    return trainings.train_all(Cluster("auto"), tasks, told), runs, told


def training(source: Path, output: Path) -> trainings.Training:
    poses, footage = PoseConfig(), FootageConfig()
    return trainings.Training(source, output, TrainConfig(), analytic.SMALL, poses, footage, False, True)


def test_lost_trainings_are_begun_again_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = [["", "lost", "", "done"], ["failed"], ["done"], ["lost"] * MOST_TRIES]
    outcomes, runs, told = train_all(plan, tmp_path, monkeypatch)
    assert [o.state for o in outcomes] == ["done", "failed", "done", "failed"]
    tries = [[on for output, on in runs.begun if output.name == str(n)] for n in range(4)]
    assert tries == [[None, ""], [None], [None], [None, "", "", "", ""]]
    assert f"{MOST_TRIES} times" in outcomes[3].value and "memory" in outcomes[3].value
    assert [number for number, _ in told.lines].count(0) == 1


def test_ctrl_c_is_passed_on_and_does_not_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    hear, forever = Run.hear, [""] * 10**6

    def heard(run: Run, wanted: str = "") -> News:
        if run.number == 1 and len(forever) == len(run.runs.plan[1]):
            signal.raise_signal(signal.SIGINT)
        return hear(run, wanted)

    monkeypatch.setattr(Run, "hear", heard)
    outcomes, _, _ = train_all([["done"], forever], tmp_path, monkeypatch)
    assert [o.state for o in outcomes] == ["done", "stopped"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_try_goes_on_from_what_the_lost_one_saved(trained: Path, tmp_path: Path) -> None:
    task = training(tmp_path, trained)
    before = trainings.mark(trained)
    assert trainings.again(task, before) == task  # the old scene is still there: it is to be replaced
    assert trainings.again(task, "") == dataclasses.replace(task, resume=True, overwrite=False)
    nothing = training(tmp_path, tmp_path / "none")
    assert trainings.again(nothing, trainings.mark(tmp_path / "none")) == nothing


# --- films in parts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "each", "room"), [(0, 1, 1), (1, 1, 8), (100, 10**6, 2), (100, 10**9, 4), (5000, 1, 1)]
)
def test_parts_hold_every_frame_once_and_stay_small(count: int, each: int, room: int) -> None:
    numbers = list(range(10, 10 + count))
    parts = parts_of(numbers, each, room)
    assert [number for part in parts for number in part] == numbers
    assert all(len(part) <= LONGEST_PART for part in parts)
    assert all(len(part) == 1 or len(part) * each <= PART_BYTES for part in parts)
    assert len(parts) >= min(count, 4 * room)


def test_frames_from_elsewhere_make_the_same_film(trained: Path, tmp_path: Path) -> None:
    scene = scenes.load(trained)
    config = RenderConfig(seconds=0.5, fps=12, width=64, depth=True, backend="cpu", threads=1)
    asked: list[list[int]] = []
    ended: list[bool] = []

    def elsewhere(path: CameraPath) -> Rendered:
        local = partial(rendered, scene, path, config, scene.renderer("cpu", 1))

        def render(numbers: Sequence[int]) -> Iterator[Frame]:
            asked.append(list(numbers))
            try:
                yield from local(numbers)
            finally:
                ended.append(True)

        return render

    films = [tmp_path / "here.mp4", tmp_path / "there.mp4"]
    frames = tmp_path / "frames"
    for film, source in zip(films, (None, elsewhere), strict=True):
        render_film(scene, config, film, progress=lambda done, total: None, elsewhere=source)
    pictures = [file.stat().st_size for file in films]
    assert asked == [list(range(6))] and ended == [True] and pictures[0] == pictures[1]

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_film(scene, config, None, frames, progress=stop, elsewhere=elsewhere)
    assert ended == [True, True]  # what was rendered ahead is given up
    render_film(scene, config, None, frames, elsewhere=elsewhere)
    assert asked[2] == [3, 4, 5]  # those that are there already are not asked for


def test_a_worker_s_frames_are_pulled_by_key_as_this_machine_s(trained: Path) -> None:
    scene = scenes.load(trained)
    config = RenderConfig(
        path="boom", seconds=0.5, fps=10, width=64, samples=1, backend="cpu", threads=1,
        aperture="0:2,0.5:1", focus="0:subject,0.5:4", exposure="0:0,0.5:-2", roll="0:0,0.5:30",
    )  # fmt: skip
    path, _ = film_path(scene, config)
    digest = film_digest(as_filmed(scene, path, config), path, config)
    sent = pickle.loads(pickle.dumps((trained, path, config, digest)))
    there = [*_part(sent, [3, 4]), *_part(sent, [1])]
    here = list(rendered(scene, path, config, scene.renderer("cpu", 1), [3, 4, 1]))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(there, here, strict=True))
    assert here[0][0].mean() < here[2][0].mean(), "it gets darker"
