"""Captures of the analytic scene, a scene trained on one of them, and the command line as a process."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import analytic
import pytest
from refusals import Refused, check_refusal

from nerfscene import api, cli
from nerfscene.config import TrainConfig

# A shell's background jobs ignore Ctrl-C, and the commands that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
TRAINED_STEPS = 400  # enough to leave no fog, which is slow to render
Command = Callable[..., "subprocess.CompletedProcess[str]"]
Run = Callable[..., tuple[str, str]]


# The key that films are signed with is made there: not in the folder of whoever runs the tests.
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="nerfscene-tests-config-")
os.environ.pop("NERFSCENE_CREDENTIALS_KEY", None)
atexit.register(shutil.rmtree, os.environ["XDG_CONFIG_HOME"], ignore_errors=True)


@pytest.fixture(autouse=True)
def usual_priority() -> None:
    """SVT-AV1, with which tests make videos to read, gives real-time priority to the thread that calls it."""
    if sys.platform != "linux" or os.sched_getscheduler(0) not in (os.SCHED_FIFO, os.SCHED_RR):
        return
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # it has ended
            os.sched_setscheduler(int(thread), os.SCHED_OTHER, os.sched_param(0))


# The test files that take longest in make test, the longest first. They are begun first, so that when two
# processes share the suite none of them is left with a long one at the end.
FIRST = (
    "test_viewer",
    "test_cuda_build",
    "test_cuda",
    "test_page_in_browser",
    "test_phone_captures",
    "test_end_to_end",
    "test_poses",
    "test_checks",
    "test_pages_browser",
    "test_uploads",
    "test_examples",
    "test_queue",
    "test_manners",
    "test_plain_upload",
    "test_torture",
    "test_rigs",
    "test_path_editor",
    "test_refinement",
    "test_intake",
    "test_exposure",
    "test_ladder",
    "test_viewers",
    "test_triangulation",
    "test_tcnn_backend",
    "test_fuzz",
    "test_client",
    "test_proxy",
    "test_pages_scene",
    "test_wheel",
    "test_masks_in_training",
    "test_fitted_splats",
    "test_set_while_training",
    "test_shown_exposure",
    "test_large_frames",
    "test_lenses",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of long files first; the others keep their order."""
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))


LEFT_OUT = pytest.StashKey[int]()  # the number of tests that are marked long and that this run leaves out


def pytest_deselected(items: list[pytest.Item]) -> None:
    if items and items[0].config.option.markexpr == "not long":
        stash = items[0].config.stash
        stash[LEFT_OUT] = stash.get(LEFT_OUT, 0) + sum("long" in item.keywords for item in items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # one of several processes: only it has collected tests
        session.config.workeroutput["left out"] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """All processes collect the same tests, and leave out the same."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left out", 0)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    count = config.stash.get(LEFT_OUT, 0)
    if count:
        terminalreporter.write_line(f"{count} long tests were left out: `make test-all` runs them too")


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unbounded capture: 24 RGB photos of 64×48 and a transforms.json."""
    return analytic.write_room(tmp_path_factory.mktemp("room"))


@pytest.fixture(scope="session")
def small_room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with 9 photos of 32×24, for short trainings: these leave fog, which is slow to render."""
    return analytic.write_room(tmp_path_factory.mktemp("small_room"), 9, (32, 24))


@pytest.fixture(scope="session")
def cut_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bounded capture in NeRF-synthetic's layout: 18 RGBA photos of 80×80 and 3 to test with."""
    return analytic.write_object(tmp_path_factory.mktemp("object"))


@pytest.fixture(scope="session")
def trained(room: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene trained on ``room`` for ``TRAINED_STEPS``. Read it, don't write to it.

    By one thread, so that a machine makes the same one each time.
    """
    folder = tmp_path_factory.mktemp("trained") / "scene"
    api.train(room, folder, TrainConfig(steps=TRAINED_STEPS, threads=1), analytic.SMALL)
    return folder


@pytest.fixture(scope="session")
def command() -> Command:
    """Runs ``nerfscene`` with some arguments, as a process of its own."""
    return run_command


def run_command(
    *arguments: object, timeout: float = 1200, **options: object
) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "nerfscene.cli", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        words, capture_output=True, text=True, timeout=timeout, env=environment, check=False, **options
    )  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs ``nerfscene`` within this process; returns what it wrote to (stdout, stderr)."""

    def run_main(*arguments: object) -> tuple[str, str]:
        capfd.readouterr()
        cli.main([str(a) for a in arguments])
        said = capfd.readouterr()
        return said.out, said.err

    return run_main


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]) -> Refused:
    """Runs ``nerfscene`` in this process; checks that it refuses, and returns its one sentence."""

    def run(*arguments: object, quiet: bool = True) -> str:
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main([*map(str, arguments), *(["--json"] if quiet else [])])
        said = capfd.readouterr()
        check_refusal(left.value.code, said.out, said.err, quiet)
        return said.err.splitlines()[-1]

    return run


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of data sets that don't come with the source. Tests that need it are skipped without it."""
    folder = Path(os.environ.get("NERFSCENE_DATA", ROOT.parent / "shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets in {folder} (NERFSCENE_DATA says where else)")
    return folder
