"""Begins a function in a process of its own somewhere in the cluster, and follows it."""

from __future__ import annotations

import contextlib
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from nerfscene import __version__
from nerfscene.clusters.connecting import Needs
from nerfscene.clusters.desk import ANSWER, LEASE, Desk, Line
from nerfscene.errors import NerfsceneError

START = 180.0  # seconds for the first call to the desk, whose process must start
MOST_TRIES = 5  # of work whose machine or process dies
State = Literal["done", "failed", "stopped", "lost"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended. value: what its function returned, for "done"; a sentence on why, for the others.

    "stopped": the function raised KeyboardInterrupt, as Ctrl-C does, when it saw that this was wanted.
    "lost": its process or machine died, and nobody has said that it failed.
    """

    state: State
    value: Any


@dataclass(frozen=True)
class News:
    """What was heard of a run. report: the newest, {} if there is none yet; lines: (kind, text) since last
    time; outcome: None while it is under way."""

    report: dict[str, Any]
    lines: list[tuple[str, str]]
    outcome: Outcome | None


class Office:
    """Gives out runs and hears of them; made once in a process that has joined a cluster."""

    def __init__(self) -> None:
        self.desk = _new_desk()

    def begin(self, function: Callable[..., Any], arguments: tuple[Any, ...], needs: Needs) -> Run:
        """Has ``function(line, *arguments)`` called on a machine that has what it needs.

        The process is the run's alone, and ends with it. Raises NerfsceneError if the cluster doesn't answer.
        """
        import ray
        from ray.exceptions import GetTimeoutError, RayError

        name = uuid.uuid4().hex
        for left in reversed(range(MOST_TRIES)):
            try:  # before the worker calls, which leaves if nobody knows its work
                ray.get(self.desk.open.remote(name), timeout=START)
                break
            except (RayError, ConnectionError) as error:
                if not left or isinstance(error, GetTimeoutError):
                    raise NerfsceneError(
                        f"the cluster begins no process ({_short(error)}); `ray status` on its head says "
                        "what it does"
                    ) from error
                self.desk = _new_desk()  # its machine died, which Ray may notice late
        once = ray.remote(num_cpus=needs.cpus, num_gpus=needs.gpus, max_retries=0, max_calls=1)
        task = once(_work).options(name="nerfscene")
        return Run(self.desk, name, task.remote(self.desk, name, __version__, function, arguments))


def _new_desk() -> Any:
    """A desk on this machine if that is part of the cluster."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    near = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(Desk).options(num_cpus=0, scheduling_strategy=near).remote()


class Run:
    """A function under way."""

    def __init__(self, desk: Any, name: str, result: Any) -> None:
        self.desk, self.name, self.result = desk, name, result
        self._answered = time.monotonic()

    def hear(self, wanted: str = "") -> News:
        """What is new. wanted: what the function is to do, such as "stop"; it hears that within a second.

        To be called at least every few seconds: a worker whose owner is silent for LEASE seconds leaves.
        """
        import ray
        from ray.exceptions import GetTimeoutError, RayError

        try:
            ended, _ = ray.wait([self.result], timeout=0)
            report, lines = ray.get(self.desk.hear.remote(self.name, wanted), timeout=ANSWER)
            self._answered = time.monotonic()
        except (RayError, ConnectionError) as error:
            if isinstance(error, GetTimeoutError) and time.monotonic() - self._answered < LEASE:
                return News({}, [], None)  # a busy machine
            self.give_up()
            return News({}, [], Outcome("lost", f"the cluster doesn't answer ({_short(error)})"))
        if not ended:
            return News(report, lines, None)
        with contextlib.suppress(RayError):
            self.desk.close.remote(self.name)
        return News(report, lines, _outcome(self.result))

    def give_up(self) -> None:
        """Ends the process, wherever it is, without letting it save; it can't report any more."""
        import ray

        with contextlib.suppress(Exception):  # what can't be reached leaves by itself
            self.desk.close.remote(self.name)
            ray.cancel(self.result, force=True)


def _work(
    desk: Any, name: str, version: str, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> Outcome:
    """What runs on the worker."""
    if version != __version__:
        return Outcome(
            "failed",
            f"a machine of the cluster has nerfscene {__version__}, not {version}; install the same on all",
        )
    with Line(desk, name) as line:
        try:
            return Outcome("done", function(line, *arguments))
        except NerfsceneError as error:
            return Outcome("failed", str(error))
        except KeyboardInterrupt:
            return Outcome("stopped", "")
        except Exception as error:  # a bug: its traceback helps whoever is told of it
            line.say("warning", traceback.format_exc().rstrip())
            return Outcome(
                "failed", f"it failed ({type(error).__name__}: {_short(error)}); please report this"
            )


def _outcome(result: Any) -> Outcome:
    import ray
    from ray.exceptions import RayError, RayTaskError, TaskUnschedulableError

    try:
        outcome: Outcome = ray.get(result)
        return outcome
    except (RayTaskError, TaskUnschedulableError) as error:  # not even begun
        return Outcome(
            "failed",
            f"a machine of the cluster could not begin the work ({_short(error)}); install nerfscene "
            f"{__version__} on all of them",
        )
    except (RayError, ConnectionError) as error:
        return Outcome("lost", _short(error))


def _short(error: BaseException) -> str:
    """The last line of an error, which says the most of Ray's."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200].rstrip(".")
