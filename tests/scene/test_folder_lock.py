"""Two trainings into one folder: the second is told at once, and a killed one is in nobody's way."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

from nerfscene.errors import NerfsceneError
from nerfscene.scene.folder_lock import LOCK_FILE, only_one

HOLDS = """
import sys, time
from pathlib import Path
from nerfscene.scene.folder_lock import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""
NOBODY = 2**22 + 1  # more than any process's number


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that trains in ``tmp_path``."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        yield child
        child.kill()


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_the_second_process_is_told(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    for _ in range(2):
        with (
            pytest.raises(NerfsceneError, match=f"process {other.pid} is training in .*-o$"),
            only_one(tmp_path),
        ):
            pass
    assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == other.pid


def test_a_killed_one_is_in_nobody_s_way(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (tmp_path / LOCK_FILE).exists()
    with only_one(tmp_path):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_a_second_thread_is_told(tmp_path: Path) -> None:
    told: list[str] = []

    def second() -> None:
        try:
            with only_one(tmp_path / "." / ""):
                pass
        except NerfsceneError as error:
            told.append(str(error))

    with only_one(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(told) == 1 and f"process {os.getpid()} is training" in told[0]
    with only_one(tmp_path):
        pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, NerfsceneError])
def test_failures_give_the_folder_back(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), only_one(tmp_path):
        raise error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1e400}', "\0" * 40, '{"pid": 0, "host": ""}']
)
@pytest.mark.usefixtures("no_flock")
def test_a_lock_file_that_names_nobody_is_left_over(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK_FILE).write_text(content)
    with only_one(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_flock")
def test_without_locks_the_process_named_counts(tmp_path: Path) -> None:
    def named(pid: int, host: str) -> None:
        (tmp_path / LOCK_FILE).write_text(json.dumps({"pid": pid, "host": host}))

    named(os.getppid(), socket.gethostname())
    with pytest.raises(NerfsceneError, match=f"process {os.getppid()} is training"), only_one(tmp_path):
        pass
    named(NOBODY, "another-machine")
    with pytest.raises(NerfsceneError, match=f"on another-machine.*delete .*{LOCK_FILE}"), only_one(tmp_path):
        pass
    named(NOBODY, socket.gethostname())
    with only_one(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(NerfsceneError, match="can't be written"), only_one(tmp_path / "gone"):
        pass
