"""What only this program keeps in a camera_path.json, beside the frames that other programs read.

The viewer saves keyframes there, and every path what it pulls by key. All of it is checked wherever the file
is read, so that a film isn't made along frames that belong to other keyframes than those that the viewer
would refuse.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.cameras.plausible import FARTHEST, NARROWEST, WIDEST, pose_doubt
from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films.codecs import CODECS
from nerfscene.films.path_parts import number, vector
from nerfscene.films.tracks import NAMES, Key, Keys, Point, Tracks, as_json
from nerfscene.keyed import MOST_KEYS, RANGES

OURS = "nerfscene"  # the key of what only this program writes into a camera_path.json
VERSION = 1
WITH_TRACKS = 2  # the version of a part with more, which earlier programs refuse rather than leave out
EASINGS = ("none", "gentle", "strong")
MOST_KEYFRAMES = 1000
SMALLEST, LARGEST = 16, 8192  # pixels along a film's side
LEAST_FPS, MOST_FPS = 0.01, 1000.0
SHORTEST, LONGEST = 1e-3, 3600.0  # seconds
# A film's settings, as RenderConfig has them. They are for the page; whoever films the file gives their own.
SETTINGS = (
    *("codec", "lens", "fov", "view_width", "eye_distance", "samples", "motion_blur", "aperture", "focus"),
    *("exposure", "background", "depth", "passes", "passes_as", "preview"),
)


def own_part(data: dict[str, Any], file: Path) -> dict[str, Any] | None:
    """The part of a camera_path.json with keyframes, as ``viewer.keyframes`` saved it; None: it has none.

    Raises NerfsceneError, naming the file, unless all of it can be used.
    """
    ours = _checked(data, file)[0]
    if ours is None or "keyframes" not in ours:
        return None
    return {name: value for name, value in ours.items() if name != "tracks"}  # of ``own_tracks``


def own_tracks(data: dict[str, Any], file: Path) -> Tracks:
    """What a camera_path.json says is pulled by key; its roll and field of view are in its frames already.

    Raises NerfsceneError as ``own_part`` does.
    """
    return _checked(data, file)[1]


def tracks_part(tracks: Tracks) -> dict[str, Any]:
    """The entries of the own part that hold tracks; none if there are no tracks."""
    return {"version": WITH_TRACKS, "tracks": as_json(tracks)} if tracks else {}


def _checked(data: dict[str, Any], file: Path) -> tuple[dict[str, Any] | None, Tracks]:
    """The own part of a camera_path.json, and its tracks; (None, no tracks) if it has neither."""
    ours = data.get(OURS)
    try:
        if ours is not None and not isinstance(ours, dict):
            raise ValueError("it is not an object")
        if ours is None or not {"version", "keyframes", "tracks"} & set(ours):
            return None, Tracks()
        return ours, check(ours)
    except ValueError as error:
        raise NerfsceneError(
            f"{file}: its {OURS} part can't be read ({error}); remove that part, and its frames can be used"
        ) from error


def check(ours: dict[str, Any], fewest: int = 1) -> Tracks:
    """The tracks in an own part. Raises ValueError, whose message is a clause, unless all of it can be used.

    fewest: how many keyframes there must be, if it has any.
    """
    version = ours.get("version")
    if version not in (VERSION, WITH_TRACKS):
        raise ValueError(
            f"its version is {version!r:.40}, and this nerfscene reads {VERSION} and {WITH_TRACKS}"
        )
    if "keyframes" in ours or version == VERSION:
        _check_keyframes(ours, fewest)
    return _tracks(ours.get("tracks", {}))


def _check_keyframes(ours: dict[str, Any], fewest: int) -> None:
    """Raises ValueError, whose message is a clause, unless every entry of the keyframes can be used."""
    for name in ("loop", "constant_speed"):
        if not isinstance(ours.get(name), bool):
            raise ValueError(f"its {name} is neither true nor false")
    if ours.get("easing") not in EASINGS:
        raise ValueError("its easing must be none, gentle or strong")
    for name in ("width", "height"):
        size = ours.get(name)
        if not isinstance(size, int) or isinstance(size, bool) or not SMALLEST <= size <= LARGEST:
            raise ValueError(f"its {name} is not {SMALLEST} to {LARGEST} pixels")
    _check_number(ours, "fps", LEAST_FPS, MOST_FPS, "it")
    _check_number(ours, "seconds", SHORTEST, LONGEST, "it")
    keys = ours.get("keyframes")
    if not isinstance(keys, list) or not fewest <= len(keys) <= MOST_KEYFRAMES:
        raise ValueError(f"its keyframes are not a list of {fewest} to {MOST_KEYFRAMES}")
    for index, key in enumerate(keys, 1):
        _check_keyframe(key, f"its keyframe {index}")
    looked = ours.get("look_at")
    if looked is not None and (not isinstance(looked, dict) or not _are_vectors(looked, "point", "up")):
        raise ValueError("its look_at is not a point and an up direction of three numbers each")
    _check_film(ours.get("film", {}))


def _are_vectors(values: dict[str, Any], *names: str) -> bool:
    found = [vector(values.get(name), 3) for name in names]
    return all(v is not None and np.abs(v).max() < FARTHEST for v in found) and bool(np.any(found[-1]))


def _check_film(film: Any) -> None:
    """Raises ValueError unless a film can be made with these settings."""
    if not isinstance(film, dict) or not set(film) <= {*SETTINGS, "ending", "frames"}:
        raise ValueError("its film is not an object of a film's settings")
    if film.get("ending", ".mp4") not in [ending for codec in CODECS for ending in codec.endings]:
        raise ValueError(f"its film has no ending that a film may have: {film['ending']!r:.40}")
    if not isinstance(film.get("frames", False), bool):
        raise ValueError("its film's frames is neither true nor false")
    passes = film.get("passes") or ""
    if not isinstance(passes, str) or not set(passes.split(",")) <= {"", "depth", "normal", "accumulation"}:
        raise ValueError("its film's passes are not some of depth,normal,accumulation")
    given = {name: film[name] for name in SETTINGS if film.get(name) is not None}
    by_key = [name for name in given if isinstance(given[name], str) and name in RANGES]
    if by_key:
        raise ValueError(f"its film's {by_key[0]} is not a number")
    focus = given.get("focus", "subject")
    if not isinstance(focus, str):
        where = vector(focus if isinstance(focus, list) else [focus, focus, focus], 3)
        if where is None or np.abs(where).max() >= FARTHEST:
            raise ValueError("its film's focus is neither a name, nor a distance, nor a point")
        del given["focus"]
    try:
        RenderConfig(**given)
    except (NerfsceneError, TypeError) as error:
        raise ValueError(f"its film: {str(error).removeprefix('RenderConfig.')}") from error


def _check_keyframe(key: Any, where: str) -> None:
    if not isinstance(key, dict):
        raise ValueError(f"{where} is not an object")
    pose = vector(key.get("world_from_cam"), 16)
    doubt = "its pose is not 16 numbers" if pose is None else pose_doubt(np.reshape(pose, (4, 4)))
    if doubt is not None:
        raise ValueError(f"{where} can't be one: {doubt}")
    _check_number(key, "fov", NARROWEST, WIDEST, where)
    _check_number(key, "time", 0.0, LONGEST, where)


def _check_number(values: dict[str, Any], name: str, least: float, most: float, where: str) -> None:
    value = number(values.get(name))
    if value is None or not least <= value <= most:
        raise ValueError(f"{where} has no {name} from {least:g} to {most:g}")


def _tracks(data: Any) -> Tracks:
    """The tracks in their entry of the own part. Raises ValueError, whose message is a clause."""
    if not isinstance(data, dict):
        raise ValueError("its tracks are not an object")
    unknown = sorted(set(data) - set(NAMES))
    if unknown:
        raise ValueError(f"there is no track {unknown[0]!r:.40}")
    made = {name: _keys(keys, name) for name, keys in data.items()}
    try:
        return Tracks(**made)
    except NerfsceneError as error:
        raise ValueError(str(error)) from error


def _keys(data: Any, name: str) -> Keys:
    if not isinstance(data, list) or len(data) > MOST_KEYS:
        raise ValueError(f"its {name} is not a list of up to {MOST_KEYS} keys")
    keys: list[Key] = []
    for index, entry in enumerate(data, 1):
        where = f"key {index} of its {name}"
        if not isinstance(entry, dict):
            raise ValueError(f"{where} is not an object")
        _check_number(entry, "time", 0.0, LONGEST, where)
        keys.append(Key(float(entry["time"]), _value(entry.get("value"), where)))
    return tuple(keys)


def _value(given: Any, where: str) -> float | str | Point:
    point, single = vector(given, 3), number(given)
    if point is not None:
        return float(point[0]), float(point[1]), float(point[2])
    if single is not None or isinstance(given, str):
        return given if single is None else single
    raise ValueError(f"the value of {where} is no number, point or text")
