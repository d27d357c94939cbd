"""A folder of a film's frames, and going on with it after the film was stopped or killed.

Until the film is finished, ``.unfinished.json`` in the folder says of which film the pictures are. Each
picture gets its name once it is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films import video
from nerfscene.films.light import sees_through
from nerfscene.films.passes import Passes, pass_file, passes_of, write_pass
from nerfscene.films.paths import CameraPath
from nerfscene.films.pulling import times_of, tracks_of
from nerfscene.scene.atomic import LEFTOVER, remove_leftovers, write_json
from nerfscene.scene.folder import Scene
from nerfscene.types import Array

UNFINISHED = ".unfinished.json"
Write = Callable[..., None]  # as Frames.write
MOST_WRITERS = 8
NONE: Passes = MappingProxyType({})
WAITING_BYTES = 1 << 27  # of frames that wait to be written; one may always wait


@dataclass(frozen=True)
class Frames:
    """The frames of one film in ``folder``.

    count: their number when all are there. limits: (near, far) of the film's depths, world units. depth:
    whether the film has depth pictures. there: numbers of those that were there when the folder was opened.
    channels: of a picture: 3, or 4 with transparency. passes, passes_as: what else each frame has, see
    ``films.passes``, and as which files. xmp: what each picture's file tells viewers, an XMP document.
    """

    folder: Path
    count: int
    limits: tuple[float, float]
    depth: bool
    there: frozenset[int] = frozenset()
    channels: int = 3
    passes: tuple[str, ...] = ()
    passes_as: str = "exr"
    xmp: str | None = None

    @property
    def unit(self) -> float:
        """World units in a step of the depth pictures: 16 bits reach four times as far as the colours."""
        return 4 * self.limits[1] / 65535

    def write(
        self, number: int, picture: NDArray[np.uint8], depth: NDArray[np.float32], passes: Passes = NONE
    ) -> None:
        """Writes a frame: its picture (height, width, channels), its depth (height, width) in world units,
        and its passes.

        Raises NerfsceneError when the disk is full or the folder can't be written.
        """
        if self.depth:
            video.write_depth(depth, _depth_file(self.folder, number), self.unit)
        for name, values in passes.items():
            write_pass(values, pass_file(self.folder, name, number, self.passes_as), self.unit)
        video.write_picture(picture, _picture_file(self.folder, number), self.xmp)

    def read(
        self, number: int, size: tuple[int, int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]] | None:
        """The picture and depth of a frame of ``size`` (width, height); None if it isn't there, or damaged.

        The depth is 0 if the film has none.
        """
        if number not in self.there:
            return None
        shape = (size[1], size[0])
        try:
            picture = np.asarray(Image.open(_picture_file(self.folder, number)))
            depth = np.zeros(shape, np.float32)
            if self.depth:
                steps = np.asarray(Image.open(_depth_file(self.folder, number)))
                depth = (steps * self.unit).astype(np.float32)
        except (OSError, ValueError, SyntaxError):  # what Pillow raises for broken pictures
            return None
        fits = picture.dtype == np.uint8 and picture.shape == (*shape, self.channels) and depth.shape == shape
        return (picture, depth) if fits else None

    def holds(self, number: int) -> bool:
        """Whether all files of a frame are there."""
        files = [pass_file(self.folder, name, number, self.passes_as) for name in self.passes]
        files += [_depth_file(self.folder, number)] if self.depth else []
        files.append(_picture_file(self.folder, number))
        return all(file.is_file() for file in files)

    def write_scale(self) -> None:
        """Writes the scale of 16-bit depth pictures beside them, if there are to be any."""
        if self.depth or ("depth" in self.passes and self.passes_as == "png"):
            video.write_depth_scale(self.folder, self.unit)

    def finish(self) -> None:
        """Ends the film: the folder holds its pictures alone."""
        with contextlib.suppress(OSError):
            (self.folder / UNFINISHED).unlink(missing_ok=True)


@contextlib.contextmanager
def writing_beside(frames: Frames, threads: int) -> Iterator[Write]:
    """Gives a function like ``frames.write`` that returns at once: files are written beside the rendering.

    threads: how many render; half as many write. Only a few frames wait: when writing is slower than
    rendering, the function waits too. All frames have been written when the block ends, also if it ends by
    an exception or Ctrl-C. If a frame can't be written, the function or the end of the block raises the
    NerfsceneError of the first such frame.
    """
    writers = max(1, min(threads // 2, MOST_WRITERS))
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(writers, "frames") as pool:  # its end waits for what was submitted

        def write(
            number: int, picture: NDArray[np.uint8], depth: NDArray[np.float32], passes: Passes = NONE
        ) -> None:
            size = picture.nbytes + depth.nbytes + sum(values.nbytes for values in passes.values())
            room = min(2 * writers, WAITING_BYTES // size)
            while waiting and (len(waiting) > room or waiting[0].done()):
                waiting.popleft().result()
            waiting.append(pool.submit(frames.write, number, picture, depth, passes))

        yield write
        while waiting:
            waiting.popleft().result()


def open_film_frames(
    folder: Path, film: str, count: int, limits: tuple[float, float], config: RenderConfig
) -> Frames:
    """Makes the folder for a film's frames, or opens the one in which this film was not finished.

    film: its ``film_digest``. count, limits: as in Frames; an unfinished film keeps its limits.
    Raises NerfsceneError when the folder holds anything else, or can't be made or written.
    """
    manifest, channels = folder / UNFINISHED, 4 if sees_through(config.background) else 3
    passes = passes_of(config.passes)
    frames = Frames(folder, count, limits, config.depth, frozenset(), channels, passes, config.passes_as)
    if manifest.is_file():
        try:
            begun = json.loads(manifest.read_text())
            same, limits = begun["of"] == film, (float(begun["near"]), float(begun["far"]))
        except (OSError, ValueError, TypeError, LookupError):
            same = False
        if not same:
            raise NerfsceneError(
                f"{folder} holds the frames of another film, which was not finished; delete them, or choose "
                "another folder"
            )
        remove_leftovers(folder)
        frames = replace(frames, limits=limits)
        frames.write_scale()
        return replace(frames, there=frozenset(i for i in range(count) if frames.holds(i)))
    if folder.is_dir() and all(map(LEFTOVER.fullmatch, os.listdir(folder))):
        remove_leftovers(folder)
    video.open_frames(folder)
    write_json({"of": film, "near": limits[0], "far": limits[1]}, manifest)
    frames.write_scale()
    return frames


def film_digest(scene: Scene, path: CameraPath, config: RenderConfig) -> str:
    """A digest of what the pictures of a film depend on: equal for the same scene, path and settings."""
    f = scene.field
    digest = hashlib.sha256()
    arrays = [f.table, f.weights, f.occupancy, *([] if scene.backdrop is None else [scene.backdrop])]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    cameras = [(asdict(c.intrinsics), c.world_from_cam) for c in path.cameras]
    cameras += [(asdict(v.intrinsics), v.world_from_cam) for v in scene.views]
    facts = [asdict(f.config), asdict(f.space), scene.scene_from_world, scene.background, scene.crop, cameras]
    facts += [config.samples, config.depth, sees_through(config.background)]
    facts += [config.passes, config.passes_as]
    facts += ["in a circle"] if config.lens == "fisheye" else []
    tracks = tracks_of(path, config, scene.views)
    facts += [path.loop, config.motion_blur, asdict(tracks), times_of(path)]
    if tracks.aperture:  # the subject that is in focus depends on these
        digest.update(np.ascontiguousarray(scene.points).data)
        facts.append(scene.up)
    digest.update(json.dumps(facts, default=_listed).encode())
    return digest.hexdigest()


def _listed(array: Array) -> object:
    return array.tolist()


def _picture_file(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.png"


def _depth_file(folder: Path, number: int) -> Path:
    return folder / f"depth-{number:05d}.png"
