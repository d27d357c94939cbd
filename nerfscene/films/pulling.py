"""A film's tracks: from its settings and its path's file, fitted to its length, and in its cameras."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from nerfscene.cameras.plausible import FARTHEST
from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films.lenses import LEVEL
from nerfscene.films.paths import CameraPath
from nerfscene.films.photo_names import there_is
from nerfscene.films.through import SUBJECT, three_numbers
from nerfscene.films.tracks import (
    NAMES,
    TURN,
    Key,
    Keys,
    Point,
    Tracks,
    exposures_at,
    focals_at,
    frame_times,
    rolled,
    rolls_at,
    round_of,
)
from nerfscene.keyed import keys_of, numbers_of, unquoted
from nerfscene.types import Array, View

NUMBERS = ("fov", "aperture", "exposure", "roll")
USUAL_FPS = 30.0
LEADING_ZERO = re.compile(r"0\d+")  # as photos are called, and no distance is written


def given_tracks(config: RenderConfig, views: Sequence[View]) -> Tracks:
    """The tracks that ``config`` asks for. views: the scene's, whose photos ``config.focus`` may name.

    Raises NerfsceneError for a focus that can't be one.
    """
    made: dict[str, Keys] = {}
    for name in NUMBERS:
        keys = numbers_of(getattr(config, name), name, f"--{name}")
        made[name] = tuple(Key(time, value) for time, value in keys)
    if config.focus is not None:
        made["focus"] = _focus_keys(config.focus, views)
    return Tracks(**made)


def tracks_of(path: CameraPath, config: RenderConfig, views: Sequence[View]) -> Tracks:
    """The tracks of a film along this path: those of ``config``, and where it has none the path's own.

    A path with the times of its frames has both together already. Raises NerfsceneError as ``given_tracks``.
    """
    if path.times is not None:
        return path.tracks
    given = given_tracks(config, views)
    return Tracks(**{name: getattr(given, name) or getattr(path.tracks, name) for name in NAMES})


def _focus_keys(text: str, views: Sequence[View]) -> Keys:
    """The keys of --focus. The name of a photo is that, also if it looks like keys."""
    keys = None if there_is(text, views) else keys_of(text, "--focus")
    return tuple(Key(time, focus_value(value)) for time, value in keys or [(0.0, text)])


def focus_value(text: str) -> float | str | Point:
    """One value of --focus, as ``Tracks.focus`` has it. Raises NerfsceneError for a number that can't be one.

    text: a distance, x,y,z, "subject" or a photo's name; in double quotes it is a name in any case.
    """
    name = unquoted(text)
    if name != text.strip() or LEADING_ZERO.fullmatch(name):
        return name
    try:
        distance = float(name)
    except ValueError:
        point = three_numbers(name, "--focus")
        return name if point is None else (float(point[0]), float(point[1]), float(point[2]))
    if not 0 < distance < FARTHEST:
        raise NerfsceneError(
            f"--focus takes a distance above 0, {SUBJECT}, a photo's name, or x,y,z, not {text!r:.40}"
        )
    return distance


def seconds_of(path: CameraPath) -> float:
    """How long the film along a path is."""
    if path.seconds and (path.times is not None or not path.fps):
        return path.seconds
    return len(path.cameras) / (path.fps or USUAL_FPS)


def times_of(path: CameraPath) -> Array:
    """The time of each frame, (n,), seconds."""
    if path.times is not None:
        return path.times
    return frame_times(len(path.cameras), seconds_of(path), path.loop)


def exposures_of(path: CameraPath, config: RenderConfig, views: Sequence[View]) -> Array:
    """The exposure of each frame, (n,), stops."""
    tracks = tracks_of(path, config, views)
    return exposures_at(tracks.exposure, times_of(path), seconds_of(path), path.loop)


def fitted(tracks: Tracks, seconds: float, fps: float, where: Callable[[str], str]) -> Tracks:
    """The tracks of a film of this length; keys within half a frame of its beginning or end are put there.

    where: of a track's name, what to call it in messages. Raises NerfsceneError for keys after the end.
    """
    near = 0.5 / fps + 1e-9
    made: dict[str, Keys] = {}
    for name in NAMES:
        keys: Keys = getattr(tracks, name)
        if keys and keys[0].time <= near:
            keys = (replace(keys[0], time=0.0), *keys[1:])
        if keys and abs(keys[-1].time - seconds) <= near and len(keys) > 1:
            keys = (*keys[:-1], replace(keys[-1], time=seconds))
        beyond = [key.time for key in keys if key.time > seconds]
        if beyond or len({key.time for key in keys}) < len(keys):
            raise NerfsceneError(
                f"{where(name)} has a key at {max(beyond, default=seconds):g} s, and the film ends at "
                f"{seconds:g} s: make the film longer, or leave that key out"
            )
        made[name] = keys
    return Tracks(**made)


def with_tracks(path: CameraPath, tracks: Tracks, file: Path) -> CameraPath:
    """A path with the tracks in its file. Raises NerfsceneError, naming the file, for keys after its end."""
    if not tracks:
        return path
    seconds = seconds_of(path)
    made = fitted(tracks, seconds, len(path.cameras) / seconds, lambda name: f"the {name} of {file}")
    return replace(path, tracks=made)


def pulled(path: CameraPath, config: RenderConfig, views: Sequence[View], fps: float) -> CameraPath:
    """The path with all that its film pulls by key, and with roll and field of view in its cameras.

    path: with the lens that ``config`` asks for, and without roll. Raises NerfsceneError for keys after the
    film's end, and for a roll of films that are level.
    """
    n, lens = len(path.cameras), path.cameras[0].intrinsics.lens
    given, seconds = given_tracks(config, views), n / fps
    own = path.tracks if lens in ("perspective", "fisheye") else replace(path.tracks, fov=())
    fitted(given, seconds, fps, lambda name: f"--{name}")
    tracks = tracks_of(replace(path, tracks=own), config, views)
    if not tracks:
        return path
    tracks = fitted(tracks, seconds, fps, lambda name: f"the {name} of {config.path}")
    if tracks.roll and lens in LEVEL:
        if given.roll:
            raise NerfsceneError(f"films with --lens {lens} are level: leave out --roll")
        tracks = replace(tracks, roll=())
    path = replace(
        path,
        tracks=tracks,
        seconds=seconds,
        times=frame_times(n, seconds, path.loop),
        notes=(*path.notes, *_notes(tracks, seconds, path.loop)),
    )
    return baked(path, zoom=len(tracks.fov) > 1)  # one field of view is in the cameras already


def _notes(tracks: Tracks, seconds: float, loop: bool) -> list[str]:
    """Sentences on what a loop does to tracks that don't close."""
    made = []
    for name in NAMES:
        keys: Keys = getattr(tracks, name)
        if not loop or len(keys) < 2:
            continue
        words = "field of view" if name == "fov" else name
        around = round_of(keys, seconds, loop, TURN if name == "roll" else 0.0)
        if around is None:
            made.append(f"the path is a loop, and the {words} jumps where it begins again.")
        elif around.keys == len(keys) and keys[-1].time < seconds:
            made.append(
                f"the path is a loop, so from {keys[-1].time:g} s on the {words} goes back to what it is at "
                f"the beginning; a key at {seconds:g} s says what it is at the end."
            )
    if tracks.focus and not tracks.aperture:
        made.append("the focus shows only with depth of field: give --aperture too, such as 2.8.")
    return made


def closes(path: CameraPath) -> bool:
    """Whether a path is a loop whose first frame goes on from its last, also in roll and field of view."""
    turns = {"fov": 0.0, "roll": TURN}
    keys = {name: getattr(path.tracks, name) for name in turns}
    return path.loop and all(
        len(keys[name]) < 2 or round_of(keys[name], seconds_of(path), True, turn) is not None
        for name, turn in turns.items()
    )


def baked(path: CameraPath, zoom: bool = True) -> CameraPath:
    """The path with the roll of its tracks in its cameras and, with ``zoom``, their field of view."""
    tracks, times, seconds = path.tracks, times_of(path), seconds_of(path)
    if zoom and tracks.fov:
        k = path.cameras[0].intrinsics
        focals = focals_at(tracks.fov, times, seconds, path.loop, k.lens) * min(k.width, k.height)
        cameras = [
            replace(c, intrinsics=replace(c.intrinsics, fx=float(f), fy=float(f)))
            for c, f in zip(path.cameras, focals, strict=True)
        ]
        path = replace(path, cameras=tuple(cameras))
    return _turned(path, rolls_at(tracks.roll, times, seconds, path.loop)) if tracks.roll else path


def unrolled(path: CameraPath) -> CameraPath:
    """A path's cameras as they were before the roll of its tracks."""
    if not path.tracks.roll:
        return path
    return _turned(path, -rolls_at(path.tracks.roll, times_of(path), seconds_of(path), path.loop))


def _turned(path: CameraPath, degrees: Array) -> CameraPath:
    cameras = [
        replace(c, world_from_cam=rolled(c.world_from_cam, float(turn)))
        for c, turn in zip(path.cameras, degrees, strict=True)
    ]
    return replace(path, cameras=tuple(cameras))
