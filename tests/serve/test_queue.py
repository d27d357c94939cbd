"""Jobs in processes of their own, and what becomes of them when processes are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from job_cases import a_scene, a_shop, places, state_of, wait_for

from nerfscene.config import ServeConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films.video import film_facts
from nerfscene.scene import folder as scene_folder
from nerfscene.scene.folder_lock import holder_of, only_one
from nerfscene.serve import jobs, line, queue, scenes, server, webhooks
from nerfscene.serve.line import Line
from nerfscene.serve.queue import Queue
from nerfscene.serve.shop import Shop

# A server's process, as far as its jobs are concerned.
SERVER = """
import sys, time
from pathlib import Path
from nerfscene.config import ServeConfig
from nerfscene.serve import shop
from nerfscene.serve.queue import Queue
with Queue(shop.opened(Path(sys.argv[1]), ServeConfig(threads=1, spare="0"))):
    time.sleep(600)
"""


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    opened = a_shop(tmp_path)
    yield opened
    opened.db.close()


def test_a_job_is_done_in_a_process_of_its_own(
    opened: Shop, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    monkeypatch.setattr(webhooks, "tell_in_background", lambda shop, job: told.append(job.state))
    row = a_scene(opened, None, trained)
    with Queue(opened) as running:
        film = {"width": 64, "height": 48, "seconds": 0.25, "fps": 8.0}
        job = jobs.add(opened.db, row.id, row.person, "film", film)
        bad = jobs.add(opened.db, row.id, row.person, "film", {"path": "saved"})
        running.wake()
        wait_for(lambda: len(told) == 2)
    assert told == ["done", "failed"]
    made = jobs.job_of(opened.db, job.id)
    assert (made.state, made.fraction, made.result["files"]) == ("done", 1.0, [f"films/{job.id}.mp4"])
    assert film_facts(places(opened, row).films / f"{job.id}.mp4")["frames"] == 2
    assert "no camera path is saved" in jobs.job_of(opened.db, bad.id).message
    ready, failed = (note["text"] for note in scenes.unread_notes(opened.db, row.person))
    assert ready == "The film of A room / of mine is ready" and " failed: no camera path" in failed


@pytest.mark.long
def test_a_training_outlives_its_server(opened: Shop, room: Path) -> None:
    """After a kill -9 of the server its job saves and leaves; the next one goes on from there."""
    row = a_scene(opened, room)
    folder, home = places(opened, row).scene, places(opened, row).home
    job = jobs.add(opened.db, row.id, row.person, "train", {"time": 3600.0})

    def trains() -> bool:
        found = jobs.job_of(opened.db, job.id)
        assert found.state in ("waiting", "running"), found
        return found.stage == "training" and found.fraction > 0

    with subprocess.Popen([sys.executable, "-c", SERVER, str(opened.data)]) as killed:
        try:
            wait_for(trains)
        finally:
            killed.kill()
    # Nobody tells the process anything any more.
    wait_for(lambda: holder_of(home, jobs.lock_of(job.id)) is None)
    first = scene_folder.read_figures(folder)
    left = jobs.job_of(opened.db, job.id)
    assert first.steps > 0 and not first.finished and (left.state, left.tries) == ("running", 0)

    with Queue(opened):
        jobs.tell(opened.db, job.id, "waiting", 0.0)
        wait_for(trains)
    second = scene_folder.read_figures(folder)  # a server that ends by itself waits for its jobs
    assert second.steps > first.steps and state_of(opened, job) == "waiting"

    with Queue(opened):
        jobs.tell(opened.db, job.id, "waiting", 0.0)
        wait_for(trains)
        jobs.ask(opened.db, job.id, "pause")
        wait_for(lambda: state_of(opened, job) == "paused")
    paused = jobs.job_of(opened.db, job.id)
    assert scene_folder.read_figures(folder).steps > second.steps and paused.tries == 1
    assert not (folder / "report.html").exists()


def test_a_job_that_is_removed_as_it_ends_is_in_nobodys_way(opened: Shop) -> None:
    row = a_scene(opened)
    idle = Queue(opened)
    gone = jobs.add(opened.db, row.id, row.person, "film", {})
    assert jobs.begin_next(opened.db, "here")
    with subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE) as process:
        process.wait()
        idle._processes[gone.id] = process
        idle._orphans = {gone.id: float("inf")}
        jobs.end(opened.db, gone.id, "done")
        jobs.remove(opened.db, gone.id)
        idle._reap()
        idle._recover()
    assert idle._processes == {} and idle._orphans == {}


def test_a_job_that_kills_its_process_is_given_up_with_a_note(opened: Shop) -> None:
    row = a_scene(opened)
    job = jobs.add(opened.db, row.id, row.person, "film", {})
    idle = Queue(opened)
    for _ in range(jobs.MOST_TRIES):
        jobs.begin_next(opened.db, "here")
        idle._after(job.id, -signal.SIGKILL)
    assert state_of(opened, job) == "failed"
    (noted,) = scenes.unread_notes(opened.db, row.person)
    assert "SIGKILL" in noted["text"] and "memory" in noted["text"]


def test_a_full_disk_pauses_the_queue(tmp_path: Path, opened: Shop) -> None:
    full = a_shop(tmp_path / "full", spare="1000000TB")
    row = a_scene(full)
    job = jobs.add(full.db, row.id, row.person, "film", {})
    Queue(full)._begin()
    assert state_of(full, job) == "waiting"
    row = a_scene(opened)  # a disk that is full although it seems to have room
    job = jobs.add(opened.db, row.id, row.person, "film", {})
    idle = Queue(opened)
    jobs.begin_next(opened.db, "here")
    jobs.left(opened.db, job.id, "the disk is full")
    idle._after(job.id, jobs.FULL)
    idle._begin()
    found = jobs.job_of(opened.db, job.id)
    assert (found.state, found.tries, found.message) == ("waiting", 0, "the disk is full")


def test_a_process_that_does_not_end_is_killed_before_its_job_goes_on(
    opened: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = a_scene(opened)
    job = jobs.add(opened.db, row.id, row.person, "film", {})
    jobs.begin_next(opened.db, "here")
    program = (
        "import sys, time; from pathlib import Path; from nerfscene.scene.folder_lock import only_one\n"
        f"with only_one(Path({str(places(opened, row).home)!r}), {jobs.lock_of(job.id)!r}): time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as stuck:
        wait_for(lambda: holder_of(places(opened, row).home, jobs.lock_of(job.id)) == stuck.pid)
        idle = Queue(opened)
        idle._recover()
        assert state_of(opened, job) == "running"
        monkeypatch.setattr(queue, "ORPHANED", 0.0)
        idle._orphans = None
        idle._recover()
        assert stuck.wait() == -signal.SIGKILL
    wait_for(lambda: idle._recover() or not idle._orphans)
    assert state_of(opened, job) == "waiting"


def test_one_server_a_folder(tmp_path: Path) -> None:
    with (
        only_one(tmp_path, server.LOCK, "serving"),
        pytest.raises(NerfsceneError, match=f"process {os.getpid()} is serving"),
    ):
        server.serve(tmp_path, ServeConfig(port=0), lambda links: None)


@pytest.fixture
def deaf(opened: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """The line of a job in this process, without a server; its job is begun."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(Line, "_listen", lambda line: None)
    monkeypatch.setattr(line, "TELL_EVERY", 0.01)
    row = a_scene(opened)
    job = jobs.add(opened.db, row.id, row.person, "film", {})
    jobs.begin_next(opened.db, "here")
    yield Line(opened.db, job.id, float("inf"), lambda: None)
    for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("wanted", ["pause", "stop"])
def test_work_is_interrupted_as_its_owner_asks(opened: Shop, deaf: Line, wanted: str) -> None:
    with pytest.raises(KeyboardInterrupt), deaf:
        jobs.ask(opened.db, deaf.job, wanted)  # type: ignore[arg-type]
        time.sleep(300)
    assert deaf.wanted == wanted


def test_work_is_interrupted_when_it_takes_too_long_or_is_to_leave(deaf: Line) -> None:
    with pytest.raises(KeyboardInterrupt), deaf:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(300)
    assert deaf.wanted == "leave"
    late = Line(deaf.db, deaf.job, 0.0, lambda: None)
    with pytest.raises(KeyboardInterrupt), late:
        time.sleep(300)
    assert late.wanted == "too long"


def test_what_the_interrupted_work_saves_is_not_interrupted(opened: Shop, deaf: Line) -> None:
    """Not by another wish, and not by Ctrl-C either."""
    saved = threading.Event()
    with pytest.raises(KeyboardInterrupt), deaf:
        jobs.ask(opened.db, deaf.job, "pause")
        try:
            time.sleep(300)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            wait_for(lambda: deaf.wanted == "leave")
            saved.set()
    assert saved.is_set() and deaf.interrupted


def test_a_stop_that_the_work_hears_itself_doesnt_interrupt_it(opened: Shop, deaf: Line) -> None:
    heard = threading.Event()
    deaf.stopped = heard.set
    with deaf:
        jobs.ask(opened.db, deaf.job, "stop")
        assert heard.wait(300)
        deaf.progress("measuring", 0.5)
        wait_for(lambda: jobs.job_of(opened.db, deaf.job).stage == "measuring")


def test_work_that_doesnt_hear_is_ended(opened: Shop, deaf: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "SOON", 0.0)
    ended = threading.Event()
    deaf.at_worst = ended.set
    with deaf:
        jobs.ask(opened.db, deaf.job, "stop")
        while not ended.is_set():
            try:
                ended.wait(300)
            except KeyboardInterrupt:
                continue
