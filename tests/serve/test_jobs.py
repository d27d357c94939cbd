"""The table of jobs: whose turn it is, and what becomes of a job."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from job_cases import a_person, a_scene, a_shop, state_of

from nerfscene.errors import NerfsceneError
from nerfscene.serve import jobs, scenes
from nerfscene.serve.jobs import Job
from nerfscene.serve.shop import Shop, queue_pause


@pytest.fixture
def opened(tmp_path: Path) -> Shop:
    return a_shop(tmp_path)


def add(opened: Shop, person: str, kind: jobs.Kind = "film") -> Job:
    scene = scenes.new_scene(opened.db, opened.data, person, "one", {})
    return jobs.add(opened.db, scene.id, person, kind, {})


def next_person(opened: Shop) -> str:
    job = jobs.begin_next(opened.db, "here")
    assert job is not None
    jobs.end(opened.db, job.id, "done")
    return job.person


def test_people_take_turns_however_much_one_asks(opened: Shop) -> None:
    busy, other = a_person(opened), a_person(opened, "other")
    for _ in range(4):
        add(opened, busy)
    assert next_person(opened) == busy
    for _ in range(2):
        add(opened, other)
    assert [next_person(opened) for _ in range(5)] == [other, busy, other, busy, busy]
    assert jobs.begin_next(opened.db, "here") is None


def test_the_order_that_is_told_is_the_one_in_which_jobs_begin(opened: Shop) -> None:
    for name in ("", "b", "c"):
        person = a_person(opened, name)
        for _ in range(3):
            add(opened, person)
    told = [job.id for job in jobs.waiting(opened.db)]
    begun = []
    while job := jobs.begin_next(opened.db, "here"):
        begun.append(job.id)
        jobs.end(opened.db, job.id, "done")
    assert told == begun


def test_who_has_nothing_running_goes_first(opened: Shop) -> None:
    first, second = a_person(opened), a_person(opened, "second")
    add(opened, first)
    jobs.begin_next(opened.db, "here")
    add(opened, second)
    jobs.begin_next(opened.db, "here")
    jobs.end(opened.db, next(j for j in jobs.running(opened.db) if j.person == second).id, "done")
    for person in (first, second):
        add(opened, person)
    assert next_person(opened) == second  # although the first one's last job began longer ago


def test_nobody_waits_for_ever(opened: Shop) -> None:
    """Two people who always have jobs don't keep a third one from a turn, even with one of hers running."""
    steady = [a_person(opened, name) for name in ("a", "b")]
    third = a_person(opened)
    add(opened, third)
    running = jobs.begin_next(opened.db, "here")
    assert running is not None
    add(opened, third)
    for person in steady * 3:
        add(opened, person)
    jobs.end(opened.db, running.id, "done")
    assert third in [next_person(opened) for _ in range(3)]


def test_a_second_job_that_writes_a_scene_waits_and_others_pass_it(opened: Shop) -> None:
    row, other = a_scene(opened), a_scene(opened)
    training = jobs.add(opened.db, row.id, row.person, "train", {})
    assert jobs.begin_next(opened.db, "here") == jobs.job_of(opened.db, training.id)
    page = jobs.add(opened.db, row.id, row.person, "page", {})
    film = jobs.add(opened.db, row.id, row.person, "film", {})
    elsewhere = jobs.add(opened.db, other.id, other.person, "page", {})
    begun = [jobs.begin_next(opened.db, "here") for _ in range(3)]
    assert [job and job.id for job in begun] == [film.id, elsewhere.id, None]
    jobs.end(opened.db, training.id, "done")
    after = jobs.begin_next(opened.db, "here")
    assert after is not None and after.id == page.id


def test_a_scene_in_the_bin_has_its_jobs_wait(opened: Shop) -> None:
    row = a_scene(opened)
    training = jobs.add(opened.db, row.id, row.person, "train", {})
    jobs.begin_next(opened.db, "here")
    assert jobs.tell(opened.db, training.id, "training", 0.5) == ""
    scenes.delete(opened.db, row.id)
    assert jobs.tell(opened.db, training.id, "training", 0.5) == "leave"
    jobs.left(opened.db, training.id)
    jobs.back_in_queue(opened.db, training.id)
    assert jobs.begin_next(opened.db, "here") is None and jobs.waiting(opened.db) == []
    scenes.restore(opened.db, row.id)
    again = jobs.begin_next(opened.db, "here")
    assert again is not None and again.tries == 1


def test_a_job_whose_process_dies_is_tried_again_and_then_given_up(opened: Shop) -> None:
    job = add(opened, a_person(opened))
    for _ in range(jobs.MOST_TRIES):
        assert jobs.begin_next(opened.db, "here") is not None
        jobs.back_in_queue(opened.db, job.id, "its process ended")
    ended = jobs.job_of(opened.db, job.id)
    assert (ended.state, ended.message) == ("failed", "its process ended") and ended.ended


def test_leaving_on_purpose_is_no_try(opened: Shop) -> None:
    job = add(opened, a_person(opened))
    for _ in range(jobs.MOST_TRIES + 2):
        assert jobs.begin_next(opened.db, "here") is not None
        jobs.left(opened.db, job.id, "no room")
        jobs.back_in_queue(opened.db, job.id)
    assert jobs.job_of(opened.db, job.id).state == "waiting"
    assert jobs.job_of(opened.db, job.id).message == "no room"


@pytest.mark.parametrize(("wanted", "state"), [("stop", "stopped"), ("pause", "paused")])
def test_what_was_asked_of_a_job_whose_process_died_is_done(opened: Shop, wanted: str, state: str) -> None:
    job = add(opened, a_person(opened))
    jobs.begin_next(opened.db, "here")
    jobs.ask(opened.db, job.id, wanted)  # type: ignore[arg-type]
    jobs.back_in_queue(opened.db, job.id)
    assert state_of(opened, job) == state


def test_only_what_has_ended_can_be_removed(opened: Shop) -> None:
    job = add(opened, a_person(opened))
    with pytest.raises(NerfsceneError, match="under way"):
        jobs.remove(opened.db, job.id)
    jobs.ask(opened.db, job.id, "stop")
    assert jobs.remove(opened.db, job.id).id == job.id
    with pytest.raises(NerfsceneError, match="no such job"):
        jobs.job_of(opened.db, job.id)


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    assert queue_pause(a_shop(tmp_path / "a")) == ""
    assert "disk is full" in queue_pause(a_shop(tmp_path / "b", spare="1000000TB"))


def test_a_second_press_asks_for_nothing_more(opened: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    person = a_person(opened)
    scene = scenes.new_scene(opened.db, opened.data, person, "one", {}).id
    now = time.time()
    monkeypatch.setattr("nerfscene.serve.jobs.time.time", lambda: now)
    for kind in ("train", "film"):
        first = jobs.add(opened.db, scene, person, kind, {"seconds": 3})
        assert jobs.add(opened.db, scene, person, kind, {"seconds": 3}).id == first.id
    assert jobs.add(opened.db, scene, person, "film", {"seconds": 4}).id != first.id
    # Whoever asks later, or again after it has ended, wants another one.
    jobs.ask(opened.db, first.id, "stop")
    second = jobs.add(opened.db, scene, person, "film", {"seconds": 3})
    assert second.id != first.id
    now += jobs.TWICE + 1
    assert jobs.add(opened.db, scene, person, "film", {"seconds": 3}).id != second.id
    with pytest.raises(jobs.NotNow):
        jobs.add(opened.db, scene, person, "train", {"seconds": 3})
