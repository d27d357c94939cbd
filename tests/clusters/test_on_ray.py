"""Work on a real Ray cluster: two machines' worth of it on this one, whose processes are killed midway.

``pip install 'nerfscene[ray]'`` is not part of what tests install: its own processes take 650 MB.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import analytic
import numpy as np
import pytest
import ray_work

from nerfscene import ray_commands
from nerfscene.clusters import trainings
from nerfscene.clusters.connecting import Cluster, connected
from nerfscene.clusters.runs import MOST_TRIES, News, Office, Run
from nerfscene.config import CredentialsConfig, FootageConfig, PoseConfig, RenderConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films.filming import render_film
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder_lock import LOCK_FILE

pytest.importorskip("ray", reason="Ray is not installed (pip install 'nerfscene[ray]')")
Run_command = Callable[..., tuple[str, str]]
ROOT = Path(__file__).parents[2]
PATIENCE = 600.0  # seconds


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """A cluster of a head, which does no work, and two machines with one core each."""
    os.environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT / 'tests/support'}"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster as TestCluster

    made = TestCluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    made.shutdown()


@pytest.fixture
def address(machines: Any) -> str:
    """Where the cluster answers."""
    return str(machines.address)


@pytest.fixture
def cluster(address: str) -> Iterator[Cluster]:
    with connected(address) as joined:
        yield joined


def until(found: Callable[[], Any]) -> Any:
    """Waits until ``found`` returns something, and returns that."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("it took too long")


def heard(run: Run, wanted: str = "") -> News:
    """What is heard of a run when it has ended."""

    def ended() -> News | None:
        news = run.hear(wanted)
        return news if news.outcome else None

    found: News = until(ended)
    return found


def begun(run: Run) -> int:
    """The process of a run of ``wait_for_word``, once it is at work."""
    return int(until(lambda: run.hear().report.get("process")))


def training(source: Path, output: Path, steps: int) -> trainings.Training:
    config = TrainConfig(steps=steps, backend="cpu", threads=1)
    return trainings.Training(
        source, output, config, analytic.SMALL, PoseConfig(), FootageConfig(), False, False
    )


class Told:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str, str]] = []
        self.reports: list[tuple[int, dict[str, Any]]] = []
        self.outcomes: dict[int, str] = {}

    def progress(self, number: int, report: dict[str, Any]) -> None:
        self.reports.append((number, report))

    def line(self, number: int, kind: str, text: str) -> None:
        self.lines.append((number, kind, text))

    def ended(self, number: int, outcome: Any) -> None:
        self.outcomes[number] = outcome.state


def test_a_function_runs_elsewhere_and_its_answer_comes_back(cluster: Cluster) -> None:
    needs = cluster.needs(0, True)
    assert (needs.cpus, needs.gpus, cluster.room(needs)) == (1, 0, 2)  # no machine has two cores, or a GPU
    office = Office()
    good = office.begin(ray_work.answer, ({"value": np.arange(3)},), needs)
    bad = office.begin(ray_work.answer, (ray_work.refusal(),), needs)
    worse = office.begin(ray_work.answer, (ZeroDivisionError("by nothing"),), needs)
    outcome = heard(good).outcome
    assert outcome is not None and outcome.state == "done" and list(outcome.value["value"]) == [0, 1, 2]
    outcome = heard(bad).outcome
    assert outcome is not None and outcome.state == "failed" and outcome.value == str(ray_work.refusal())
    news = heard(worse)
    assert news.outcome is not None and news.outcome.state == "failed" and "by nothing" in news.outcome.value
    assert any("Traceback" in text for _, text in news.lines)


def test_what_is_wanted_is_heard_and_a_killed_process_is_noticed(cluster: Cluster, tmp_path: Path) -> None:
    office, needs = Office(), cluster.needs(1, False)
    stopped, killed = (office.begin(ray_work.wait_for_word, (tmp_path,), needs) for _ in range(2))
    processes = begun(stopped), begun(killed)
    os.kill(processes[1], signal.SIGKILL)
    outcome = heard(killed).outcome
    assert outcome is not None and outcome.state == "lost"
    news = heard(stopped, "stop")
    assert news.outcome is not None and news.outcome.state == "stopped"


def test_when_a_machine_dies_its_work_is_lost_and_the_rest_of_the_cluster_works_on(
    machines: Any, cluster: Cluster, tmp_path: Path
) -> None:
    third = machines.add_node(num_cpus=1)
    machines.wait_for_nodes()
    office, needs = Office(), cluster.needs(1, False)
    runs = [office.begin(ray_work.wait_for_word, (tmp_path,), needs) for _ in range(3)]
    for run in runs:
        begun(run)
    machines.remove_node(third, allow_graceful=False)
    lost: Run = until(lambda: next((run for run in runs if run.hear().outcome is not None), None))
    for run in runs:
        if run is not lost:
            outcome = heard(run, "stop").outcome
            # Lost, too, if the desk was on that machine.
            assert outcome is not None and outcome.state in ("stopped", "lost")
    for _ in range(MOST_TRIES):  # Ray may notice late, and try the dead machine again
        outcome = heard(office.begin(ray_work.answer, (1,), needs)).outcome
        assert outcome is not None
        if outcome.state != "lost":
            break
    assert outcome.state == "done"


def test_a_worker_whose_work_was_given_to_another_leaves(cluster: Cluster, tmp_path: Path) -> None:
    """Such a worker was cut off, and taken for dead; then it comes back."""
    office = Office()
    run = office.begin(ray_work.wait_for_word, (tmp_path,), cluster.needs(1, False))
    process = begun(run)
    office.desk.close.remote(run.name)  # as when the work is given to another
    until(lambda: not Path(f"/proc/{process}").exists() if Path("/proc").exists() else heard(run))


def test_a_killed_training_goes_on_from_its_last_save_and_no_other_stops(
    cluster: Cluster, small_room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = [tmp_path / name for name in ("first", "second", "bad")]
    tasks = [training(small_room, outputs[0], 3000), training(small_room, outputs[1], 300)]
    tasks.append(training(small_room / "transforms.json", outputs[2], 10))
    tasks[2] = dataclasses.replace(tasks[2], source=tmp_path)  # a folder without photos
    told, saved = Told(), []

    def progress(number: int, report: dict[str, Any]) -> None:
        told.reports.append((number, report))
        if number == 0 and not saved and (outputs[0] / "scene.json").exists():
            saved.append(scenes.read_figures(outputs[0]).steps)
            os.kill(json.loads((outputs[0] / LOCK_FILE).read_text())["pid"], signal.SIGKILL)

    told_all = Told()
    monkeypatch.setattr(told_all, "progress", progress)
    outcomes = trainings.train_all(cluster, tasks, told_all, ray_work.train_saving_often)
    assert [o.state for o in outcomes] == ["done", "done", "failed"]
    assert told_all.outcomes == {0: "done", 1: "done", 2: "failed"}
    assert str(tmp_path) in outcomes[2].value
    assert saved and 0 < saved[0] < 3000
    assert any("lost" in text for number, _, text in told_all.lines if number == 0)
    assert any(f"step {saved[0]}" in text or "going on" in text for _, _, text in told_all.lines)
    assert len(set(outputs[0].with_suffix(".tries").read_text().split())) == 2
    assert len(outputs[1].with_suffix(".tries").read_text().split()) == 1
    for output, steps in zip(outputs, (3000, 300), strict=False):
        figures = scenes.read_figures(output)
        assert (figures.steps, figures.finished) == (steps, True)  # nothing twice
        history = [entry["step"] for entry in figures.history]
        assert history == sorted(set(history))
        assert not (output / LOCK_FILE).exists()
    resumed = [r["step"] for n, r in told.reports if n == 0 and r.get("step")]
    back = [after for before, after in itertools.pairwise(resumed) if after < before]
    assert all(step >= saved[0] for step in back)  # nothing lost


def test_the_command_makes_each_path_a_scene(
    address: str, small_room: Path, run: Run_command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/images", "b/images"):
        shutil.copytree(small_room, tmp_path / name)
    words = ["--steps", 20, "--backend", "cpu", "--field.log2-table", 10, "--field.occupancy-resolution", 32]
    out, _ = run("train", *words, "--ray", address, "a/images", "b/images", "-o", "made", "--json")
    made = json.loads(out)["scenes"]
    assert sorted(p.name for p in (tmp_path / "made").iterdir()) == ["a-images-scene", "b-images-scene"]
    assert [s["output"] for s in made] == [str(tmp_path / f"made/{n}-images-scene") for n in "ab"]
    assert all(s["state"] == "done" and s["steps"] == 20 and s["finished"] for s in made)


def test_one_that_fails_is_named_and_the_exit_code_says_so(
    address: str, small_room: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    words = ["train", small_room, "empty", "--steps", "20", "--backend", "cpu", "--ray", address]
    done = subprocess.run(
        [sys.executable, "-m", "nerfscene.cli", *map(str, words)],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "1 of 2 scenes could not be made: empty-scene: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.glob("*-scene")] == [f"{small_room.name}-scene"]


def test_ctrl_c_lets_all_save(address: str, small_room: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(small_room, other)
    words = ["train", small_room, other, "--time", "600", "--backend", "cpu", "--ray", address]
    outputs = [tmp_path / f"{name}-scene" for name in (small_room.name, "other")]
    process = subprocess.Popen(
        [sys.executable, "-m", "nerfscene.cli", *map(str, words)],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    lines: list[str] = []
    assert process.stderr is not None
    training_now: set[str] = set()
    for line in process.stderr:
        lines.append(line)
        training_now |= {name for name in ("other", small_room.name) if f"{name}-scene: training" in line}
        if len(training_now) == 2:
            os.killpg(process.pid, signal.SIGINT)
            break
    lines += process.stderr.read().splitlines()
    assert process.wait(PATIENCE) == 130, lines
    for output in outputs:
        assert scenes.is_scene(output), "".join(lines)
        figures = scenes.read_figures(output)
        assert figures.steps > 0 and not figures.finished
        assert not (output / LOCK_FILE).exists()


def test_a_film_in_parts_is_the_same_film_also_when_a_worker_is_killed(
    address: str, trained: Path, run: Run_command, tmp_path: Path
) -> None:
    # The pictures are compared: the encoder doesn't always make the same film of the same ones.
    here, there = tmp_path / "here", tmp_path / "there"
    words = ["--seconds", 1, "--fps", 12, "--width", 64, "--no-credentials", "--backend", "cpu"]
    run("render", trained, "-o", tmp_path / "here.mp4", "--frames", here, *words)
    run("render", trained, "-o", tmp_path / "there.mp4", "--frames", there, *words, "--ray", address)
    assert pictures(there) == pictures(here) and len(pictures(here)) == 12
    config = RenderConfig(seconds=1, fps=12, width=64, depth=True, backend="cpu")
    scene, killed, unsigned = scenes.load(trained), [], CredentialsConfig(credentials=False)

    def progress(done: int, total: int) -> None:
        if not killed:
            found = subprocess.run(["pgrep", "-f", "ray::nerfscene frames"], capture_output=True, text=True)
            killed.extend(found.stdout.split())
            for process in killed:
                os.kill(int(process), signal.SIGKILL)

    deep, deep_here = tmp_path / "deep", tmp_path / "deep-here"
    with ray_commands.rendering((address,), trained, scene, config, lambda text: None) as elsewhere:
        made = render_film(
            scene, config, None, deep, progress=progress, credentials=unsigned, elsewhere=elsewhere
        )
    assert killed and made["frames"] == 12
    render_film(scene, config, None, deep_here, credentials=unsigned)
    assert pictures(deep) == pictures(deep_here) and len(pictures(deep)) == 24  # with those of the depth


def pictures(folder: Path) -> dict[str, bytes]:
    """The files of a film's pictures."""
    return {p.name: p.read_bytes() for p in folder.glob("*.png")}


def test_nothing_answers_at_the_address() -> None:
    with (
        pytest.raises(NerfsceneError, match="no Ray cluster can be used at ray://"),
        connected("ray://127.0.0.1:1"),
    ):
        pass
