"""A job's process reports to the database, and a process that was taken for dead changes nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from nerfscene.config import ServeConfig
from nerfscene.serve import jobs
from nerfscene.serve.database import Database
from nerfscene.serve.jobs import Job
from nerfscene.serve.reporting import DatabaseReporter, NotOurs
from nerfscene.serve.scenes import new_scene
from nerfscene.serve.shop import opened


@pytest.fixture
def db(tmp_path: Path) -> Database:
    """A server's database with one person and one job, which waits."""
    shop = opened(tmp_path / "data", ServeConfig())
    with shop.db.change() as c:
        c.execute("insert into people (id, name, role, key_hash, created) values ('p', 'P', 'owner', 'x', 0)")
    scene = new_scene(shop.db, shop.data, "p", "A scene", {})
    jobs.add(shop.db, scene.id, "p", "train", {})
    return shop.db


def begun(db: Database) -> Job:
    job = jobs.begin_next(db, "here")
    assert job is not None
    time.sleep(0.001)  # the next begins later
    return job


def test_progress_goes_one_way_and_wishes_the_other(db: Database) -> None:
    job = begun(db)
    reporter = DatabaseReporter(db, job)
    assert reporter.tell("training", 0.25, 30.0) == ""
    found = jobs.job_of(db, job.id)
    assert (found.stage, found.fraction, found.remaining) == ("training", 0.25, 30.0)
    jobs.ask(db, job.id, "pause")
    assert reporter.tell("training", 0.5) == "pause"
    reporter.end("paused", result={"files": ["a"]})
    found = jobs.job_of(db, job.id)
    assert (found.state, found.result, found.wanted, found.remaining) == (
        "paused",
        {"files": ["a"]},
        "",
        None,
    )


def test_what_was_made_is_kept_when_nothing_new_is_said(db: Database) -> None:
    job = begun(db)
    DatabaseReporter(db, job).end("paused", result={"files": ["a"]})
    jobs.go_on(db, job.id)
    DatabaseReporter(db, begun(db)).end("stopped", "enough")
    found = jobs.job_of(db, job.id)
    assert (found.state, found.message, found.result) == ("stopped", "enough", {"files": ["a"]})


def test_a_process_taken_for_dead_finds_out_and_changes_nothing(db: Database) -> None:
    lost = DatabaseReporter(db, begun(db))
    jobs.back_in_queue(db, lost.job.id)
    with pytest.raises(NotOurs):  # it waits, for another
        lost.tell("training", 0.9)
    other = DatabaseReporter(db, begun(db))
    assert other.tell("training", 0.1) == ""
    for said in (lambda: lost.tell("training", 0.9), lambda: lost.end("failed", "wrong")):
        with pytest.raises(NotOurs):
            said()
    found = jobs.job_of(db, lost.job.id)
    assert (found.state, found.fraction, found.message) == ("running", 0.1, "")
    other.end("done")
    with pytest.raises(NotOurs):
        lost.end("failed", "wrong")
    assert jobs.job_of(db, lost.job.id).state == "done"


def test_the_same_place_twice_is_still_another_run(db: Database) -> None:
    first = DatabaseReporter(db, begun(db))
    first.end("paused")
    jobs.go_on(db, first.job.id)  # counts its tries from 0 again
    again = begun(db)
    assert (again.tries, again.place) == (first.job.tries, first.job.place)
    with pytest.raises(NotOurs):
        first.tell("training", 0.9)
