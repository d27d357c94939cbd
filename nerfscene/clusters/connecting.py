"""Joins a Ray cluster, or starts one on this machine.

Each machine of a cluster has nerfscene installed, and sees the files at the same paths as this one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nerfscene.errors import NerfsceneError

CORES = 2  # of a piece of work that doesn't say how many threads it wants


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process has joined. address: as ``connected`` got it."""

    address: str

    def machines(self) -> list[dict[str, float]]:
        """The resources of each machine that answers, such as {"CPU": 8.0, "GPU": 1.0}."""
        import ray

        return [node["Resources"] for node in ray.nodes() if node["Alive"]]

    def needs(self, threads: int, gpu: bool) -> Needs:
        """What a piece of work asks for. threads: of its settings, 0 for CORES; gpu: whether it can use one.

        Never more than the largest machine has, or the work would wait for ever.
        """
        machines = self.machines()
        if gpu:
            with_gpu = [m for m in machines if m.get("GPU", 0) >= 1]
            gpu, machines = bool(with_gpu), with_gpu or machines
        largest = max((int(m.get("CPU", 0)) for m in machines), default=0)
        return Needs(max(1, min(threads or CORES, largest)), int(gpu))

    def room(self, needs: Needs) -> int:
        """How many such pieces of work can be done at the same time, at least 1."""
        found = 0
        for machine in self.machines():
            most = int(machine.get("CPU", 0)) // needs.cpus
            found += min(most, int(machine.get("GPU", 0))) if needs.gpus else most
        return max(found, 1)


@dataclass(frozen=True)
class Needs:
    """What a piece of work takes of a machine: processor cores, which are its threads too, and GPUs."""

    cpus: int
    gpus: int


@contextlib.contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Joins the cluster at ``address`` for the block.

    address: such as ray://head:10001 or head:6379; "" or "auto" for the one that this machine is part of, or
    else one on this machine alone, which ends with the block.
    Raises NerfsceneError if Ray is not installed, nothing answers there, or it is another version.
    """
    if importlib.util.find_spec("ray") is None:
        raise NerfsceneError("work on a cluster needs Ray: pip install 'nerfscene[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anyone
    import ray

    try:
        with _own_handlers():
            ray.init(
                address=None if address in ("", "auto") else address,
                log_to_driver=False,
                logging_level="ERROR",
                **_of_a_new_one(address),
            )
    except Exception as error:  # Ray raises many kinds, some of gRPC's
        raise NerfsceneError(
            f"no Ray cluster can be used at {address or 'auto'} ({_first_line(error)}); `ray status` on its "
            "head says whether it runs; its versions of Ray and Python must be the same as here"
        ) from error
    try:
        yield Cluster(address)
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _own_handlers() -> Iterator[None]:
    """Puts this program's handlers of signals back, which Ray replaces when it begins."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # else somebody's that Python does not know
                signal.signal(number, handler)


def _of_a_new_one(address: str) -> dict[str, Any]:
    """Settings for a cluster that is started here; Ray passes over this one where it joins another."""
    return {} if address.startswith("ray://") else {"include_dashboard": False}


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200].rstrip(".") if lines else type(error).__name__
