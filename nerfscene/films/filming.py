"""Renders a scene along a camera path to a film, numbered pictures and depth pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerfscene.cameras.algebra import scaled, up_direction
from nerfscene.config import CredentialsConfig, RenderConfig
from nerfscene.credentials.facts import facts_of
from nerfscene.credentials.marking import Marker, mark, ready
from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import Renderer, render
from nerfscene.films import spherical, video
from nerfscene.films.camera_path_file import read_camera_path
from nerfscene.films.codecs import KINDS, Codec, check_encodable, warning
from nerfscene.films.frames import Frames, Write, film_digest, open_film_frames, writing_beside
from nerfscene.films.lenses import path_settings, with_lens
from nerfscene.films.light import background_color, sees_through
from nerfscene.films.passes import passes_of
from nerfscene.films.path_sources import ENDINGS
from nerfscene.films.paths import CameraPath, resample
from nerfscene.films.photo_sphere import xmp_of
from nerfscene.films.presets import PRESETS, preset, suited
from nerfscene.films.pulling import pulled, seconds_of, unrolled
from nerfscene.films.settings import codec_of, quick, settled
from nerfscene.films.shutter import in_words
from nerfscene.films.taking import Frame, as_filmed, film_renderer, rendered, shutter_for, world_points
from nerfscene.films.through import looking_at, point_to_look_at, through
from nerfscene.films.tracks import stretched
from nerfscene.films.walls import clearance_in
from nerfscene.given import path_given
from nerfscene.ops.backend import thread_count
from nerfscene.scene.folder import Scene
from nerfscene.types import Array, Camera

FRAMES_PER_SECOND, SECONDS = 30.0, 8.0
NO_LIMITS = (0.0, 1.0)  # of the depths in a film without any
LONGEST = 960  # pixels along a film's longer side if no size is given
Rendered = Callable[[Sequence[int]], Iterator[Frame]]  # as ``rendered``, of the frames with these numbers


def film_size(scene: Scene, width: int | None, height: int | None) -> tuple[int, int]:
    """The film's (width, height), pixels, both even.

    A missing side follows from the photos' aspect ratio; with neither given, the longer side is 960 pixels,
    or that of the photos if they are smaller. Raises NerfsceneError outside 16 to 8192 pixels.
    """
    k = scene.views[0].intrinsics
    aspect = k.width / k.height
    if width is None and height is None:
        longest = min(LONGEST, max(k.width, k.height))
        width = longest if aspect >= 1 else round(longest * aspect)
    if width is None:
        assert height is not None
        width = round(height * aspect)
    if height is None:
        height = round(width / aspect)
    if not (16 <= width <= 8192 and 16 <= height <= 8192):
        raise NerfsceneError(f"a film of {width}×{height} can't be made; give 16 to 8192 pixels")
    return width // 2 * 2, height // 2 * 2


def film_path(scene: Scene, config: RenderConfig) -> tuple[CameraPath, float]:
    """The camera of every frame, and the frames per second; ``config`` overrides a path's file.

    Raises NerfsceneError for settings or a path that can't be used.
    """
    config = settled(config)
    path, fps = _whole_path(scene, config)
    path = pulled(path, config, scene.views, fps)
    return quick(path, fps) if config.preview else (path, fps)


def _whole_path(scene: Scene, config: RenderConfig) -> tuple[CameraPath, float]:
    """What ``film_path`` returns, but for a preview and for what is pulled by key."""
    _refuse_together(config)
    up = up_direction(scene.views) if scene.up is None else scene.up / np.linalg.norm(scene.up)
    target, points = None, world_points(scene)
    if config.look_at is not None:
        renderer = scene.renderer(config.backend, config.threads)
        target = point_to_look_at(config.look_at, scene.views, points, scene.up, renderer)
    if config.through is None:
        path, fps = _preset_or_file(scene, path_settings(config), points)
        path = path if target is None else looking_at(path, target, up)
        return with_lens(path, as_filmed(scene, path, config), config, up, points), fps
    fps = config.fps or FRAMES_PER_SECOND
    n = max(round((config.seconds or SECONDS) * fps), 1)
    sides = path_settings(config)
    size = film_size(scene, sides.width, sides.height)
    path = through(config.through, scene.views, n, size, up, config.loop, target, points)
    return with_lens(path, scene, config, up, points), fps


def _refuse_together(config: RenderConfig) -> None:
    """Raises NerfsceneError for settings of the path that exclude each other."""
    if config.through is not None and config.path != "auto":
        raise NerfsceneError("--through makes a path of its own: leave out --path or --through")
    if config.through is not None and config.path_transform is not None:
        raise NerfsceneError("--path-transform is for paths from files; --through needs none")
    if config.loop and config.through is None:
        raise NerfsceneError("--loop is for --through: leave it out, or name photos with --through")


def _preset_or_file(scene: Scene, config: RenderConfig, points: Array) -> tuple[CameraPath, float]:
    """What ``film_path`` returns for ``config.path``; points: the sparse model's, (n, 3), world units."""
    if config.path in ("auto", *PRESETS):
        if config.path_transform is not None:
            raise NerfsceneError(f"--path-transform is for paths from files; {config.path} needs none")
        name = suited(scene.views) if config.path == "auto" else config.path
        width, height = film_size(scene, config.width, config.height)
        fps = config.fps or FRAMES_PER_SECOND
        n = max(round((config.seconds or SECONDS) * fps), 1)
        clear = None
        if name == "walkthrough":
            clear = clearance_in(scene.renderer(config.backend, config.threads))
        return preset(name, scene.views, n, width, height, points, scene.up, clear), fps
    file = path_given(config.path, "path")
    if file.suffix.lower() not in ENDINGS:
        if file.is_file():
            raise NerfsceneError(
                f"{file} is no camera path that can be read: its name must end in one of {', '.join(ENDINGS)}"
            )
        raise NerfsceneError(
            f"no camera path is called {config.path!r}; choose auto, {', '.join(PRESETS)}, or give "
            "a camera_path.json"
        )
    usual = film_size(scene, None, None)
    path = read_camera_path(file, config.width, config.height, config.path_transform, scene, usual)
    fps = config.fps or path.fps or FRAMES_PER_SECOND
    own, before, path = path.tracks, seconds_of(path), unrolled(path)
    if config.seconds is not None:
        path = resample(path, max(round(config.seconds * fps), 1))
    elif config.fps and path.fps and config.fps != path.fps:
        path = resample(path, max(round(len(path.cameras) * config.fps / path.fps), 1))
    return replace(path, tracks=stretched(own, len(path.cameras) / fps / before)), fps


def check_outputs(film: Path | None, frames: Path | None, config: RenderConfig) -> None:
    """Checks the names that a film and its frames are to have, and what is to be in them; makes nothing.

    Raises NerfsceneError when nothing can be written under one of them, none is given, the codec doesn't
    fit or is missing, or there is no such background or pass.
    """
    clear = _clear(config)
    if film is None and frames is None:
        raise NerfsceneError("nothing to write: give -o film.mp4, or --frames FOLDER")
    if film is not None:
        video.check_film_name(film)
        codec_of(film, config, clear)
    if passes_of(config.passes) and frames is None:
        raise NerfsceneError("--passes are files beside the frames: give --frames FOLDER as well")
    if frames is not None:
        video.check_frames_folder(frames)
    if film is not None and frames is not None and film.absolute() == frames.absolute():
        raise NerfsceneError(f"the film and the folder of its frames can't both be called {film}; rename one")


def _clear(config: RenderConfig) -> bool:
    """Whether the film is transparent. Raises NerfsceneError for a background that isn't one."""
    background_color(config.background)
    return sees_through(config.background) and not config.depth


def render_film(
    scene: Scene,
    config: RenderConfig,
    film: Path | None,
    frames: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    warn: Callable[[str], None] = lambda text: None,
    note: Callable[[str], None] = lambda text: None,
    credentials: CredentialsConfig = CredentialsConfig(),  # noqa: B008 - frozen
    elsewhere: Callable[[CameraPath], Rendered] | None = None,
    seen: Callable[[NDArray[np.uint8]], None] = lambda picture: None,
) -> dict[str, float | int | str | list[str]]:
    """Renders ``config.path`` to the video file ``film``, to numbered pictures in ``frames``, or to both.

    If ``frames`` holds some of the pictures of this very film, which was stopped or killed, only the others
    are rendered; note is called with a line that says so.
    progress is called with (frames done, frames in all); warn with each sentence about the path. With
    ``config.depth`` the film shows depth as colours, and 16-bit depth pictures are written beside the frames
    (frames/depth-00000.png; their scale is in frames/depth.json).
    credentials: how the film is signed once it is complete; the frames are not.
    elsewhere: called with the path; what it returns renders the frames, instead of this process.
    seen: called with each picture (height, width, 3 or 4) of the film.
    Returns film, frames_folder, frames (their number), fps, width, height, seconds, warnings and credentials:
    the files that hold the film's.
    Raises NerfsceneError for a path, size, output or key that can't be used.
    So many parameters because each is a choice of the caller's, or somewhere to tell. Long because a film has
    many steps, each a line or two.
    """
    check_outputs(film, frames, config)
    config = settled(config)
    path, fps = film_path(scene, config)
    codec = None if film is None else _codec(film, config, path, fps, warn)
    scene = as_filmed(scene, path, config)
    renderer = film_renderer(scene, path, config)
    shutter = shutter_for(scene, path, config, renderer)
    words = in_words(shutter, renderer)
    marker = Marker(None, credentials.source_type)
    if film is not None:
        marker = ready(credentials, warn, note)
        video.make_folder_of(film, "choose another with -o")
    for text in path.notes:
        warn(text)
    if words:
        note(words)
    needed = config.depth or "depth" in passes_of(config.passes)
    limits = depth_limits(renderer, path) if needed else NO_LIMITS
    folder = None
    if frames is not None:
        digest = film_digest(scene, path, config)
        folder = open_film_frames(frames, digest, len(path.cameras), limits, config)
        folder = replace(folder, xmp=xmp_of(path.cameras[0].intrinsics))
        limits = folder.limits
        if folder.there:
            note(f"{len(folder.there)} of {folder.count} frames are there already")
    with contextlib.ExitStack() as stack:
        write = None
        if folder is not None:
            write = stack.enter_context(writing_beside(folder, thread_count(config.threads)))
        here = partial(rendered, scene, path, config, renderer, shutter=shutter)
        source = elsewhere(path) if elsewhere else here
        made = stack.enter_context(
            contextlib.closing(_frames(path, config, limits, folder, write, progress, source))
        )
        lens = path.cameras[0].intrinsics.lens
        pictures = _shown(made, seen)
        count = (
            sum(1 for _ in pictures)
            if film is None
            else video.write_film(pictures, film, fps, codec=codec, lens=lens)
        )
    if folder is not None:
        folder.finish()
    k = path.cameras[0].intrinsics
    even = 2 if codec is not None and codec.even else 1  # such a film drops an odd last column or row
    facts = facts_of(scene, "film", _settings(scene, path, fps, config))
    marked = [] if film is None else mark(film, facts, marker, warn)
    return {
        "film": str(film or ""),
        "frames_folder": str(frames or ""),
        "frames": count,
        "fps": fps,
        "width": k.width // even * even,
        "height": k.height // even * even,
        "seconds": count / fps,
        "warnings": list(path.notes),
        "credentials": [str(file) for file in marked],
    }


def _shown(
    pictures: Iterator[NDArray[np.uint8]], seen: Callable[[NDArray[np.uint8]], None]
) -> Iterator[NDArray[np.uint8]]:
    """The pictures, each of which ``seen`` is called with first."""
    for picture in pictures:
        seen(picture)
        yield picture


def _codec(
    film: Path, config: RenderConfig, path: CameraPath, fps: float, warn: Callable[[str], None]
) -> Codec:
    """The film's codec, which can encode the path's frames; warn: of a film that would be oddly large.

    Raises NerfsceneError when it can't.
    """
    clear, k = _clear(config), path.cameras[0].intrinsics
    codec = codec_of(film, config, clear)
    check_encodable(codec, (k.width, k.height), fps, clear)
    doubt = warning(codec, (k.width, k.height), len(path.cameras))
    if doubt is not None:
        warn(doubt)
    if k.lens in spherical.SPHERICAL and not spherical.can_tell(KINDS[film.suffix.lower()], codec, clear):
        warn(
            f"{film.name}: nothing in such a file tells players that the film is {k.lens}; name it like "
            f"{film.with_suffix('.mp4').name} for those that look for it"
        )
    return codec


def _settings(
    scene: Scene, path: CameraPath, fps: float, config: RenderConfig
) -> dict[str, float | str | bool]:
    """What a film's credentials say of how it was made; of a path from a file, only that it is from one."""
    k = path.cameras[0].intrinsics
    name = suited(scene.views) if config.path == "auto" else config.path
    return {
        "path": "photos" if config.through is not None else name if name in PRESETS else "file",
        "width": k.width // 2 * 2,
        "height": k.height // 2 * 2,
        "fps": fps,
        "frames": len(path.cameras),
        "samples": config.samples,
        "depth": config.depth,
        **({} if k.lens == "perspective" else {"lens": k.lens}),
    }


def depth_limits(renderer: Renderer, path: CameraPath) -> tuple[float, float]:
    """(near, far), world units, of the whole film, estimated from five small frames.

    One range for all frames keeps the colours of a depth film steady.
    """
    depths, hits = [], []
    for i in np.unique(np.linspace(0, len(path.cameras) - 1, 5).round().astype(int)):
        k = path.cameras[i].intrinsics
        small = scaled(k, max(k.width // 6, 1), max(k.height // 6, 1))
        frame = render(renderer, Camera(small, path.cameras[i].world_from_cam))
        depths.append(frame.depth)
        hits.append(frame.accumulation)
    return video.depth_range(np.concatenate(depths), np.concatenate(hits))


def _frames(
    path: CameraPath,
    config: RenderConfig,
    limits: tuple[float, float],
    folder: Frames | None,
    write: Write | None,
    progress: Callable[[int, int], None],
    source: Rendered,
) -> Generator[NDArray[np.uint8], None, None]:
    """Yields the film's frames: those in ``folder``, and the others, which ``source`` renders.

    write: called with each that is rendered, its number and depth. limits: what ``depth_limits`` returns.
    progress is called for the frames that are rendered.
    """
    there = frozenset() if folder is None else folder.there
    coming = source([i for i in range(len(path.cameras)) if i not in there])
    with contextlib.ExitStack() as stack:
        stack.callback(getattr(coming, "close", lambda: None))  # ends what is rendered ahead
        for i, camera in enumerate(path.cameras):
            k = camera.intrinsics
            kept = None if folder is None else folder.read(i, (k.width, k.height))
            if kept is not None:
                yield video.color_depth(kept[1], *limits) if config.depth else kept[0]
                continue
            from_source = source([i]) if i in there else coming  # of those there, it is damaged
            picture, depth, passes = next(from_source)
            if write is not None:
                write(i, picture, depth, passes)
            progress(i + 1, len(path.cameras))
            yield video.color_depth(depth, *limits) if config.depth else picture
            del picture, depth, passes  # while the next ones are rendered
