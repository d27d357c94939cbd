"""A job of the server done by a process of a Ray cluster."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nerfscene.config import ServeConfig
from nerfscene.scene import folder as scene_folder
from nerfscene.scene.folder_lock import LOCK_FILE
from nerfscene.serve import jobs, ray_jobs
from nerfscene.serve.scenes import new_scene, places
from nerfscene.serve.shop import Shop, opened

ROOT = Path(__file__).parents[2]
PATIENCE = 600.0  # seconds


def until(found: Callable[[], Any]) -> Any:
    """Waits until ``found`` returns something, and returns that."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("it took too long")


# --- without Ray ----------------------------------------------------------------------------------


class Call:
    """Stands for the line to the desk: keeps what is told, and answers what is wanted."""

    def __init__(self) -> None:
        self.wanted, self.told, self.said = "", {}, []  # type: ignore[var-annotated]

    def tell(self, **report: Any) -> str:
        self.told = report
        return self.wanted

    def say(self, kind: str, text: str) -> None:
        self.said.append((kind, text))


def test_a_worker_tells_how_far_it_is_and_each_warning_once() -> None:
    call: Any = Call()
    with ray_jobs.RemoteLine(call) as line:
        line.progress("training", 1.5, 20.0)
        until(lambda: call.told.get("stage") == "training")
        line.warn("blurred")
        line.warn("blurred")
    assert call.told == {"stage": "training", "fraction": 1.0, "remaining": 20.0, "stoppable": False}
    assert call.said == [("warning", "blurred")] and line.warnings == ["blurred"]


def test_a_worker_that_is_to_stop_is_stopped_once_as_it_likes() -> None:
    call: Any = Call()
    stopped: list[bool] = []
    over = threading.Event()

    def stop() -> None:
        stopped.append(True)
        over.set()

    with ray_jobs.RemoteLine(call) as line:
        line.stopped = stop
        call.wanted = "stop"
        assert over.wait(PATIENCE)
        time.sleep(3 * ray_jobs.LISTEN)
    assert stopped == [True]


@pytest.mark.parametrize("wanted", ["stop", "interrupt"])
def test_another_is_interrupted_as_by_ctrl_c(wanted: str) -> None:
    call: Any = Call()
    with pytest.raises(KeyboardInterrupt), ray_jobs.RemoteLine(call):
        call.wanted = wanted
        time.sleep(PATIENCE)
    time.sleep(3 * ray_jobs.LISTEN)  # and not again


# --- with Ray -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of a head, which does no work, and two machines with one core each."""
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'nerfscene[ray]')")
    os.environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT / 'tests/support'}"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made.address
    made.shutdown()


@pytest.fixture
def shop(address: str, tmp_path: Path, small_room: Path) -> Shop:
    """A server's folder with one person, and a scene with photos."""
    made = opened(tmp_path / "data", ServeConfig(ray=address, spare="1MB"))
    with made.db.change() as c:
        c.execute("insert into people (id, name, role, key_hash, created) values ('p', 'P', 'owner', 'x', 0)")
    scene = new_scene(made.db, made.data, "p", "A room", {})
    shutil.copytree(small_room, places(made.data, scene.id).photos, dirs_exist_ok=True)
    return made


def begun(shop: Shop, **options: Any) -> tuple[jobs.Job, subprocess.Popen[bytes]]:
    """A training of the shop's scene, and its process."""
    row = shop.db.row("select id from scenes")
    assert row is not None
    jobs.add(shop.db, row["id"], "p", "train", options)
    return again(shop)


def again(shop: Shop) -> tuple[jobs.Job, subprocess.Popen[bytes]]:
    """The process of the job whose turn it is."""
    job = jobs.begin_next(shop.db, "here")
    assert job is not None
    words = [shop.data, job.id, json.dumps(dataclasses.asdict(shop.config))]
    process = subprocess.Popen(
        [sys.executable, "-m", "nerfscene.serve.work", *map(str, words)], stdin=subprocess.PIPE
    )
    return job, process


def worker(shop: Shop, job: jobs.Job) -> int:
    """The process that trains, once it has begun."""
    lock = places(shop.data, job.scene).scene / LOCK_FILE
    return int(until(lambda: lock.exists() and json.loads(lock.read_text() or "{}").get("pid")))


def test_a_killed_worker_loses_nothing_and_the_job_ends_once(shop: Shop) -> None:
    job, process = begun(shop, steps=400)
    first = worker(shop, job)
    assert first != process.pid
    os.kill(first, signal.SIGKILL)
    assert process.wait(PATIENCE) == 0
    found = jobs.job_of(shop.db, job.id)
    at = places(shop.data, job.scene)
    assert (found.state, found.tries) == ("done", 1), found.message
    figures = scene_folder.read_figures(at.scene)
    assert (figures.steps, figures.finished) == (400, True)
    assert at.poster.exists() and (at.page / "index.html").exists()
    assert len(shop.db.rows("select * from notes")) == 1


def test_pause_saves_and_the_job_goes_on_from_there(shop: Shop) -> None:
    job, process = begun(shop, time=600.0)
    until(lambda: jobs.job_of(shop.db, job.id).stage == "training")
    jobs.ask(shop.db, job.id, "pause")
    assert process.wait(PATIENCE) == 0
    assert jobs.job_of(shop.db, job.id).state == "paused"
    at = places(shop.data, job.scene)
    saved = scene_folder.read_figures(at.scene)
    assert saved.steps > 0 and not saved.finished
    jobs.go_on(shop.db, job.id)
    jobs.tell(shop.db, job.id, "waiting", 0.0)  # instead of the first one's stage
    job, process = again(shop)
    until(lambda: jobs.job_of(shop.db, job.id).stage == "training")
    jobs.ask(shop.db, job.id, "stop")  # ends it with what it has
    assert process.wait(PATIENCE) == 0
    assert jobs.job_of(shop.db, job.id).state == "stopped"
    assert scene_folder.read_figures(at.scene).steps > saved.steps


def test_the_end_of_the_server_ends_the_worker_which_saves(shop: Shop) -> None:
    job, process = begun(shop, time=600.0)
    until(lambda: jobs.job_of(shop.db, job.id).stage == "training")
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(PATIENCE) == jobs.LEFT
    at = places(shop.data, job.scene)
    assert scene_folder.read_figures(at.scene).steps > 0
    assert not (at.scene / LOCK_FILE).exists()
