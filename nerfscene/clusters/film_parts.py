"""Renders the frames of a film on the machines of a cluster, a few of them at a time.

A part is frames that follow one another. One whose process or machine dies is rendered again by Ray itself,
which is safe because a part changes nothing. The pictures come back through Ray's object store, exact, so the
film is the one that this machine would have made alone.
"""

from __future__ import annotations

import contextlib
import functools
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.clusters.connecting import Cluster
from nerfscene.clusters.runs import MOST_TRIES
from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import Renderer
from nerfscene.films.filming import Frame, Rendered, as_filmed, film_renderer, rendered
from nerfscene.films.frames import film_digest
from nerfscene.films.paths import CameraPath
from nerfscene.films.shutter import Shutter
from nerfscene.films.taking import shutter_for
from nerfscene.scene import folder as scenes
from nerfscene.scene.folder import Scene

PART_BYTES = 1 << 26  # of the pictures of one part; one frame may always be more
PIXEL, PASSES_PIXEL = 8, 20  # bytes: its colour and its depth; and those of its passes
LONGEST_PART = 24  # frames
PARTS_EACH = 4  # at least so many parts for each worker, so that none waits long for the slowest


def on_cluster(
    cluster: Cluster, folder: Path, scene: Scene, config: RenderConfig
) -> Callable[[CameraPath], Rendered]:
    """What ``render_film`` takes as ``elsewhere``.

    folder: of the scene, at the same path on all machines. scene: the same, loaded.
    """
    gpu = config.backend in ("auto", "cuda")
    needs = cluster.needs(config.threads, gpu)
    config = replace(config, threads=needs.cpus)
    room = cluster.room(needs)

    def begin(path: CameraPath) -> Rendered:
        import ray

        pixel = PIXEL + (PASSES_PIXEL if config.passes else 0)
        digest = film_digest(as_filmed(scene, path, config), path, config)
        shared = ray.put((folder.resolve(), path, config, digest))
        task = ray.remote(_part).options(
            num_cpus=needs.cpus, num_gpus=needs.gpus, max_retries=MOST_TRIES, name="nerfscene frames"
        )
        return functools.partial(_coming, functools.partial(task.remote, shared), path, room, pixel)

    return begin


def parts_of(numbers: Sequence[int], bytes_each: int, room: int) -> list[list[int]]:
    """The numbers in parts, in order. bytes_each: of a frame; room: how many parts are rendered at once."""
    size = min(LONGEST_PART, PART_BYTES // max(bytes_each, 1), -(-len(numbers) // (PARTS_EACH * room)))
    size = max(size, 1)
    return [list(numbers[i : i + size]) for i in range(0, len(numbers), size)]


def _coming(
    begin: Callable[[list[int]], Any], path: CameraPath, room: int, pixel: int, numbers: Sequence[int]
) -> Iterator[Frame]:
    """The frames in the order of ``numbers``; pixel: bytes that each of their pixels has.

    Only a few parts are begun ahead: all would fill memory.
    """
    import ray

    most = max((c.intrinsics.width * c.intrinsics.height * pixel for c in path.cameras), default=1)
    parts = deque(parts_of(numbers, most, room))
    begun: deque[Any] = deque()
    try:
        while parts or begun:
            while parts and len(begun) < 2 * room:
                begun.append(begin(parts.popleft()))
            yield from _got(begun[0])
            begun.popleft()
    finally:
        for part in begun:
            with contextlib.suppress(Exception):  # what can't be reached ends by itself
                ray.cancel(part, force=True)


def _got(part: Any) -> list[Frame]:
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        frames: list[Frame] = ray.get(part)
        return frames
    except RayTaskError as error:
        if isinstance(error.cause, NerfsceneError):
            raise NerfsceneError(str(error.cause)) from None
        raise NerfsceneError(
            f"a machine of the cluster could not render its part ({type(error.cause).__name__}: "
            f"{error.cause}); install the same nerfscene on all machines"
        ) from error
    except RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise NerfsceneError(
            f"a part of the film was begun {MOST_TRIES + 1} times, and its process or machine died each time "
            f"({lines[0][:200] if lines else type(error).__name__}); look at memory and `ray status`"
        ) from error


_kept: dict[str, tuple[Scene, Renderer, Shutter]] = {}  # of a worker: the scene of its last part


def _part(shared: tuple[Path, CameraPath, RenderConfig, str], numbers: list[int]) -> list[Frame]:
    """What runs on a worker, which keeps the scene for its next part."""
    folder, path, config, digest = shared
    if digest not in _kept:
        _kept.clear()
        _kept[digest] = _loaded(folder, path, config, digest)
    scene, renderer, shutter = _kept[digest]
    frames = rendered(scene, path, config, renderer, numbers, shutter)
    return [(p, d if config.depth else np.zeros(0, np.float32), passes) for p, d, passes in frames]


def _loaded(
    folder: Path, path: CameraPath, config: RenderConfig, digest: str
) -> tuple[Scene, Renderer, Shutter]:
    """The scene, its renderer and the film's shutter.

    Raises NerfsceneError if it isn't the scene that is to be filmed.
    """
    if not scenes.is_scene(folder):
        raise NerfsceneError(
            f"the machine {socket.gethostname()} doesn't see {folder}; share the folder with all machines of "
            "the cluster, at the same path"
        )
    scene = as_filmed(scenes.load(folder), path, config)
    if film_digest(scene, path, config) != digest:
        raise NerfsceneError(f"{folder} changed while it was being filmed; film it again")
    renderer = film_renderer(scene, path, config)
    return scene, renderer, shutter_for(scene, path, config, renderer)
